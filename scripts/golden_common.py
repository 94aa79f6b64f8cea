"""Writing of the golden files: compact JSON, non-finite numbers as the strings "NaN", "Infinity", "-Infinity"."""

import gzip
import json
import math
import os

import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testdata", "golden")


def number(x, digits=15):
    """Returns x as JSON can hold it; JSON itself has no non-finite numbers."""
    x = float(x)
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    x = float(f"%.{digits}g" % x)
    return int(x) if x == int(x) and abs(x) < 1e15 else x


def numbers(array, digits=15):
    """Returns nested lists of number()."""
    array = np.asarray(array)
    if array.ndim == 0:
        return number(array, digits)
    return [numbers(a, digits) for a in array]


def read(name):
    """Returns the golden file's content, {} where there is none yet."""
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        return {}
    with (gzip.open if name.endswith(".gz") else open)(path, "rt") as f:
        return json.load(f)


def write(name, content):
    """Writes content, one line per element of a top-level list so that a change shows what changed."""
    os.makedirs(FOLDER, exist_ok=True)
    lines = []
    for key, value in content.items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(v, separators=(",", ":"), allow_nan=False) for v in value)
            lines.append(f"{json.dumps(key)}:[\n{rows}\n]")
        else:
            lines.append(f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'), allow_nan=False)}")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    path = os.path.join(FOLDER, name)
    if name.endswith(".gz"):
        with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
            z.write(text.encode())
    else:
        with open(path, "w") as f:
            f.write(text)
    print(f"{path}: {os.path.getsize(path)} bytes")


def write_section(name, content):
    """Replaces the keys of content in the golden file and keeps the others (the other framework's)."""
    write(name, dict(sorted({**read(name), **content}.items())))
