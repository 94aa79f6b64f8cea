"""Writes a compiled Keras model and its data as model.onnx, recipe.yaml and data.npz.

    python scripts/export_keras.py module.py:make --out DIR

make() returns (model, data) or (model, data, options): a compiled Keras 3 model (TensorFlow backend), data
{"x_train": ..., "y_train": ...[, "x_test": ..., "y_test": ...]} of arrays (dicts of them for several inputs), options are
keyword arguments of export(). In a program:

    from export_keras import export
    export(model, data, "out/mine", batch_size=128, epochs=12)

tf2onnx writes inference form: Dropout vanishes, batch-norm melts into the layer before it, and weights whose values
happen to be alike or zero (fresh biases) are merged or dropped. So the model is converted twice changed, in place and
restored afterwards:
  - every weight holds a run of numbers found nowhere else, so that it can be recognised afterwards in whatever layout
    it ended up, and gets its true values and its Keras path ("conv2d/kernel") back in that layout;
  - Dropout, BatchNormalization and activations that ONNX has as one operator multiply by such a number instead, and
    the Mul is replaced by the ONNX node. tf2onnx moves transposes past a Mul, so the graph stays free of needless ones.
Recurrent layers are unrolled over their time steps, whose number the input must declare, so that their weights are matrices of the graph.
What was not found again is an error, never a silent loss. Weights are exported as they are. The result is compared
with the model's own outputs in ONNX Runtime. Needs tensorflow, keras 3, tf2onnx 1.17, onnx, PyYAML, onnxruntime.
"""

import contextlib
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
import tf2onnx.tf_loader
from keras import layers

import export_common as common
import keras_graph
from export_common import ExportError

SEMANTICS = "keras"


def snake(name):
    """CategoricalCrossentropy -> categorical_crossentropy."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# --- recipe -------------------------------------------------------------------------------------------------

LOSSES = {
    "mean_squared_error": "mean_squared_error", "mean_absolute_error": "mean_absolute_error",
    "mean_absolute_percentage_error": "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error": "mean_squared_logarithmic_error", "squared_hinge": "squared_hinge",
    "hinge": "hinge", "categorical_hinge": "categorical_hinge", "log_cosh": "logcosh",
    "categorical_crossentropy": "categorical_crossentropy",
    "sparse_categorical_crossentropy": "sparse_categorical_crossentropy", "binary_crossentropy": "binary_crossentropy",
    "kldivergence": "kullback_leibler_divergence", "kl_divergence": "kullback_leibler_divergence", "poisson": "poisson",
    "huber": "huber", "angle": "angle", "angle_loss_fn": "angle",
}  # fmt: skip


def describe_loss(loss):
    """Returns the recipe's loss of what compile() was given: a name, a function or a keras.losses object."""
    if isinstance(loss, (list, tuple, dict)):
        if len(loss) != 1:
            raise ExportError(f"loss {loss!r}: a recipe has one loss; export a model with one trained output")
        loss = list(loss.values() if isinstance(loss, dict) else loss)[0]
    if loss is None:
        raise ExportError("the model is not compiled with a loss")
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    config = {}
    if isinstance(loss, keras.losses.Loss):
        name, config = snake(type(loss).__name__), loss.get_config()
        if config.get("reduction", "sum_over_batch_size") not in ("sum_over_batch_size", "mean"):
            raise ExportError(f"loss {name}: reduction {config['reduction']!r}; want 'sum_over_batch_size'")
    else:
        name = loss.__name__
    if name not in LOSSES:
        raise ExportError(f"loss {name} has no counterpart in the recipe; known are {', '.join(sorted(LOSSES))}")
    name = LOSSES[name]
    if config.get("label_smoothing") or config.get("ignore_class") is not None or config.get("axis", -1) != -1:
        raise ExportError(f"loss {name}: label_smoothing, ignore_class and axis have no field in the recipe")
    found = {"name": name}
    if name.endswith("crossentropy"):
        found["from_logits"] = bool(config.get("from_logits", False))
    if name == "huber":
        found["delta"] = float(config.get("delta", 1.0))
    return found


# The recipe's name of a hyper-parameter -> Keras's in get_config(), per optimizer class.
OPTIMIZERS = {
    "SGD": {"momentum": "momentum", "nesterov": "nesterov"},
    "RMSprop": {"rho": "rho", "momentum": "momentum", "epsilon": "epsilon", "centered": "centered"},
    "Adagrad": {"initial_accumulator": "initial_accumulator_value", "epsilon": "epsilon"},
    "Adadelta": {"rho": "rho", "epsilon": "epsilon"},
    "Adam": {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "epsilon", "amsgrad": "amsgrad"},
    "AdamW": {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "epsilon", "amsgrad": "amsgrad"},
    "Adamax": {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "epsilon"},
    "Nadam": {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "epsilon"},
}


