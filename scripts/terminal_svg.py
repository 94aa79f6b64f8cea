"""Draws what a command printed as a terminal window, for the README.

    scripts/demo.sh 2>/dev/null | python scripts/terminal_svg.py '$ make demo' > docs/demo.svg
"""

import html
import sys
import textwrap

COLUMNS, LINE, CHAR = 110, 18, 7.8


def main():
    lines = [sys.argv[1]]
    for raw in sys.stdin.read().splitlines():
        raw = raw.split("\r")[-1]
        lines += textwrap.wrap(raw, COLUMNS, subsequent_indent="    ", drop_whitespace=False) or [""]
    width, height = int(COLUMNS * CHAR + 40), len(lines) * LINE + 60
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" font-size="13">')
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#1e1e2e"/>')
    for i, colour in enumerate(("#f38ba8", "#f9e2af", "#a6e3a1")):
        print(f'<circle cx="{20 + 18 * i}" cy="18" r="6" fill="{colour}"/>')
    for i, line in enumerate(lines):
        colour = "#89b4fa" if i == 0 else "#a6e3a1" if line.startswith(("repaired", "  ")) else "#cdd6f4"
        print(f'<text x="20" y="{50 + i * LINE}" fill="{colour}" xml:space="preserve">{html.escape(line)}</text>')
    print("</svg>")


main()
