"""The data of the fixtures: UCI optical digits from testdata/optdigits, and seeded synthetic sets."""

import gzip
import os

import numpy as np

DIGITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testdata", "optdigits")


def digits(part, rows=None):
    """Returns (x, y): x float32 [n,64] in 0..1 (the 8x8 counts over 16), y int64 [n]; the first rows of part."""
    with gzip.open(os.path.join(DIGITS, part + ".csv.gz"), "rt") as f:
        table = np.loadtxt(f, delimiter=",", dtype=np.int64, max_rows=rows)
    return (table[:, :64] / 16).astype(np.float32), table[:, 64]


def small_digits(shape, train=256, test=64):
    """Returns {x_train, y_train, x_test, y_test} of the first optical digits, images in the given shape."""
    x_train, y_train = digits("train", train)
    x_test, y_test = digits("test", test)
    return {
        "x_train": x_train.reshape(-1, *shape), "y_train": y_train,
        "x_test": x_test.reshape(-1, *shape), "y_test": y_test,
    }  # fmt: skip


def one_hot(y, classes=10):
    """Returns float32 [n,classes] with a one at each label."""
    return np.eye(classes, dtype=np.float32)[y]


def waves(length=32, train=192, test=64, seed=7):
    """Three classes of noisy sequences: sine, square, sawtooth; x float32 [n,1,length], y int64 [n]."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, train + test)
    phase = rng.uniform(0, 1, (train + test, 1)) + np.arange(length) * rng.uniform(0.05, 0.15, (train + test, 1))
    shapes = np.stack([np.sin(2 * np.pi * phase), np.sign(np.sin(2 * np.pi * phase)), 2 * (phase % 1) - 1])
    x = shapes[y, np.arange(train + test)] + rng.normal(0, 0.1, (train + test, length))
    x = x.astype(np.float32)[:, None, :]
    return {"x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]}


def curve(inputs=6, train=192, test=64, seed=3):
    """A smooth regression target of seeded normal inputs; x float32 [n,inputs], y float32 [n,1]."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (train + test, inputs)).astype(np.float32)
    y = (np.sin(x[:, :1]) + 0.5 * x[:, 1:2] * x[:, 2:3] + 0.1 * rng.normal(0, 1, (train + test, 1))).astype(np.float32)
    return {"x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]}


def tokens(train=192, test=64, seed=5):
    """Sequences of 12 of 20 tokens, of the class of the most frequent remainder by 3; x and y int64."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 20, (train + test, 12))
    y = np.stack([(x % 3 == k).sum(1) for k in range(3)], 1).argmax(1)
    return {"x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]}


def ink(digits):
    """Returns images of digits with the mask of their ink as target, in the same shape."""
    for part in ("train", "test"):
        digits["y_" + part] = (digits["x_" + part] > 0.4).astype(np.float32)
    return digits