def shortest(variable):
    """Returns a float32 variable's value as the decimal that was meant: 0.001, not 0.0010000000474974513."""
    value = np.asarray(variable)
    return float(str(value)) if value.dtype == np.float32 else float(value)


def describe_optimizer(optimizer):
    """Returns the recipe's optimizer of a keras.optimizers object, every hyper-parameter as it is now."""
    kind = type(optimizer).__name__
    if kind not in OPTIMIZERS:
        raise ExportError(f"optimizer {kind} has no counterpart in the recipe; known are {', '.join(OPTIMIZERS)}")
    config = optimizer.get_config()
    for key in ("use_ema", "loss_scale_factor", "gradient_accumulation_steps"):
        if config.get(key):
            raise ExportError(f"optimizer {kind}: {key} has no field in the recipe")
    if getattr(optimizer, "_exclude_from_weight_decay_names", None) or getattr(optimizer, "_exclude_from_weight_decay", None):
        raise ExportError(f"optimizer {kind}: exclude_from_weight_decay has no field in the recipe")
    schedule = optimizer._learning_rate
    rate = schedule.initial_learning_rate if hasattr(schedule, "initial_learning_rate") else shortest(optimizer.learning_rate)
    found = {"name": kind.lower(), "learning_rate": float(rate)}
    for ours, theirs in OPTIMIZERS[kind].items():
        found[ours] = config[theirs] if isinstance(config[theirs], bool) else float(config[theirs])
    found["weight_decay"] = float(config.get("weight_decay") or 0.0)
    return found


def describe_clipping(optimizer):
    """Returns the recipe's gradient_clip of a keras.optimizers object, None without."""
    pairs = {"value": optimizer.clipvalue, "norm": optimizer.clipnorm, "global_norm": optimizer.global_clipnorm}
    return {k: float(v) for k, v in pairs.items() if v} or None


def describe_plateau(callback):
    """Returns the recipe's schedule of a ReduceLROnPlateau callback.

    The recipe counts as PyTorch does. Keras lowers the rate at the patience-th epoch without improvement, PyTorch at the
    one after it; and Keras counts the last epoch of the cooldown, PyTorch does not (keras/src/callbacks/
    reduce_lr_on_plateau.py, torch/optim/lr_scheduler.py): both numbers are one less here.
    """
    if callback.monitor not in ("loss", "val_loss"):
        raise ExportError(f"ReduceLROnPlateau: monitor {callback.monitor!r}; want 'loss' or 'val_loss'")
    return {
        "name": "plateau", "mode": "min", "factor": callback.factor, "patience": max(callback.patience, 1) - 1,
        "threshold": abs(callback.min_delta), "threshold_mode": "abs", "cooldown": max(callback.cooldown - 1, 0),
        "min_lr": float(callback.min_lr), "eps": 0.0,
    }  # fmt: skip


def describe_schedule(optimizer, callbacks, steps_per_epoch):
    """Returns the recipe's schedule of a learning-rate schedule or a ReduceLROnPlateau callback, None without."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.ReduceLROnPlateau):
            return describe_plateau(callback)
    schedule = optimizer._learning_rate
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return None
    kind, config = type(schedule).__name__, schedule.get_config()
    if kind == "ExponentialDecay" and config["staircase"] and config["decay_steps"] % steps_per_epoch == 0:
        return {"name": "step", "step_size": config["decay_steps"] // steps_per_epoch, "gamma": config["decay_rate"]}
    raise ExportError(
        f"schedule {kind} changes the rate within an epoch, a recipe only between epochs; want ExponentialDecay with "
        f"staircase=True and decay_steps a multiple of the {steps_per_epoch} steps of an epoch, or ReduceLROnPlateau"
    )


def describe_stopping(callbacks):
    """Returns the recipe's early_stopping of an EarlyStopping callback, None without."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.EarlyStopping):
            return {
                "monitor": "loss" if callback.monitor in ("loss", "val_loss") else "metric", "patience": callback.patience,
                "min_delta": abs(float(callback.min_delta)), "restore_best": bool(callback.restore_best_weights),
            }  # fmt: skip
    return None


