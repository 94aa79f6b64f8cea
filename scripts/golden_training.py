"""What the golden training recordings of PyTorch and Keras have in common: the task list, data and the file format.

testdata/golden/training_FRAMEWORK.json.gz holds
    rule     batch k of a run is the rows (k*B + i) mod N, i < B: one pass after the other in file order
    runs     per run: name, model (an ONNX file beside it, with the initial weights), target, recipe (as recipe.yaml has
             it), losses (200, before each update, training mode), running (BatchNormalization's statistics after the
             last step), outputs (inference mode, rows 0..15, after the last step), drift
Data are the first 512 optical digits over 16, recorded and replayed in float32 or float64 alike. drift is the largest
relative difference between the losses of the float64 run that is recorded and those of three float32 runs, two of them
from weights that differ in the last bits: how far rounding alone moves the trajectory. A run that drifts more than 1e-4
is not recorded; its learning rate is lowered instead.
"""

import numpy as np

import fixture_data
import golden_common as golden

ROWS, BATCH, STEPS = 512, 32, 200
NUDGES = (0.0, 1e-7, -1e-7)  # relative changes of the initial weights of the float32 runs, about one unit in the last place
MAX_DRIFT = 1e-4  # a tenth of the 1e-3 that a replay is allowed

# Targets a recording may use, all made from the labels; "class" is the labels themselves.
TARGETS = {
    "class": lambda y: y,
    "one_hot": lambda y: fixture_data.one_hot(y),
    "signs": lambda y: 2 * fixture_data.one_hot(y) - 1,  # hinges
    "shifted": lambda y: 1 + fixture_data.one_hot(y),  # MAPE divides by the target, so none is 0
    "smooth": lambda y: 0.9 * fixture_data.one_hot(y) + np.float32(0.01),  # a distribution without zeros
}


def rows(step):
    """Returns the row indices of a step's batch."""
    return [(step * BATCH + i) % ROWS for i in range(BATCH)]


def data():
    return fixture_data.digits("train", ROWS)


def drift(exact, rounded):
    """Returns the largest relative difference of two loss sequences."""
    exact, rounded = np.asarray(exact), np.asarray(rounded)
    return float(np.max(np.abs(exact - rounded) / np.maximum(np.abs(exact), 1e-12)))


def recording(name, model, target, recipe, exact, rounded):
    """Returns a run's record from the float64 run (losses, running statistics, outputs) and the float32 runs' losses."""
    moved = max(drift(exact["losses"], losses) for losses in rounded)
    first, last = np.mean(exact["losses"][:16]), np.mean(exact["losses"][-16:])
    print(f"{name:40s} loss {first:.4g} -> {last:.4g}  drift {moved:.1e}", "" if moved <= MAX_DRIFT else "TOO CHAOTIC", flush=True)
    if moved > MAX_DRIFT or not np.all(np.isfinite(exact["losses"])):
        return None
    return {
        "name": name,
        "model": model,
        "target": target,
        "recipe": recipe,
        "losses": golden.numbers(exact["losses"], 10),
        "running": {k: golden.numbers(v, 8) for k, v in exact["running"].items()},
        "outputs": golden.numbers(exact["outputs"], 8),
        "drift": golden.number(moved, 2),
    }


def save(name, version, runs):
    """Writes the file; refuses to where a run was too chaotic."""
    bad = sum(r is None for r in runs)
    if bad:
        raise SystemExit(f"{bad} runs drift more than {MAX_DRIFT:g} or are not finite: lower their learning rates")
    rule = {"rows": ROWS, "batch_size": BATCH, "steps": STEPS, "batch": "rows (k*batch_size + i) mod rows"}
    golden.write(name, {"version": version, "precision": "float64", "rule": rule, "runs": runs})
