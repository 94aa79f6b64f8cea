"""Records 200 training steps of Keras for every optimizer and loss, on an MLP and a CNN with batch-norm and pooling.

    python scripts/golden_training_keras.py          # writes testdata/golden/training_keras.json.gz and its models
    python scripts/golden_training_keras.py --dry    # prints the drift of every run and writes nothing

See golden_training.py for the format. Losses include the penalties of regularizers, as Keras reports them. Each step is
one tf.function, as in fit(): there a cross-entropy finds the logits behind a Softmax or Sigmoid of the network.
"""

import os
import shutil
import sys
import tempfile

from export_keras import describe_clipping, describe_loss, describe_optimizer, describe_weights, export

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import golden_common as golden
import golden_training as common
import keras_graph


def make_mlp(regularizer):
    return (64,), [layers.Dense(24, activation="relu", kernel_regularizer=regularizer, name="fc1"), layers.Dense(10, name="fc2")]


def make_cnn(regularizer):
    # No bias before the batch-norm: its gradient is zero but for rounding, which Adam's kind would blow up to full steps.
    # ELU: with ReLU some of the millions of activations of a run fall within rounding of its kink, and runs part there.
    return (8, 8, 1), [
        layers.Conv2D(8, 3, padding="same", use_bias=False, kernel_regularizer=regularizer, name="conv1"),
        layers.BatchNormalization(name="bn1"), layers.Activation("elu", name="act1"), layers.MaxPooling2D(2, name="pool1"),
        layers.Conv2D(12, 3, padding="same", activation="elu", name="conv2"), layers.AveragePooling2D(2, name="pool2"),
        layers.Flatten(name="flatten"), layers.Dense(10, name="fc"),
    ]  # fmt: skip


ARCHITECTURES = {"mlp": make_mlp, "cnn": make_cnn}
HEADS = ["linear", "softmax", "sigmoid", "softplus"]

o = keras.optimizers
# Each takes a factor of its learning rate: the CNN learns faster and turns chaotic at the MLP's rates.
RATE = {"mlp": 1.0, "cnn": 0.5}
OPTIMIZERS = {
    "sgd": lambda s: o.SGD(0.1 * s),
    "sgd_momentum": lambda s: o.SGD(0.02 * s, momentum=0.9),
    "sgd_nesterov": lambda s: o.SGD(0.02 * s, momentum=0.9, nesterov=True, weight_decay=0.001),
    "rmsprop": lambda s: o.RMSprop(0.0002 * s),
    "rmsprop_centered": lambda s: o.RMSprop(0.0001 * s, momentum=0.5, centered=True),
    "adagrad": lambda s: o.Adagrad(0.02 * s),
    "adadelta": lambda s: o.Adadelta(1.0 * s),
    "adam": lambda s: o.Adam(0.0008 * s),
    "adam_amsgrad": lambda s: o.Adam(0.001 * s, amsgrad=True),
    "adamw": lambda s: o.AdamW(0.001 * s, weight_decay=0.05),
    "adamax": lambda s: o.Adamax(0.001 * s),
    "nadam": lambda s: o.Nadam(0.0005 * s),
    "sgd_clipvalue": lambda s: o.SGD(0.1 * s, momentum=0.5, clipvalue=0.02),
    "sgd_clipnorm": lambda s: o.SGD(0.1 * s, momentum=0.5, clipnorm=0.2),
    "sgd_global_clipnorm": lambda s: o.SGD(0.1 * s, momentum=0.5, global_clipnorm=0.4),
}

k = keras.losses
# loss -> (head, target, loss, rate of SGD)
LOSSES = {
    "mse": ("linear", "one_hot", k.MeanSquaredError(), 0.2),
    "mae": ("linear", "one_hot", k.MeanAbsoluteError(), 0.03),
    "mape": ("linear", "shifted", k.MeanAbsolutePercentageError(), 0.001),
    "msle": ("sigmoid", "one_hot", k.MeanSquaredLogarithmicError(), 1.0),
    "squared_hinge": ("linear", "signs", k.SquaredHinge(), 0.05),
    "hinge": ("linear", "signs", k.Hinge(), 0.1),
    "categorical_hinge": ("linear", "one_hot", k.CategoricalHinge(), 0.008),
    "logcosh": ("linear", "one_hot", k.LogCosh(), 0.3),
    "huber": ("linear", "one_hot", k.Huber(0.3), 0.5),
    "categorical": ("softmax", "one_hot", k.CategoricalCrossentropy(), 0.1),
    "categorical_soft": ("softmax", "smooth", k.CategoricalCrossentropy(), 0.1),
    "categorical_logits": ("linear", "one_hot", k.CategoricalCrossentropy(from_logits=True), 0.1),
    "categorical_of_sigmoid": ("sigmoid", "one_hot", k.CategoricalCrossentropy(), 0.1),
    "sparse": ("softmax", "class", k.SparseCategoricalCrossentropy(), 0.1),
    "sparse_logits": ("linear", "class", k.SparseCategoricalCrossentropy(from_logits=True), 0.1),
    "binary": ("sigmoid", "one_hot", k.BinaryCrossentropy(), 0.2),
    "binary_logits": ("linear", "one_hot", k.BinaryCrossentropy(from_logits=True), 0.2),
    "binary_of_softmax": ("softmax", "one_hot", k.BinaryCrossentropy(), 0.3),
    "kl": ("softmax", "smooth", k.KLDivergence(), 0.2),
    "poisson": ("softplus", "one_hot", k.Poisson(), 0.1),
}


