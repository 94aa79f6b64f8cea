"""Writes faults/dataset/testdata/golden.json: figures of the benchmark's data sets, worked out with numpy (no code in common with Go).

    NETMEND_DATA=../shared/data python scripts/golden_sets.py

Run with numpy 2.4; RandomState's stream is the same in every version. Needs Pillow for the CIFAR-10 copies.
"""

import gzip
import io
import json
import math
import os
import tarfile

import numpy as np
from PIL import Image

ROOT = os.environ.get("NETMEND_DATA", "../shared/data")


def train_test_split(n, share=0.2, seed=42):  # sklearn 1.x, ShuffleSplit
    p = np.random.RandomState(seed).permutation(n)
    k = math.ceil(share * n)
    return p[k:], p[:k]


def part(x, y):
    """Sums in float64: of all elements; of the elements weighted by row and by column (finds any exchange); and the first row's."""
    x = np.asarray(x, np.float32).reshape(len(x), -1).astype(np.float64)
    y = np.asarray(y, np.float64).reshape(len(x), -1)
    row, col = np.arange(1, len(x) + 1), np.arange(1, x.shape[1] + 1)
    return {
        "rows": len(x),
        "sum": x.sum(),
        "by_row": float(row @ x.sum(1)),
        "by_column": float(x.sum(0) @ col),
        "y": y.sum(),
        "y_by_row": float(row @ y.sum(1)),
        "y_by_column": float(y.sum(0) @ np.arange(1, y.shape[1] + 1)),
    }


def split(x, y, share=0.2):
    a, b = train_test_split(len(x), share)
    return {"train": part(x[a], y[a]), "test": part(x[b], y[b])}


def idx(name, head):
    return np.frombuffer(gzip.open(f"{ROOT}/mnist/{name}").read(), np.uint8)[head:]


def mnist():
    out = {}
    for name, file, n in (("train", "train", 60000), ("test", "t10k", 10000)):
        out[name] = part(idx(f"{file}-images-idx3-ubyte.gz", 16).reshape(n, -1), idx(f"{file}-labels-idx1-ubyte.gz", 8))
    return out


def cifar10():
    files = {}
    with tarfile.open(f"{ROOT}/cifar10/cifar10-jpeg.tar.xz") as t:
        for m in t:
            if m.isfile() and m.name.endswith(".jpg"):
                files[m.name.removeprefix("./")] = t.extractfile(m).read()
    out = {}
    for name in ("train", "test"):
        names = sorted(f for f in files if f.split("/")[-3] == name)
        classes = sorted({f.split("/")[-2] for f in names})
        each = [[f for f in names if f.split("/")[-2] == c] for c in classes]
        order = [(f, c) for row in zip(*each) for c, f in enumerate(row)]
        x = np.stack([np.asarray(Image.open(io.BytesIO(files[f])).convert("RGB")).reshape(-1) for f, _ in order])
        out[name] = part(x, [c for _, c in order])
    return out


def reuters46():
    z = np.load(f"{ROOT}/reuters/reuters46.npz")
    tokens, offsets, y = z["tokens"], z["offsets"], z["labels"]
    x = np.zeros((len(y), 10000), np.float32)
    for i in range(len(y)):  # Tokenizer.sequences_to_matrix(mode="binary")
        for w in set(tokens[offsets[i]:offsets[i + 1]].tolist()):
            if w < 10000:
                x[i, w] = 1
    cut = int(len(y) * (1 - 0.2))
    learn, _ = train_test_split(cut)
    return {"train": part(x[learn], y[learn]), "test": part(x[cut:], y[cut:])}


def adult():
    rows = [line.strip().split(", ") for line in open(f"{ROOT}/tabular/adult-train.csv") if line.strip()]
    y = np.array([r[14] == "<=50K" for r in rows])
    keep = np.sort(np.concatenate([np.flatnonzero(y == c)[:5000] for c in (False, True)]))
    rows, y = [rows[i] for i in keep], y[keep]
    cols = [np.array([float(r[i]) for r in rows]) for i in (0, 4, 10, 11, 12)]
    for i in (1, 5, 7, 8):
        for w in sorted({r[i] for r in rows} - {"?", "Never-worked"}):
            cols.append(np.array([r[i] == w for r in rows], float))
    cols.append(np.array([r[9] == "Male" for r in rows], float))
    return split(np.stack(cols, 1), y, 0.3)


def pairs():
    np.random.seed(42)
    a, b = np.random.uniform(0.2, 0.4, (100, 2)), np.random.uniform(0.7, 0.5, (100, 2))
    return split(np.stack([a, b], 1).reshape(200, 2), np.tile([0, 1], 100))


def line():
    x = np.linspace(1, 2, 100).reshape(-1, 1)
    return split(x, (5 * x).astype(np.float32))


def modulo():
    np.random.seed(42)
    x = np.random.randint(2, size=(10000, 20))
    m = (x * 2 ** np.arange(20)).sum(1) % 7
    return split(x, m[:, None] >> np.arange(20) & 1)


def threshold():
    x = np.random.RandomState(42).uniform(0, 100, (THRESHOLD_ROWS, 1)).astype(np.float32)
    return split(x, x >= 60)


THRESHOLD_ROWS = 10000

if __name__ == "__main__":
    sets = {f.__name__: f() for f in (mnist, cifar10, reuters46, adult, pairs, line, modulo, threshold)}
    with open("faults/dataset/testdata/golden.json", "w") as f:
        json.dump(sets, f, indent=1)
        f.write("\n")
