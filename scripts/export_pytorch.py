"""Writes a torch.nn.Module with its optimizer, loss and data as model.onnx, recipe.yaml and data.npz.

    python scripts/export_pytorch.py module.py:make --out DIR

make() returns (model, optimizer, loss, data) or (model, optimizer, loss, data, options): data is
{"x_train": ..., "y_train": ...[, "x_test": ..., "y_test": ...]} of arrays or tensors (lists or dicts of them for several
inputs or outputs), options are keyword arguments of export(). In a program:

    from export_pytorch import export
    export(model, optimizer, loss, data, "out/mine", batch_size=64, epochs=12)

The model is exported by the TorchScript exporter in training form without constant folding: Dropout and
BatchNormalization stay nodes and parameters keep their names ("conv1.weight"). Weights are exported as they are; the
tracing run does not move running statistics. Needs torch, onnx, PyYAML; checks the result if onnxruntime is there.
"""

import io
import math
import os
import warnings

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

import export_common as common
from export_common import ExportError

SEMANTICS = "pytorch"

ROWS = 7  # of the tracing run: a number that is seldom the size of anything else

# Classes whose parameters start as ones (weight) and zeros (bias): reset_parameters of torch/nn/modules/batchnorm.py,
# normalization.py, instancenorm.py.
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def describe_loss(loss, y):
    """Returns the recipe's loss of a torch.nn loss object; y is the training target (class indices or not)."""
    kind = type(loss).__name__
    if getattr(loss, "weight", None) is not None or getattr(loss, "pos_weight", None) is not None:
        raise ExportError(f"loss {kind}: class or element weights have no field in the recipe")
    if kind == "KLDivLoss":
        if loss.reduction != "batchmean" or loss.log_target:
            raise ExportError("loss KLDivLoss: want reduction='batchmean' (the divergence) and log_target=False")
        return {"name": "kullback_leibler_divergence", "from_log_probabilities": True}
    if getattr(loss, "reduction", "mean") != "mean":
        raise ExportError(f"loss {kind}: reduction {loss.reduction!r}; want 'mean'")
    if kind == "CrossEntropyLoss":
        if loss.label_smoothing:
            raise ExportError("loss CrossEntropyLoss: label_smoothing has no field in the recipe; want 0")
        indices = not np.issubdtype(np.asarray(y).dtype, np.floating)
        return {"name": ("sparse_" if indices else "") + "categorical_crossentropy", "from_logits": True}
    if kind == "NLLLoss":
        return {"name": "sparse_categorical_crossentropy", "from_log_probabilities": True}
    if kind == "PoissonNLLLoss":
        if loss.full:
            raise ExportError("loss PoissonNLLLoss: full=True (Stirling's term) has no field in the recipe")
        return {"name": "poisson", "from_log_probabilities": True} if loss.log_input else {"name": "poisson"}
    if kind == "SmoothL1Loss":
        if loss.beta != 1:  # SmoothL1(beta) = Huber(beta)/beta
            raise ExportError(f"loss SmoothL1Loss: beta {loss.beta}; only 1 is a Huber loss, use HuberLoss(delta)")
        return {"name": "huber", "delta": 1.0}
    if kind == "HuberLoss":
        return {"name": "huber", "delta": float(loss.delta)}
    names = {
        "MSELoss": {"name": "mean_squared_error"},
        "L1Loss": {"name": "mean_absolute_error"},
        "BCELoss": {"name": "binary_crossentropy", "from_logits": False},
        "BCEWithLogitsLoss": {"name": "binary_crossentropy", "from_logits": True},
        # -mean_c(y log s(x) + (1-y) log(1-s(x))), torch/nn/functional.py multilabel_soft_margin_loss
        "MultiLabelSoftMarginLoss": {"name": "binary_crossentropy", "from_logits": True},
    }
    if kind not in names:
        raise ExportError(
            f"loss {kind} has no counterpart in the recipe; known are CrossEntropyLoss, NLLLoss, PoissonNLLLoss, "
            f"KLDivLoss, SmoothL1Loss, HuberLoss, {', '.join(names)}"
        )
    return names[kind]


# PyTorch's name of a hyper-parameter -> the recipe's, per optimizer class.
OPTIMIZERS = {
    "SGD": ("sgd", {"momentum": "momentum", "dampening": "dampening", "nesterov": "nesterov"}),
    "RMSprop": ("rmsprop", {"alpha": "rho", "eps": "epsilon", "momentum": "momentum", "centered": "centered"}),
    "Adagrad": ("adagrad", {"initial_accumulator_value": "initial_accumulator", "eps": "epsilon"}),
    "Adadelta": ("adadelta", {"rho": "rho", "eps": "epsilon"}),
    "Adam": ("adam", {"eps": "epsilon", "amsgrad": "amsgrad"}),
    "AdamW": ("adamw", {"eps": "epsilon", "amsgrad": "amsgrad"}),
    "Adamax": ("adamax", {"eps": "epsilon"}),
    "NAdam": ("nadam", {"eps": "epsilon", "momentum_decay": "momentum_decay"}),
}