def build(architecture, head, regularizer=None, precision="float32"):
    """Returns the network in the given precision; the weights depend on the architecture alone."""
    keras.utils.clear_session()
    keras.config.set_floatx(precision)
    shape, body = ARCHITECTURES[architecture](regularizer)
    if head != "linear":
        body.append(layers.Activation(head, name="out"))
    model = keras.Sequential([keras.Input(shape), *body])
    rng = np.random.default_rng(11)
    for weight in model.weights:
        if "kernel" in weight.path:  # He et al. 2015, drawn in float32 so that every precision starts from the same
            fan_in = np.prod(weight.shape[:-1])
            weight.assign((rng.normal(size=weight.shape) * np.sqrt(2 / fan_in)).astype(np.float32))
        elif "bias" in weight.path or "beta" in weight.path:  # not 0: blank image parts would sit on the kink of ReLU
            weight.assign((0.1 * rng.normal(size=weight.shape)).astype(np.float32))
    return model


def tensors(model, target, precision):
    x, y = common.data()
    y = common.TARGETS[target](y)
    return x.reshape(-1, *model.input_shape[1:]).astype(precision), y.astype(precision) if y.dtype == np.float32 else y


def train(architecture, head, target, loss, make_optimizer, regularizer, precision, nudge=0.0):
    """Trains in the given precision; returns losses, running statistics and inference outputs."""
    model = build(architecture, head, regularizer, precision)
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(np.asarray(weight) * (1 + nudge * rng.normal(size=weight.shape)))
    loss = type(loss).from_config({**loss.get_config(), "dtype": precision})
    optimizer = make_optimizer(RATE[architecture])
    optimizer.build(model.trainable_variables)
    x, y = tensors(model, target, precision)

    @tf.function
    def step(xs, ys):
        with tf.GradientTape() as tape:
            value = loss(ys, model(xs, training=True))
            value += tf.add_n(model.losses) if model.losses else 0
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    losses = []
    for i in range(common.STEPS):
        rows = common.rows(i)
        losses.append(float(step(tf.constant(x[rows]), tf.constant(y[rows]))))
    names = keras_graph.weight_names(model)
    running = {names[id(w)]: np.asarray(w) for w in model.non_trainable_weights}
    return {"losses": losses, "running": running, "outputs": np.asarray(model(x[:16], training=False))}


def record(name, architecture, head, target, loss, make_optimizer, regularizer=None):
    arguments = (architecture, head, target, loss, make_optimizer, regularizer)
    exact = train(*arguments, "float64")
    rounded = [train(*arguments, "float32", nudge)["losses"] for nudge in common.NUDGES]
    model, optimizer = build(architecture, head, regularizer), make_optimizer(RATE[architecture])
    recipe = {"semantics": "keras", "loss": describe_loss(loss), "optimizer": describe_optimizer(optimizer), "batch_size": common.BATCH}
    if describe_clipping(optimizer):
        recipe["gradient_clip"] = describe_clipping(optimizer)
    if regularizer is not None:
        recipe["regularizers"] = describe_weights(model)[1]
    return common.recording(name, f"keras_{architecture}_{head}.onnx", target, recipe, exact, rounded)


def export_models():
    """Writes the initial networks beside the recording."""
    for architecture in ARCHITECTURES:
        for head in HEADS:
            model = build(architecture, head)
            model.compile("sgd", "mse")
            x, y = tensors(model, "one_hot", "float32")
            with tempfile.TemporaryDirectory() as folder:
                export(model, {"x_train": x[:32], "y_train": y[:32]}, folder)
                shutil.copy(os.path.join(folder, "model.onnx"), os.path.join(golden.FOLDER, f"keras_{architecture}_{head}.onnx"))


def main():
    runs = []
    for architecture in ARCHITECTURES:
        for name, make in OPTIMIZERS.items():
            loss = k.SparseCategoricalCrossentropy(from_logits=True)
            runs.append(record(f"{architecture}/optimizer/{name}", architecture, "linear", "class", loss, make))
        for name, (head, target, loss, rate) in LOSSES.items():
            runs.append(record(f"{architecture}/loss/{name}", architecture, head, target, loss, lambda s, rate=rate: o.SGD(rate * s)))
        loss, penalty = k.SparseCategoricalCrossentropy(), keras.regularizers.L1L2(0.0005, 0.002)
        runs.append(record(f"{architecture}/regularizer/l1_l2", architecture, "softmax", "class", loss, lambda s: o.SGD(0.1 * s), penalty))
    if "--dry" not in sys.argv:
        common.save("training_keras.json.gz", f"keras {keras.__version__}, tensorflow {tf.__version__}", runs)
        export_models()


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    main()
