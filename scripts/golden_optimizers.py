"""Records optimizer updates and learning-rate schedules of PyTorch and Keras in testdata/golden.

    python scripts/golden_optimizers.py pytorch   # in an environment with torch
    python scripts/golden_optimizers.py keras     # in an environment with tensorflow and keras 3

optimizers.json: "initial" (a parameter of five elements) and "gradients" (ten of them; the fourth element's is always
zero, the fifth step's are all zero), and per framework a list of runs: the recipe's optimizer and gradient clipping as
the exporters describe the live object, and the parameter after each of the ten updates, in float64.
schedules.json: per framework a list of runs: the recipe's schedule, the initial rate, the monitored loss after each
epoch, and the learning rate that each epoch trains with.
"""

import sys

import numpy as np

import golden_common as golden

INITIAL = [0.5, -1.0, 2.0, 0.25, -0.001]
GRADIENTS = [
    [0.1, -0.2, 3.0, 0.0, 1e-4],
    [0.3, 0.2, -2.5, 0.0, -1e-4],
    [-0.7, 0.9, 0.01, 0.0, 2e-4],
    [0.05, -1.5, 40.0, 0.0, 1e-8],
    [0.0, 0.0, 0.0, 0.0, 0.0],
    [0.2, 0.4, -7.0, 0.0, -3e-3],
    [-0.1, -0.3, 0.6, 0.0, 1.0],
    [1.2, 0.8, -0.4, 0.0, -1e-3],
    [-0.6, 0.1, 0.2, 0.0, 5e-4],
    [0.4, -0.9, 1.1, 0.0, -2e-2],
]
# The loss falls, stalls, rises, falls within the threshold, then falls again.
PLATEAU = [1.0, 0.8, 0.8, 0.81, 0.82, 0.79995, 0.7999, 0.7, 0.7, 0.71, 0.69999, 0.72, 0.72, 0.72, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


def pytorch():
    import torch
    from torch.optim import lr_scheduler

    from export_pytorch import describe_optimizer, describe_schedule

    o = torch.optim
    makers = [
        (o.SGD, {"lr": 0.1}), (o.SGD, {"lr": 0.1, "momentum": 0.9}), (o.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        (o.SGD, {"lr": 0.1, "momentum": 0.8, "dampening": 0.3}), (o.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.02}),
        (o.RMSprop, {}), (o.RMSprop, {"alpha": 0.9, "momentum": 0.9}), (o.RMSprop, {"centered": True}),
        (o.RMSprop, {"alpha": 0.8, "eps": 1e-3, "momentum": 0.5, "centered": True, "weight_decay": 0.05}),
        (o.Adagrad, {}), (o.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.1, "weight_decay": 0.01}),
        (o.Adadelta, {}), (o.Adadelta, {"lr": 0.5, "rho": 0.95, "eps": 1e-4, "weight_decay": 0.01}),
        (o.Adam, {}), (o.Adam, {"lr": 0.01, "amsgrad": True}), (o.Adam, {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
        (o.AdamW, {}), (o.AdamW, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
        (o.Adamax, {}), (o.Adamax, {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1}),
        (o.NAdam, {}), (o.NAdam, {"lr": 0.05, "momentum_decay": 0.01, "weight_decay": 0.1}),
    ]  # fmt: skip
    clips = [{"value": 0.5}, {"norm": 1.0}, {"global_norm": 1.0}]
    runs = [(maker, arguments, None) for maker, arguments in makers]
    runs += [(o.SGD, {"lr": 0.1, "momentum": 0.9}, c) for c in (clips[0], clips[2])]
    updates = []
    for maker, arguments, clip in runs:
        parameter = torch.nn.Parameter(torch.tensor(INITIAL, dtype=torch.float64))
        optimizer, after = maker([parameter], **arguments), []
        for gradient in GRADIENTS:
            parameter.grad = torch.tensor(gradient, dtype=torch.float64)
            if clip and "value" in clip:
                torch.nn.utils.clip_grad_value_([parameter], clip["value"])
            elif clip:
                torch.nn.utils.clip_grad_norm_([parameter], clip["global_norm"])
            optimizer.step()
            after.append(golden.numbers(parameter.detach()))
        run = {"optimizer": describe_optimizer(optimizer), "parameter": after}
        updates.append({**run, "gradient_clip": clip} if clip else run)

    schedulers = [
        lambda p: lr_scheduler.StepLR(p, step_size=3, gamma=0.5),
        lambda p: lr_scheduler.ExponentialLR(p, gamma=0.9),
        lambda p: lr_scheduler.CosineAnnealingLR(p, T_max=10, eta_min=0.01),
        lambda p: lr_scheduler.ReduceLROnPlateau(p, patience=1, factor=0.5),
        lambda p: lr_scheduler.ReduceLROnPlateau(p, patience=0, cooldown=2, min_lr=0.05, threshold_mode="abs", threshold=0.01),
    ]
    schedules = []
    for make in schedulers:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        scheduler, rates = make(optimizer), []
        for loss in PLATEAU:
            rates.append(golden.number(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step(*([loss] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
        schedules.append({"schedule": describe_schedule(scheduler), "initial": 0.4, "losses": PLATEAU, "rates": rates})
    version = f"torch {torch.__version__}"
    return {"pytorch": updates, "pytorch_version": version}, {"pytorch": schedules, "pytorch_version": version}


def keras():
    import os

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    from export_keras import describe_clipping, describe_optimizer, describe_plateau

    keras.config.set_floatx("float64")
    o = keras.optimizers
    makers = [
        (o.SGD, {}), (o.SGD, {"learning_rate": 0.1, "momentum": 0.9}),
        (o.SGD, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}), (o.SGD, {"learning_rate": 0.1, "weight_decay": 0.02}),
        (o.RMSprop, {}), (o.RMSprop, {"momentum": 0.9}), (o.RMSprop, {"centered": True}),
        (o.RMSprop, {"rho": 0.8, "epsilon": 1e-3, "momentum": 0.5, "centered": True, "weight_decay": 0.05}),
        (o.Adagrad, {}), (o.Adagrad, {"learning_rate": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.01}),
        (o.Adadelta, {}), (o.Adadelta, {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-4}),
        (o.Adam, {}), (o.Adam, {"learning_rate": 0.01, "amsgrad": True}),
        (o.Adam, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}),
        (o.AdamW, {}), (o.AdamW, {"learning_rate": 0.1, "weight_decay": 0.3, "amsgrad": True}),
        (o.Adamax, {}), (o.Adamax, {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9}),
        (o.Nadam, {}), (o.Nadam, {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9}),
        (o.SGD, {"learning_rate": 0.1, "momentum": 0.9, "clipvalue": 0.5}), (o.SGD, {"learning_rate": 0.1, "clipnorm": 1.0}),
        (o.Adam, {"global_clipnorm": 1.0}),
    ]  # fmt: skip
    updates = []
    for maker, arguments in makers:
        optimizer = maker(**arguments)
        variable, after = keras.Variable(np.array(INITIAL), dtype="float64"), []
        optimizer.build([variable])
        for gradient in GRADIENTS:
            optimizer.apply([tf.constant(gradient, tf.float64)], [variable])
            after.append(golden.numbers(variable.numpy()))
        run = {"optimizer": describe_optimizer(optimizer), "parameter": after}
        clip = describe_clipping(optimizer)
        updates.append({**run, "gradient_clip": clip} if clip else run)

    class Holder:  # what a callback asks of a model
        def __init__(self, optimizer):
            self.optimizer = optimizer

    schedules = []
    for arguments in (
        {"monitor": "loss", "patience": 2, "factor": 0.5},
        {"monitor": "loss", "patience": 1, "cooldown": 2, "min_lr": 0.05, "min_delta": 0.01},
    ):
        callback = keras.callbacks.ReduceLROnPlateau(**arguments)
        callback.set_model(Holder(o.SGD(0.4)))
        callback.on_train_begin()
        rates = []
        for epoch, loss in enumerate(PLATEAU):
            rates.append(golden.number(callback.model.optimizer.learning_rate))
            callback.on_epoch_end(epoch, {"loss": loss})
        schedules.append({"schedule": describe_plateau(callback), "initial": 0.4, "losses": PLATEAU, "rates": rates})
    version = f"keras {keras.__version__}, tensorflow {tf.__version__}"
    return {"keras": updates, "keras_version": version}, {"keras": schedules, "keras_version": version}


if __name__ == "__main__":
    makers = {"pytorch": pytorch, "keras": keras}
    if len(sys.argv) != 2 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    optimizers, schedules = makers[sys.argv[1]]()
    shared = {"initial": INITIAL, "gradients": GRADIENTS}
    golden.write_section("optimizers.json", {**shared, **optimizers})
    golden.write_section("schedules.json", schedules)
