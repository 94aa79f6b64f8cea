"""Records what AutoTrainer's monitor and its order of solutions say, for the tests of repair/technique/autotrainer.

    git clone https://github.com/shiningrain/AUTOTRAINER .deps/autotrainer     (03a463e)
    python3 scripts/golden_autotrainer.py .deps/autotrainer/AutoTrainer repair/technique/autotrainer/testdata/golden.json

Needs numpy. The functions are the original's; the modules that they import and that have no part in the rules, TensorFlow's above all, are
replaced by empty ones. Searches run the original's Repair_Module, with trainings that answer by chance.
"""
import contextlib
import io
import json
import math
import os
import sys
import tempfile
from unittest import mock

import numpy as np

for name in ["matplotlib", "matplotlib.pyplot", "tensorflow", "tensorflow.keras", "tensorflow.keras.backend", "tensorflow.keras.models", "tensorflow.keras.layers",
             "tensorflow.keras.activations", "tensorflow.keras.initializers", "tensorflow.keras.optimizers", "tensorflow.keras.callbacks",
             "tensorflow.keras.regularizers", "TimeCounter", "logger", "compute_gradient", "utils"]:
    sys.modules[name] = mock.MagicMock()
sys.path.insert(0, os.path.join(sys.argv[1], "utils"))
import modules
import monitor

rng = np.random.RandomState(5)
PARAMS = {"beta_1": 1e-3, "beta_2": 1e-4, "beta_3": 70, "gamma": 0.7, "zeta": 0.03, "eta": 0.2, "delta": 0.01, "Theta": 0.6, "omega_1": 10, "omega_2": 1}


def number(x):
    x = float(x)
    return x if math.isfinite(x) else {math.inf: "+Inf", -math.inf: "-Inf"}.get(x, "NaN")


class Model:
    def __init__(self, loss, units, activation, weights):
        self.loss, self.weights = loss, weights
        self.output = mock.Mock(shape=(None, units))
        self.layers = [mock.Mock(**{"get_config.return_value": {"activation": activation}})]

    def get_weights(self):
        return self.weights


def gradients(kind):
    sizes = [(6, 5), (5,), (5, 4), (4,), (4, 3), (3,)]
    scale = {"vanish": [1e-9, 1, 1e-4, 1, 1, 1], "explode": [100, 1, 10, 1, 1, 1], "zero": [0] * 6}.get(kind, [1] * 6)
    g = [rng.normal(size=s) * f for s, f in zip(sizes, scale)]
    if kind == "relu":
        g = [x * (rng.rand(*x.shape) < 0.15) for x in g]
    if kind == "nan":
        g[2][0, 0] = np.nan
    return g