def describe_initializer(initializer):
    """Returns the recipe's initialiser of a keras.initializers object; one without counterpart keeps the file's values."""
    kind = type(initializer).__name__
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    fields = {
        "Zeros": [], "Ones": [], "Constant": ["value"], "RandomNormal": ["mean", "stddev"],
        "RandomUniform": ["minval", "maxval"], "TruncatedNormal": ["mean", "stddev"], "Orthogonal": ["gain"],
        "OrthogonalInitializer": ["gain"], "GlorotUniform": [], "GlorotNormal": [], "LecunUniform": [], "LecunNormal": [],
        "HeUniform": [], "HeNormal": [],
    }  # fmt: skip
    if kind == "VarianceScaling":
        names = {
            (1.0, "fan_avg", "uniform"): "glorot_uniform", (1.0, "fan_avg", "truncated_normal"): "glorot_normal",
            (1.0, "fan_in", "uniform"): "lecun_uniform", (1.0, "fan_in", "truncated_normal"): "lecun_normal",
            (2.0, "fan_in", "uniform"): "he_uniform", (2.0, "fan_in", "truncated_normal"): "he_normal",
        }  # fmt: skip
        return {"name": names.get((config["scale"], config["mode"], config["distribution"]), "model")}
    if kind not in fields:
        return {"name": "model"}
    name = "orthogonal" if kind == "OrthogonalInitializer" else snake(kind)
    return {"name": name, **{f: float(config[f]) for f in fields[kind]}}


def describe_regularizer(name, regularizer):
    kind = type(regularizer).__name__
    if kind not in ("L1", "L2", "L1L2"):
        raise ExportError(f"weight {name}: regularizer {kind} has no counterpart in the recipe; known are L1, L2, L1L2")
    return {"l1": shortest(getattr(regularizer, "l1", 0.0)), "l2": shortest(getattr(regularizer, "l2", 0.0))}


