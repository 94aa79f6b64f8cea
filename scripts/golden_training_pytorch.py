"""Records 200 training steps of PyTorch for every optimizer and loss, on an MLP and a CNN with batch-norm and pooling.

    python scripts/golden_training_pytorch.py          # writes testdata/golden/training_pytorch.json.gz and its models
    python scripts/golden_training_pytorch.py --dry    # prints the drift of every run and writes nothing

See golden_training.py for the format. No dropout: its random numbers are PyTorch's own.
"""

import copy
import os
import sys
import tempfile
import shutil

import numpy as np
import torch
from torch import nn

import golden_common as golden
import golden_training as common
from export_pytorch import describe_loss, describe_optimizer, export


def make_mlp():
    return [("fc1", nn.Linear(64, 24)), ("act1", nn.ReLU()), ("fc2", nn.Linear(24, 10))]


def make_cnn():
    # No bias before the batch-norm: its gradient is zero but for rounding, which Adam's kind would blow up to full steps.
    return [
        ("conv1", nn.Conv2d(1, 8, 3, padding=1, bias=False)), ("bn1", nn.BatchNorm2d(8)), ("act1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)), ("conv2", nn.Conv2d(8, 12, 3, padding=1)), ("act2", nn.ReLU()),
        ("pool2", nn.AvgPool2d(2)), ("flatten", nn.Flatten()), ("fc", nn.Linear(48, 10)),
    ]  # fmt: skip


ARCHITECTURES = {"mlp": (make_mlp, (64,)), "cnn": (make_cnn, (1, 8, 8))}
HEADS = {"linear": None, "softmax": nn.Softmax(1), "sigmoid": nn.Sigmoid(), "log_softmax": nn.LogSoftmax(1), "softplus": nn.Softplus()}

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    "sgd_dampening": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.5, weight_decay=0.001),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.001),
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, lr=0.0001, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0),
    "adam": lambda p: torch.optim.Adam(p, lr=0.0008),
    "adam_amsgrad": lambda p: torch.optim.Adam(p, lr=0.002, amsgrad=True, weight_decay=0.001),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.001, weight_decay=0.05),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.002),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.0008),
}

# loss -> (head, target, module); all trained with SGD at the given rate.
LOSSES = {
    "mse": ("linear", "one_hot", nn.MSELoss(), 0.2),
    "l1": ("linear", "one_hot", nn.L1Loss(), 0.05),
    "smooth_l1": ("linear", "one_hot", nn.SmoothL1Loss(), 0.3),
    "huber": ("linear", "one_hot", nn.HuberLoss(delta=0.3), 0.5),
    "cross_entropy": ("linear", "class", nn.CrossEntropyLoss(), 0.1),
    "cross_entropy_soft": ("linear", "smooth", nn.CrossEntropyLoss(), 0.1),
    "cross_entropy_of_softmax": ("softmax", "class", nn.CrossEntropyLoss(), 0.2),
    "nll": ("log_softmax", "class", nn.NLLLoss(), 0.1),
    "bce": ("sigmoid", "one_hot", nn.BCELoss(), 0.2),
    "bce_with_logits": ("linear", "one_hot", nn.BCEWithLogitsLoss(), 0.2),
    "multilabel_soft_margin": ("linear", "one_hot", nn.MultiLabelSoftMarginLoss(), 0.2),
    "kl_div": ("log_softmax", "smooth", nn.KLDivLoss(reduction="batchmean"), 0.1),
    "poisson_nll": ("linear", "one_hot", nn.PoissonNLLLoss(), 0.1),
    "poisson_nll_rate": ("softplus", "one_hot", nn.PoissonNLLLoss(log_input=False), 0.1),
}


def build(architecture, head):
    """Returns the float32 network; the weights depend on the architecture alone."""
    torch.manual_seed(11)
    model = nn.Sequential()
    for name, layer in ARCHITECTURES[architecture][0]():
        model.add_module(name, layer)
    if HEADS[head] is not None:
        model.add_module("out", HEADS[head])
    return model


def tensors(architecture, target, dtype):
    """Returns inputs and targets; floats in dtype."""
    x, y = common.data()
    y = common.TARGETS[target](y)
    x = torch.from_numpy(x).reshape(-1, *ARCHITECTURES[architecture][1]).to(dtype)
    return x, torch.from_numpy(y).to(dtype) if y.dtype == np.float32 else torch.from_numpy(y)


def train(model, make_optimizer, loss, architecture, target, dtype, nudge=0.0):
    """Trains a copy of model in dtype; returns losses, running statistics and inference outputs."""
    model = copy.deepcopy(model).to(dtype).train()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1 + nudge * torch.randn_like(p))
    optimizer = make_optimizer(model.parameters())
    x, y = tensors(architecture, target, dtype)
    losses = []
    for step in range(common.STEPS):
        rows = common.rows(step)
        optimizer.zero_grad()
        value = loss(model(x[rows]), y[rows])
        losses.append(value.item())
        value.backward()
        optimizer.step()
    running = {k: v.numpy() for k, v in model.state_dict().items() if "running" in k}
    model.eval()
    with torch.no_grad():
        return {"losses": losses, "running": running, "outputs": model(x[:16]).numpy()}


def record(name, architecture, head, target, loss, make_optimizer):
    model = build(architecture, head)
    optimizer = make_optimizer(model.parameters())
    arguments = (model, make_optimizer, loss, architecture, target)
    exact = train(*arguments, torch.float64)
    rounded = [train(*arguments, torch.float32, nudge)["losses"] for nudge in common.NUDGES]
    recipe = {
        "semantics": "pytorch", "loss": describe_loss(loss, common.TARGETS[target](np.zeros(1, np.int64))),
        "optimizer": describe_optimizer(optimizer), "batch_size": common.BATCH,
    }  # fmt: skip
    return common.recording(name, f"pytorch_{architecture}_{head}.onnx", target, recipe, exact, rounded)


def export_models():
    """Writes the initial networks beside the recording."""
    for architecture in ARCHITECTURES:
        for head in HEADS:
            model = build(architecture, head)
            x, y = tensors(architecture, "one_hot", torch.float32)
            with tempfile.TemporaryDirectory() as folder:
                data = {"x_train": x[:32], "y_train": y[:32]}
                export(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(), data, folder)
                shutil.copy(os.path.join(folder, "model.onnx"), os.path.join(golden.FOLDER, f"pytorch_{architecture}_{head}.onnx"))


def main():
    torch.set_num_threads(1)
    runs = []
    for architecture in ARCHITECTURES:
        for name, make in OPTIMIZERS.items():
            runs.append(record(f"{architecture}/optimizer/{name}", architecture, "linear", "class", nn.CrossEntropyLoss(), make))
        for name, (head, target, loss, rate) in LOSSES.items():
            sgd = lambda p, rate=rate: torch.optim.SGD(p, lr=rate)  # noqa: E731
            runs.append(record(f"{architecture}/loss/{name}", architecture, head, target, loss, sgd))
    if "--dry" not in sys.argv:
        common.save("training_pytorch.json.gz", f"torch {torch.__version__}", runs)
        export_models()


if __name__ == "__main__":
    main()