def curves(kind, epochs):
    t = np.arange(epochs)
    noise = rng.rand(2, epochs)
    acc, loss = 0.3 + 0.6 * (1 - np.exp(-t / 5)) + 0.01 * noise, 2 * np.exp(-t / 6) + 0.1 + 0.01 * noise
    if kind == "flat":
        acc, loss = 0.1 + 0.002 * noise, 2.3 + 0.01 * noise
    if kind == "slow":
        acc = 0.2 + 0.004 * t + 0.002 * noise
    if kind == "low":
        acc = 0.1 + 0.4 * (t > 2) + 0.001 * noise
    if kind == "swings":
        acc = 0.6 + 0.3 * noise
    if kind == "swings low":
        acc = 0.2 + 0.3 * noise
    if kind == "nan":
        loss[:, epochs // 4:] = np.nan
    if kind == "large":
        loss[1, epochs // 3:] = 5000
    if kind == "negative":
        loss = loss - 1
    return acc, loss


def outputs(kind):
    layers = [[rng.normal(size=(8, 5))], [rng.normal(size=(8, 4))]]
    last = np.abs(rng.rand(8, 3)) + 0.1
    last = last / last.sum(1, keepdims=True)
    if kind == "rows":
        last = last * 1.5
    if kind == "nan":
        last[3, 1] = np.nan
    if kind == "large":
        layers[1][0] = layers[1][0] * 40
    return layers + [[last]]


def watch(curve, gradient, output, loss, units, activation, epochs, nan_weight):
    m = monitor.IssueMonitor(epochs, 0.7, PARAMS, 1)
    weights = [rng.normal(size=(3, 3))]
    if nan_weight:
        weights[0][0] = np.inf
    model, mid, checks, found = Model(loss, units, activation, weights), True, [], []
    acc, los = curves(curve, epochs)
    for epoch in range(0, epochs, 3):
        h = {"acc": list(acc[0, :epoch + 1]), "val_acc": list(acc[1, :epoch + 1]), "loss": list(los[0, :epoch + 1]), "val_loss": list(los[1, :epoch + 1])}
        g = gradients(gradient)
        # utils.py, LossHistory.on_epoch_end
        f, lay = m.feature, None
        if f["abnormal_loss"] or f["nan_loss"] or f["sc_accuracy"] or (epochs * 0.5 <= epoch and mid):
            f.setdefault("activation_output", False)
            f.setdefault("abnormal_output", False)
            lay = outputs(output)
        if epochs * 0.5 <= epoch:
            mid = False
        with np.errstate(all="ignore"):
            found = list(m.determine(model, h, g, 3, lay))
        check = {"gradients": [{"Kernel": x.ndim > 1, "Norm": number(np.linalg.norm(x)), "Zeros": int((x == 0).sum()), "Size": x.size,
                                "NonFinite": bool(monitor.has_NaN(x))} for x in g], "found": sorted(found)}
        if lay is not None:
            check["outputs"] = {"LargestRow": number(np.abs(lay[-1][0]).sum(1).max()), "MeanAbs": [number(np.mean(np.abs(x[0]))) for x in lay[:-1]]}
        checks.append(check)
        if found:
            break
    return {"epochs": epochs, "loss": loss, "units": units, "activation": activation, "nan_weight": nan_weight, "acc": [number(x) for x in acc[0]],
            "val_acc": [number(x) for x in acc[1]], "losses": [number(x) for x in los[0]], "val_losses": [number(x) for x in los[1]], "checks": checks,
            "foremost": modules.filtered_issue(found)[0] if len({modules.problem_evaluation[p] for p in found}) == len(found) > 0 else ""}


class Trained:
    """A model of a search: its number is the attempt's that made it."""

    def __init__(self, number=-1):
        self.number = number

    def save(self, *_, **__):
        pass

    def set_weights(self, _):
        pass


def search(first, seed):
    rng = np.random.RandomState(seed)
    names = [p for p in modules.problem_evaluation if p not in ("overfit", "need_train")]
    record, results = [], {}
    rounds = rng.choice(names, 4)  # few problems, so that rounds return to one another

    def notify(solution, model, config, issue, j, config_set):
        if issue == 0:  # what keeps ReduceLR in the recipe of a new base
            return model, config, 0, False, config_set
        skip = bool(rng.rand() < 0.15)
        record.append({"problem": issue, "solution": solution, "try": j, "base": model.number, "skip": skip})
        return model, dict(config), 0, skip, config_set

    def retrain(model, config, save_dir=None, **_):
        os.makedirs(save_dir, exist_ok=True)
        u, acc = rng.rand(), float(np.round(rng.rand(), 2))
        found = [] if u < 0.03 else [first if u < 0.5 else str(rng.choice(rounds))]
        if found and u < 0.5:
            found = [record[-1]["problem"]]
        n = len(results)
        results[n] = acc
        record[-1].update(found=found[0] if found else "", accuracy=acc)
        return Trained(n), found, acc, {"loss": [0]}

    modules.notify_result, modules.utils.model_retrain = notify, retrain
    modules.pickle = mock.MagicMock()
    with tempfile.TemporaryDirectory() as d, contextlib.redirect_stdout(io.StringIO()):
        log = os.path.join(d, "case", "monitor_tool_log")
        os.makedirs(log)
        np.save(os.path.join(log, "wgt.npy"), np.zeros(1))
        r = modules.Repair_Module({}, Trained(), {"callbacks": [0] * 1000}, [first], 3, False, 0.7, d)
        try:
            out = r.solve(os.path.join(log, "solution"), new_issue_dir=os.path.join(d, "new"))
        except (IndexError, UnboundLocalError):  # it has no attempt to name: everything was skipped
            return None
    return {"first": first, "attempts": record, "outcome": out[0], "best": out[1].number}


def main():
    histories = []
    for curve in ["good", "flat", "slow", "low", "swings", "swings low", "nan", "large", "negative"]:
        for gradient in ["normal", "vanish", "explode", "zero", "relu", "nan"]:
            output = ["normal", "rows", "nan", "large"][len(histories) % 4] if len(histories) % 3 else "normal"
            loss, units, activation = [("categorical_crossentropy", 3, "softmax"), ("categorical_crossentropy", 3, "softmax"), ("binary_crossentropy", 1, "sigmoid"),
                                       ("mean_squared_error", 1, "linear"), ("categorical_crossentropy", 3, "relu"), ("binary_crossentropy", 1, "linear"),
                                       ("binary_crossentropy", 2, "softmax"), ("hinge", 5, "softmax")][len(histories) % 8]
            histories.append(watch(curve, gradient, output, loss, units, activation, [12, 20, 31][len(histories) % 3], gradient == "nan" and curve == "nan"))
    searches = [s for s in (search(p, i) for i in range(12) for p in ["vanish", "explode", "relu", "unstable", "not_converge", "activation_issue", "loss_issue"]) if s]
    import repair
    lists = dict(zip(["vanish", "explode", "relu", "unstable", "not_converge", "overfit", "activation_issue", "loss_issue", "abnormal_data"], repair.repair_strategy("balance")))
    with open(sys.argv[2], "w") as f:
        f.write(json.dumps({"solutions": lists, "histories": histories, "searches": searches}, separators=(",", ":")).replace('{"epochs"', '\n{"epochs"')
                .replace('{"first"', '\n{"first"') + "\n")
    counts = {}
    for h in histories:
        for p in h["checks"][-1]["found"] or ["none"]:
            counts[p] = counts.get(p, 0) + 1
    ends = {}
    for s in searches:
        ends[s["outcome"]] = ends.get(s["outcome"], 0) + 1
    print(counts, ends, max(len(s["attempts"]) for s in searches), file=sys.stderr)


main()