# Hyper-parameters without a field in the recipe: only this value is exported.
FIXED = {"maximize": False, "lr_decay": 0, "decoupled_weight_decay": False}

# How a step is computed, not what: no difference to the recipe.
IRRELEVANT = {"params", "param_names", "foreach", "fused", "differentiable", "capturable", "initial_lr"}


def describe_optimizer(optimizer):
    """Returns the recipe's optimizer of a torch.optim object, every hyper-parameter as it is now."""
    kind = type(optimizer).__name__
    if kind not in OPTIMIZERS:
        raise ExportError(f"optimizer {kind} has no counterpart in the recipe; known are {', '.join(OPTIMIZERS)}")
    group = {k: v for k, v in optimizer.param_groups[0].items() if k not in IRRELEVANT}
    for i, other in enumerate(optimizer.param_groups[1:], 1):
        for key, value in group.items():
            if other[key] != value:
                raise ExportError(
                    f"optimizer {kind}: parameter group {i} has {key} {other[key]}, group 0 {value}; a recipe has one"
                )
    name, fields = OPTIMIZERS[kind]
    found = {"name": name, "learning_rate": float(group.pop("lr"))}
    if "betas" in group:
        found["beta1"], found["beta2"] = map(float, group.pop("betas"))
    for theirs, ours in fields.items():
        value = group.pop(theirs)
        found[ours] = value if isinstance(value, bool) else float(value)
    found["weight_decay"] = float(group.pop("weight_decay"))
    if name == "adamw":  # AdamW is Adam with this flag on since torch 2.6
        group.pop("decoupled_weight_decay", None)
    for key, value in group.items():
        if key not in FIXED or value != FIXED[key]:
            raise ExportError(f"optimizer {kind}: {key} {value} has no field in the recipe; want {FIXED.get(key)}")
    return found


def describe_schedule(scheduler):
    """Returns the recipe's schedule of a torch.optim.lr_scheduler object that is stepped once per epoch."""
    if scheduler is None:
        return None
    kind = type(scheduler).__name__
    if kind == "StepLR":
        return {"name": "step", "step_size": scheduler.step_size, "gamma": scheduler.gamma}
    if kind == "ExponentialLR":
        return {"name": "exponential", "gamma": scheduler.gamma}
    if kind == "CosineAnnealingLR":
        return {"name": "cosine", "t_max": scheduler.T_max, "eta_min": scheduler.eta_min}
    if kind == "ReduceLROnPlateau":
        fields = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")
        return {"name": "plateau", **{f: getattr(scheduler, f) for f in fields}, "min_lr": scheduler.min_lrs[0]}
    raise ExportError(
        f"scheduler {kind} has no counterpart in the recipe; known are StepLR, ExponentialLR, CosineAnnealingLR, "
        "ReduceLROnPlateau"
    )


def describe_initializers(model):
    """Returns {parameter name: initialiser} from reset_parameters of the owning modules.

    Linear and convolutions draw weights from kaiming_uniform_(a=sqrt(5)) and biases from U(-b, b), b = 1/sqrt(fan_in)
    (torch/nn/modules/linear.py, conv.py). What the program did afterwards cannot be read from the object, except that a
    tensor of equal values was set to that value: it is exported as zeros, ones or constant.
    """
    found = {}
    for prefix, module in model.named_modules():
        for short, parameter in module.named_parameters(recurse=False):
            name = f"{prefix}.{short}" if prefix else short
            equal = common.constant_initializer(parameter.detach().cpu().numpy())
            if equal is not None:
                found[name] = equal
            elif isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                if short == "weight":
                    found[name] = {"name": "kaiming_uniform", "a": math.sqrt(5)}
                else:
                    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(module.weight)
                    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
                    found[name] = {"name": "uniform", "minval": -bound, "maxval": bound}
            elif isinstance(module, NORMS):
                found[name] = {"name": "ones" if short == "weight" else "zeros"}
            elif isinstance(module, nn.PReLU):
                found[name] = {"name": "constant", "value": 0.25}
            else:  # no rule known: the values in the file
                found[name] = {"name": "model"}
    return found


