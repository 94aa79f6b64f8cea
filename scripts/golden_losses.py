"""Records loss values and gradients of PyTorch and Keras in testdata/golden/losses.json.

    python scripts/golden_losses.py pytorch   # in an environment with torch
    python scripts/golden_losses.py keras     # in an environment with tensorflow and keras 3

The file holds "inputs" (the predictions and targets by name) and per framework a list of cases: the recipe's loss,
the names of its inputs, the value of the loss over the whole batch and its gradient with respect to the prediction,
all computed in float64. Predictions include probabilities of exactly 0 and 1, logits of +-100 and values outside a
loss's domain; targets include all-zero rows. JSON has no NaN and infinities: they are the strings "NaN", "Infinity".
"""

import sys

import numpy as np

import golden_common as golden

PREDICTIONS = {
    "mixed": [[0.3, -1.2, 0.8], [-0.5, 0.1, 2.5], [1.7, -0.4, 0.05], [0.9, 0.6, -2.2]],
    "probabilities": [[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.05, 0.05, 0.9], [0.34, 0.33, 0.33]],
    "certain": [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5], [1, 0, 0]],
    "unnormalised": [[0.4, 1.0, 0.6], [0.9, 0.9, 0.9], [0.1, 0.2, 0.1], [2.0, 1.0, 1.0]],
    "large": [[100, -100, 0], [-100, 100, 50], [0, -100, 100], [-100, -100, -100]],
    "zeros": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
}
TARGETS = {
    "one_hot": [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]],
    "multi_hot": [[0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1]],
    "signs": [[-1, 1, -1], [1, -1, -1], [1, 1, -1], [-1, -1, 1]],
    "soft": [[0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.0, 0.25, 0.75], [0.34, 0.33, 0.33]],
    "real": [[0.5, -1.0, 2.0], [0.0, 3.0, 0.1], [1.7, -0.4, 0.05], [10.0, -20.0, 0.0]],
    "counts": [[0, 1, 4], [2, 0, 0], [7, 1, 0], [0, 0, 3]],
}
LABELS = {"labels": [1, 0, 2, 2]}

DENSE = [
    "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
    "squared_hinge", "hinge", "categorical_hinge", "logcosh", "categorical_crossentropy", "binary_crossentropy",
    "kullback_leibler_divergence", "poisson",
]  # fmt: skip


def inputs():
    return {**PREDICTIONS, **TARGETS, **LABELS}


def case(loss, prediction, target, value, gradient):
    return {
        "loss": loss, "prediction": prediction, "target": target,
        "value": golden.number(value), "gradient": golden.numbers(gradient),
    }  # fmt: skip


def keras_cases():
    import os

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    keras.config.set_floatx("float64")
    classes = {
        "mean_squared_error": "MeanSquaredError", "mean_absolute_error": "MeanAbsoluteError",
        "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
        "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError", "squared_hinge": "SquaredHinge",
        "hinge": "Hinge", "categorical_hinge": "CategoricalHinge", "logcosh": "LogCosh",
        "categorical_crossentropy": "CategoricalCrossentropy", "binary_crossentropy": "BinaryCrossentropy",
        "kullback_leibler_divergence": "KLDivergence", "poisson": "Poisson",
        "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy", "huber": "Huber",
    }  # fmt: skip

    def record(loss, prediction, target, **arguments):
        compute = getattr(keras.losses, classes[loss["name"]])(dtype="float64", **arguments)
        x = tf.constant(PREDICTIONS[prediction], tf.float64)
        y = tf.constant(LABELS[target]) if target in LABELS else tf.constant(TARGETS[target], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = compute(y, x)
        return case(loss, prediction, target, value.numpy(), tape.gradient(value, x).numpy())

    cases = []
    for prediction in PREDICTIONS:
        for name in DENSE:
            for target in TARGETS:
                crossentropy = name.endswith("crossentropy")
                loss = {"name": name, "from_logits": False} if crossentropy else {"name": name}
                cases.append(record(loss, prediction, target))
        for target in ("one_hot", "multi_hot", "soft"):
            for name in ("categorical_crossentropy", "binary_crossentropy"):
                cases.append(record({"name": name, "from_logits": True}, prediction, target, from_logits=True))
        for logits in (False, True):
            loss = {"name": "sparse_categorical_crossentropy", "from_logits": logits}
            cases.append(record(loss, prediction, "labels", from_logits=logits))
        for delta in (1.0, 0.3):
            cases.append(record({"name": "huber", "delta": delta}, prediction, "real", delta=delta))
    return {"keras": cases, "keras_version": f"keras {keras.__version__}, tensorflow {tf.__version__}"}


def pytorch_cases():
    import torch
    from torch import nn

    from export_pytorch import describe_loss

    dense = [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss(delta=1.0), nn.HuberLoss(delta=0.3)]
    runs = [(p, t, m) for p in PREDICTIONS for m in dense for t in ("one_hot", "real")]
    for p in PREDICTIONS:
        for t in ("one_hot", "multi_hot", "soft"):
            runs += [(p, t, nn.CrossEntropyLoss()), (p, t, nn.BCEWithLogitsLoss()), (p, t, nn.MultiLabelSoftMarginLoss())]
        runs += [(p, "labels", nn.CrossEntropyLoss()), (p, "labels", nn.NLLLoss())]
        runs += [(p, t, nn.KLDivLoss(reduction="batchmean")) for t in ("one_hot", "soft", "multi_hot")]
        runs += [(p, t, nn.PoissonNLLLoss(log_input=log)) for t in ("counts", "soft") for log in (True, False)]
    # BCELoss refuses predictions outside 0..1.
    runs += [(p, t, nn.BCELoss()) for p in ("probabilities", "certain", "zeros") for t in ("one_hot", "multi_hot", "soft")]
    cases = []
    for prediction, target, module in runs:
        x = torch.tensor(PREDICTIONS[prediction], dtype=torch.float64, requires_grad=True)
        y = torch.tensor(LABELS[target]) if target in LABELS else torch.tensor(TARGETS[target], dtype=torch.float64)
        value = module(x, y)
        value.backward()
        made = case(describe_loss(module, y.numpy()), prediction, target, value.detach(), x.grad)
        cases.append({"module": type(module).__name__, **made})
    return {"pytorch": cases, "pytorch_version": f"torch {torch.__version__}"}


if __name__ == "__main__":
    makers = {"pytorch": pytorch_cases, "keras": keras_cases}
    if len(sys.argv) != 2 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    golden.write_section("losses.json", {"inputs": inputs(), **makers[sys.argv[1]]()})
