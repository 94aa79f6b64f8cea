"""Recordings beside an export: what the framework computes from the exported weights. train/goldentest replays them.

recorded.npz holds
    rows            int64 [2], N and B: batch k of the training is the rows (k*B + i) mod N of x_train, i < B
    learning_rate   float32 [1], of plain SGD on the recipe's loss and regularizers
    losses          float32 [10], training mode without dropout, each before its update
    gradient:NAME   float32, of the first of these losses by each trained weight, a scalar's with one axis (PyTorch alone: Keras lays
                    weights out differently)
    output:NAME     float32, of the first B rows in inference form, by ONNX Runtime
Losses and gradients are those of the framework in float64. A recording whose float32 run is further from them than MAX_DRIFT
(losses) or MAX_GRADIENT_DRIFT (gradients) is refused: its numbers would be rounding, and no replay could be held to them. Others round
differently: so it is where weights that deviate by NOISE, in any of NEARBY draws, give gradients that are further away. So is one
whose training moves the loss by less than MIN_MOVE: a replay that never updates a weight would follow it.
"""

import os
import sys

import numpy as np
import onnx

import export_common as common
from export_common import ExportError

STEPS = 10
MAX_DRIFT = 1e-4  # a tenth of the 1e-3 that a replay is allowed
MAX_GRADIENT_DRIFT = 5e-4  # half of it
NOISE, NEARBY = 1e-6, 8  # relative standard deviation of weights, and draws; float32 moves the outputs of the zoo by 1e-7 to 5e-6
MIN_MOVE = 1e-2  # ten times it
SHIFT = 2.0  # of batch-norm in the zoo's networks, see zoo_pytorch.settle
# A bias before a batch-norm has gradient 0, and what is computed of it is rounding: a gradient below ZERO of the largest of all counts as
# 0 and is compared with FLOOR of the largest instead of its own.
ZERO, FLOOR = 1e-7, 1e-2


class DriftError(ExportError):
    """Rounding alone moves the framework's numbers too far: they are no measure for anybody else's."""


def untrained(loss, rule):
    """Returns loss(rows) of every step where no weight is updated; rule is (N, B)."""
    known = {}
    for step in range(STEPS):
        rows = batch(step, *rule)
        if rows[0] not in known:
            known[rows[0]] = loss(rows)
    return [known[batch(step, *rule)[0]] for step in range(STEPS)]


def batch(step, rows, size):
    """Returns the row indices of a step."""
    return [(step * size + i) % rows for i in range(size)]


def read_data(folder, names, rows):
    """Returns ({input: array}, target) of the first rows of x_train and y_train in the folder's data.npz."""
    held = np.load(os.path.join(folder, "data.npz"))
    inputs = {n: held["x_train" if len(names) == 1 else f"x_train:{n}"][:rows] for n in names}
    return inputs, held["y_train"][:rows]


def drift(exact, rounded):
    """Returns the largest relative difference of two loss sequences."""
    exact, rounded = np.asarray(exact), np.asarray(rounded)
    return float(np.max(np.abs(exact - rounded) / np.maximum(np.abs(exact), 1e-12)))


def gradient_drift(exact, rounded):
    """Returns the largest difference of {name: gradient}, per weight relative to its largest element (see ZERO), and the weight."""
    most = {n: float(np.abs(g).max()) for n, g in exact.items()}
    largest = max(most.values())
    scale = {n: m if m >= ZERO * largest else FLOOR * largest for n, m in most.items()}
    moved = {n: float(np.abs(g - rounded[n]).max()) / scale[n] for n, g in exact.items()}
    worst = max(moved, key=moved.get)
    return moved[worst], worst


def first_stable(name, write, seeds=range(2, 62)):
    """Calls write(seed) until the data of a seed have no activation so near a kink of ReLU or max-pooling that float32 turns it over."""
    for seed in seeds:
        try:
            return write(seed)
        except DriftError as e:
            print(f"{e}; next are the data of seed {seed + 1}", flush=True)
    raise DriftError(f"{name}: float32 and float64 agree on the data of none of the seeds {list(seeds)}")


def zoo(usage, models, write):
    """The command FOLDER [NAME...] of a script that calls write(name, folder, seed) for its models that are not recorded there yet."""
    if len(sys.argv) < 2:
        sys.exit(usage)
    folder, names = sys.argv[1], sys.argv[2:] or list(models)
    for name in names:
        if os.path.exists(os.path.join(folder, name, "recorded.npz")):
            print(f"{folder}/{name}: recorded already; to do it again, remove it", flush=True)
            continue
        first_stable(name, lambda seed, name=name: write(name, os.path.join(folder, name), seed))


def images(rows, side, seed):
    """Seeded images, smooth like photographs, float32 [rows,3,side,side], and their classes of ten."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (rows, 3, side // 8 + 1, side // 8 + 1))
    at = np.arange(side) / 8  # bilinear between the points of a grid of 8 pixels
    low, part = at.astype(int), at % 1
    lines = coarse[:, :, low] * (1 - part)[:, None] + coarse[:, :, low + 1] * part[:, None]
    smooth = lines[..., low] * (1 - part) + lines[..., low + 1] * part
    return (smooth + 0.2 * rng.normal(0, 1, smooth.shape)).astype(np.float32), rng.integers(0, 10, rows)


def bright(x, axis):
    """Returns the mask of an image's brighter part, the target of the U-Nets."""
    return (x.mean(axis, keepdims=True) > 0).astype(np.float32)


def outputs(folder, inputs, rule):
    """Returns {output: array} of the export in inference form for the first batch, by ONNX Runtime."""
    model = onnx.load(os.path.join(folder, "model.onnx"))
    first = {n: a[: rule[1]] for n, a in inputs.items()}
    return dict(zip([o.name for o in model.graph.output], common.run(model, first)))


def write(folder, rule, rate, exact, rounded, computed, nearby=()):
    """Writes recorded.npz; rule is (N, B), exact and rounded are what train gave in float64 and float32, nearby are gradients of deviating weights.

    What train gave is (losses, gradients, losses of the same steps where no weight is updated).
    """
    drifted = drift(exact[0], rounded[0])
    moved = drift(exact[0], exact[2])
    turned, where = max(gradient_drift(exact[1], g) for g in [rounded[1], *nearby]) if exact[1] else (0.0, "none recorded")
    print(
        f"{folder}: loss {exact[0][0]:.6g} -> {exact[0][-1]:.6g}, moved by {moved:.1e}; float32 drifts {drifted:.1e}, gradients {turned:.1e} ({where})",
        flush=True,
    )
    if not (drifted <= MAX_DRIFT and turned <= MAX_GRADIENT_DRIFT):
        raise DriftError(f"{folder}: float32 drifts too far for a recording; lower the learning rate or settle the model")
    if not moved >= MIN_MOVE:
        raise ExportError(f"{folder}: training moves the loss by {moved:.1e} alone; raise the learning rate")
    arrays = {"rows": np.array(rule, np.int64), "learning_rate": np.array([rate], np.float32), "losses": np.array(exact[0], np.float32)}
    arrays.update({"gradient:" + n: np.atleast_1d(g).astype(np.float32) for n, g in exact[1].items()})
    arrays.update({"output:" + n: a for n, a in computed.items()})
    np.savez_compressed(os.path.join(folder, "recorded.npz"), **arrays)