def describe_weights(model):
    """Returns the initializers and regularizers of all trainable weights, by weight name.

    An entry of the initializers is what makes a tensor a weight for netmend where the graph alone does not tell it from a constant.
    """
    initializers, regularizers = {}, {}
    names = keras_graph.weight_names(model)
    for layer in model._flatten_layers():
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ExportError(f"layer {layer.name}: activity_regularizer has no field in the recipe")
        for short in ("kernel", "bias", "gamma", "beta", "alpha", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings"):
            variable = getattr(layer, short, None)
            if variable is None or id(variable) not in names:
                continue
            name = names[id(variable)]
            # Depthwise layers call the settings of "kernel" or "depthwise_kernel" depthwise_initializer and so on.
            prefixes = [p for p in (short, short.removesuffix("_kernel"), "depthwise") if hasattr(layer, p + "_initializer")]
            # The fans of an EinsumDense kernel of several axes are not those of the matrix that it becomes; LSTM fills a part of its bias
            # with ones.
            own = isinstance(layer, layers.EinsumDense) and len(variable.shape) > 2 or short == "bias" and getattr(layer, "unit_forget_bias", False)
            if not prefixes or own:
                initializers[name] = {"name": "model"}
                continue
            if getattr(layer, prefixes[0] + "_constraint", None) is not None:
                raise ExportError(f"weight {name}: a constraint has no field in the recipe")
            initializers[name] = describe_initializer(getattr(layer, prefixes[0] + "_initializer"))
            regularizer = getattr(layer, prefixes[0] + "_regularizer", None)
            if regularizer is not None:
                regularizers[name] = describe_regularizer(name, regularizer)
    for variable in model.trainable_weights:  # what add_weight made elsewhere: its initialiser is not kept, the values in the file are
        name = names[id(variable)]
        if name not in initializers:
            if getattr(variable, "constraint", None) is not None:
                raise ExportError(f"weight {name}: a constraint has no field in the recipe")
            initializers[name] = {"name": "model"}
            if getattr(variable, "regularizer", None) is not None:
                regularizers[name] = describe_regularizer(name, variable.regularizer)
    return initializers, regularizers


METRICS = {
    "accuracy": "accuracy", "acc": "accuracy", "binary_accuracy": "binary_accuracy",
    "categorical_accuracy": "categorical_accuracy", "sparse_categorical_accuracy": "sparse_categorical_accuracy",
    "top_kcategorical_accuracy": "top_k_accuracy", "sparse_top_kcategorical_accuracy": "top_k_accuracy",
    "mae": "mean_absolute_error", "mean_absolute_error": "mean_absolute_error", "mse": "mean_squared_error",
    "mean_squared_error": "mean_squared_error", "f1_score": "f1", "f1score": "f1", "angle": "angle", "angle_loss_fn": "angle",
}  # fmt: skip


def describe_metric(model, task):
    """Returns the first compiled metric that the recipe knows, else what fits the task."""
    metrics = (model.get_compile_config() or {}).get("metrics") or []
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        if isinstance(metric, dict):
            metric = metric.get("class_name", "")
        name = METRICS.get(metric, METRICS.get(snake(str(metric))))
        if name:
            return name
    return "accuracy" if task == "classification" else "mean_squared_error"


# --- conversion ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def without_grappler():
    """TensorFlow's own optimizer would fold constants into weights; tf2onnx's passes do what is needed."""
    kept = tf2onnx.tf_loader.tf_optimize_grappler
    tf2onnx.tf_loader.tf_optimize_grappler = lambda inputs, outputs, graph: graph
    try:
        yield
    finally:
        tf2onnx.tf_loader.tf_optimize_grappler = kept


def input_names(model):
    """Names of the model's inputs; unnamed ones are called input, input1, ..."""
    names = [t.name for t in model.inputs]
    if any(re.fullmatch(r"keras_tensor(_\d+)?|input_layer(_\d+)?", n) for n in names):
        names = ["input"] if len(names) == 1 else [f"input{i}" for i in range(len(names))]
    return names


def convert(model, inputs, outputs):
    """Returns model as an onnx.ModelProto in training form, inputs and outputs named as given."""
    signature = [tf.TensorSpec((None, *t.shape[1:]), t.dtype, name=n) for t, n in zip(model.inputs, inputs)]

    def call(*values):
        result = model(list(values) if len(values) > 1 else values[0], training=False)
        results = result if isinstance(result, (list, tuple)) else [result]
        return {name: tf.identity(value) for name, value in zip(outputs, results)}

    with keras_graph.Fingerprints(model) as prints, without_grappler():
        proto, _ = tf2onnx.convert.from_function(tf.function(call), input_signature=signature, opset=common.OPSET)
    common.remove_unused(proto)
    keras_graph.rename_values(proto, inputs, outputs)
    keras_graph.restore_nodes(proto, prints)
    keras_graph.restore_weights(proto, prints)
    keras_graph.cancel_transposes(proto)
    common.remove_unused(proto)
    for domain in [o for o in proto.opset_import if o.domain not in {n.domain for n in proto.graph.node}]:
        proto.opset_import.remove(domain)
    return proto


def export(
    model, data, out, *, batch_size=32, epochs=10, task=None, metric=None, callbacks=(), early_stopping=None,
    preprocessing=None, initializers=None, shuffle=True, seed=1, tolerance=1e-5,
):  # fmt: skip
    """Writes the export into folder out; returns ONNX Runtime's largest difference (None if not checked), at most tolerance.

    callbacks: ReduceLROnPlateau becomes the schedule, EarlyStopping the early_stopping; others are not of the recipe.
    early_stopping, preprocessing: written as given. initializers: entries that replace those of the layers.
    """
    if not getattr(model, "inputs", None):
        raise ExportError(f"model {model.name!r} has no declared inputs; build a Sequential or Functional model")
    inputs = input_names(model)
    outputs = ["output"] if len(model.outputs) == 1 else [f"output{i}" for i in range(len(model.outputs))]
    types = {n: t.dtype for n, t in zip(inputs, model.inputs)}
    sample = {n: a[:8].astype(types[n]) for n, a in common.as_named(data["x_train"], inputs).items()}
    expected = model([sample[n] for n in inputs] if len(inputs) > 1 else sample[inputs[0]], training=False)
    expected = [np.asarray(e) for e in (expected if isinstance(expected, (list, tuple)) else [expected])]

    proto = convert(model, inputs, outputs)
    common.constant_reshapes(proto, sample)
    onnx.checker.check_model(proto, full_check=True)
    difference = common.check_outputs(proto, sample, expected, tolerance)
    if difference is not None:
        common.check_batch(proto, sample, expected, tolerance)

    loss = describe_loss(model.loss)
    task = task or common.guess_task(loss)
    found, regularizers = describe_weights(model)
    present = {t.name for t in proto.graph.initializer}
    names = keras_graph.weight_names(model)
    trained = {names[id(v)] for v in model.trainable_weights}
    rows = len(next(iter(common.as_named(data["x_train"], inputs).values())))
    os.makedirs(out, exist_ok=True)
    onnx.save(proto, os.path.join(out, "model.onnx"))
    common.write_data(os.path.join(out, "data.npz"), data, inputs, outputs)
    common.write_recipe(
        os.path.join(out, "recipe.yaml"),
        {
            "semantics": SEMANTICS,
            "task": task,
            "loss": loss,
            "optimizer": describe_optimizer(model.optimizer),
            "schedule": describe_schedule(model.optimizer, callbacks, -(-rows // batch_size)),
            "batch_size": batch_size,
            "epochs": epochs,
            "initializers": {n: i for n, i in {**found, **(initializers or {})}.items() if n in present},
            "regularizers": {n: r for n, r in regularizers.items() if n in present},
            "gradient_clip": describe_clipping(model.optimizer),
            "early_stopping": early_stopping or describe_stopping(callbacks),
            "preprocessing": preprocessing,
            "metric": metric or describe_metric(model, task),
            "shuffle": shuffle,
            "seed": seed,
            "frozen": common.frozen_names(proto, trained),
        },
    )
    return difference


if __name__ == "__main__":
    common.main("export_keras.py", __doc__, export, "model, data")