def trace(model, inputs, input_names, output_names):
    """Exports model in training form; returns the onnx.ModelProto with the weights the model had before tracing."""
    before = {k: v.detach().clone() for k, v in model.state_dict().items()}
    modes = {m: m.training for m in model.modules()}
    buffer = io.BytesIO()
    axes = {n: {0: "batch"} for n in input_names + output_names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecation of the exporter, and in-place update of num_batches_tracked
            torch.onnx.export(
                model, tuple(inputs), buffer, dynamo=False, training=torch.onnx.TrainingMode.TRAINING,
                do_constant_folding=False, opset_version=common.OPSET, input_names=input_names,
                output_names=output_names, dynamic_axes=axes,
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as e:
        reason = str(e).split("  [Caused by")[0].splitlines()[0]
        raise ExportError(f"model: PyTorch cannot export it in training form: {reason}") from e
    finally:
        model.load_state_dict(before)
        for module, mode in modes.items():
            module.training = mode
    proto = onnx.load_model_from_string(buffer.getvalue())
    for tensor in proto.graph.initializer:
        if tensor.name in before:
            tensor.CopyFrom(numpy_helper.from_array(before[tensor.name].cpu().numpy(), tensor.name))
    return proto


def infer(model, inputs):
    """Runs model in evaluation mode; returns its outputs as a list of arrays and leaves its mode as it was."""
    modes = {m: m.training for m in model.modules()}
    model.eval()
    with torch.no_grad():
        result = model(*inputs)
    for module, mode in modes.items():
        module.training = mode
    result = list(result) if isinstance(result, (tuple, list)) else [result]
    return [r.cpu().numpy() for r in result]


def as_arrays(value):
    """Turns tensors inside value into NumPy arrays."""
    if isinstance(value, dict):
        return {k: as_arrays(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and value and not np.isscalar(value[0]):
        return [as_arrays(v) for v in value]
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def guess_metric(task, loss):
    if task == "regression":
        return "mean_squared_error"
    return "binary_accuracy" if loss["name"] == "binary_crossentropy" else "accuracy"


def export(
    model, optimizer, loss, data, out, *, batch_size=32, epochs=10, task=None, metric=None, scheduler=None,
    gradient_clip=None, early_stopping=None, preprocessing=None, initializers=None, shuffle=True, seed=1,
    input_names=None, output_names=None, tolerance=1e-5,
):  # fmt: skip
    """Writes the export into folder out; returns ONNX Runtime's largest difference (None if not checked), at most tolerance.

    gradient_clip, early_stopping, preprocessing: written as given. initializers: entries that replace what
    describe_initializers finds. A parameter that needs no gradient or is not in the optimizer is listed as frozen.
    """
    data = {k: as_arrays(v) for k, v in data.items()}
    x = data["x_train"]
    count = len(x) if isinstance(x, (list, dict)) else 1
    input_names = input_names or (list(x) if isinstance(x, dict) else ["input"] if count == 1 else [f"input{i}" for i in range(count)])
    device = next((p.device for p in model.parameters()), "cpu")
    sample = common.as_named(x, input_names)
    sample = {n: a[:ROWS].astype(np.float32) if a.dtype == np.float64 else a[:ROWS] for n, a in sample.items()}
    inputs = [torch.from_numpy(np.ascontiguousarray(sample[n])).to(device) for n in input_names]
    expected = infer(model, inputs)
    output_names = output_names or (["output"] if len(expected) == 1 else [f"output{i}" for i in range(len(expected))])

    proto = trace(model, inputs, input_names, output_names)
    common.remove_unused(proto)
    common.free_batch(proto, len(inputs[0]))
    common.constant_reshapes(proto, sample)
    onnx.checker.check_model(proto, full_check=True)
    difference = common.check_outputs(proto, sample, expected, tolerance)
    if difference is not None:
        common.check_batch(proto, sample, expected, tolerance)

    held = {id(p) for g in optimizer.param_groups for p in g["params"]}
    trained = {n for n, p in model.named_parameters() if p.requires_grad and id(p) in held}
    present = {t.name for t in proto.graph.initializer}
    found = {**describe_initializers(model), **(initializers or {})}
    loss = describe_loss(loss, data["y_train"])
    task = task or common.guess_task(loss)
    os.makedirs(out, exist_ok=True)
    onnx.save(proto, os.path.join(out, "model.onnx"))
    common.write_data(os.path.join(out, "data.npz"), data, input_names, output_names)
    common.write_recipe(
        os.path.join(out, "recipe.yaml"),
        {
            "semantics": SEMANTICS,
            "task": task,
            "loss": loss,
            "optimizer": describe_optimizer(optimizer),
            "schedule": describe_schedule(scheduler),
            "batch_size": batch_size,
            "epochs": epochs,
            "initializers": {n: i for n, i in found.items() if n in present},
            "gradient_clip": gradient_clip,
            "early_stopping": early_stopping,
            "preprocessing": preprocessing,
            "metric": metric or guess_metric(task, loss),
            "shuffle": shuffle,
            "seed": seed,
            "frozen": common.frozen_names(proto, trained),
        },
    )
    return difference


if __name__ == "__main__":
    common.main("export_pytorch.py", __doc__, export, "model, optimizer, loss, data")
