#!/usr/bin/env python3
"""Write onnx/schemas.txt: the operators of every operator set, as the installed onnx package defines them.

usage: python3 scripts/onnx_schemas.py > onnx/schemas.txt      (recorded with onnx 1.23.2)

One line per operator and version: domain ("-" for the default one), name, since_version, "d" where it is deprecated
from that version on (else "-"), inputs, outputs, attributes. Inputs and outputs: one letter each, r required,
o optional, v variadic, followed by the minimum where the last is variadic. Attributes: name:type, "!" where required.
"""

import onnx
from onnx import defs


def params(formals, minimum):
    letters = {"Single": "r", "Optional": "o", "Variadic": "v"}
    s = "".join(letters[p.option.name] for p in formals)
    return (s or "-") + (str(minimum) if s.endswith("v") else "")


def main():
    print(f"# operators of onnx {onnx.__version__}, written by scripts/onnx_schemas.py")
    rows = []
    for s in defs.get_all_schemas_with_history():
        attrs = ",".join(
            f"{a.name}:{a.type.name.lower()}{'!' if a.required else ''}" for a in sorted(s.attributes.values(), key=lambda a: a.name)
        )
        rows.append((s.domain or "-", s.name, s.since_version, "d" if s.deprecated else "-",
                     params(s.inputs, s.min_input), params(s.outputs, s.min_output), attrs or "-"))
    for r in sorted(set(rows)):
        print(*r)


main()
