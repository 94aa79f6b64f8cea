"""Records what Keras makes of the benchmark's subject networks: shapes, exported operators, outputs for given weights.

    python scripts/golden_models.py          # writes models/testdata/keras.json

The architectures are those of the published programs (replication package, gt.json and the base models), written here a
second time, in Keras. For each network the file holds the number of parameters, the weights' shapes as tf2onnx leaves them,
the operators of its export in training form in order, and the outputs of two rows.

Weights and inputs are made by value(): the k-th element of tensor number s, counted in Keras' layouts.
"""

import json
import os

from export_keras import convert  # first: it quiets TensorFlow

import keras
import numpy as np
from keras import layers

from export_common import constant_reshapes

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "testdata", "keras.json")


def value(s, shape, scale):
    """Numbers in [-scale, scale) by multiplicative hashing (Knuth 1998, section 6.4), exact in any language."""
    k = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(s << 24)
    bits = (k * np.uint64(2654435761)) % np.uint64(1 << 32)
    bits = ((bits ^ (bits >> np.uint64(15))) * np.uint64(2246822519)) % np.uint64(1 << 32)
    return ((bits.astype(np.float64) / (1 << 31) - 1) * scale).astype(np.float32).reshape(shape)


def sequence(shape, *stack):
    return keras.Sequential([keras.Input(shape, name="input"), *stack])


def conv(name, units, kernel, activation, padding="valid"):
    return layers.Conv2D(units, kernel, activation=activation, padding=padding, name=name)


def dense(name, units, activation):
    return layers.Dense(units, activation=activation, name=name)


def pool():
    return layers.MaxPooling2D(2)


def drop(rate):
    return layers.Dropout(rate)


def gaze():
    image, head = keras.Input((36, 60, 1), name="image"), keras.Input((2,), name="head")
    x = pool()(conv("conv1", 20, 5, "relu")(image))
    x = pool()(conv("conv2", 50, 5, "relu")(x))
    x = dense("dense1", 500, "relu")(layers.Flatten()(x))
    return keras.Model([image, head], dense("dense2", 2, "linear")(layers.Concatenate()([head, x])))


NETWORKS = {
    "M": lambda: sequence(
        (28, 28, 1), conv("conv1", 32, 3, "relu"), conv("conv2", 64, 3, "relu"), pool(), drop(0.25), layers.Flatten(),
        dense("dense1", 128, "relu"), drop(0.5), dense("dense2", 10, "softmax"),
    ),
    "C": lambda: sequence(
        (32, 32, 3), conv("conv1", 32, 3, "relu"), pool(), conv("conv2", 64, 3, "relu"), pool(), conv("conv3", 128, 3, "relu"), pool(),
        layers.Flatten(), dense("dense1", 256, "relu"), dense("dense2", 128, "relu"), dense("dense3", 10, "softmax"),
    ),
    "R": lambda: sequence((10000,), dense("dense1", 512, "relu"), drop(0.5), dense("dense2", 46, "softmax")),
    "U": gaze,
    "D1": lambda: sequence((128,), dense("dense1", 50, "relu"), drop(0.2), dense("dense2", 50, "relu"), drop(0.2), dense("dense3", 1, "sigmoid")),
    "D2": lambda: sequence(
        (31,), dense("dense1", 600, "relu"), drop(0.5), dense("dense2", 400, "relu"), drop(0.5), dense("dense3", 100, "relu"), drop(0.5),
        dense("dense4", 1, "sigmoid"),
    ),
    "D3": lambda: sequence((1,), dense("dense1", 1, "relu"), dense("dense2", 2, "sigmoid")),
    "D4": lambda: sequence((784,), dense("dense1", 30, "sigmoid"), dense("dense2", 10, "softmax")),
    "D5": lambda: sequence(
        (32, 32, 3), conv("conv1", 256, 3, "relu"), pool(), conv("conv2", 128, 2, "relu"), pool(), layers.Flatten(),
        dense("dense1", 1024, "relu"), drop(0.5), dense("dense2", 10, "softmax"),
    ),
    "D6": lambda: sequence((2,), dense("dense1", 2, "sigmoid"), dense("dense2", 2, "sigmoid")),
    "D7": lambda: sequence((1,), dense("dense1", 1, "linear")),
    "D8": lambda: sequence((20,), dense("dense1", 20, "relu"), dense("dense2", 20, "relu"), dense("dense3", 20, "softmax")),
    "D9": lambda: sequence(
        (28, 28, 1), conv("conv1", 64, 3, "selu", "same"), pool(), conv("conv2", 32, 3, "sigmoid", "same"), pool(), layers.Flatten(),
        dense("dense1", 128, "relu"), dense("dense2", 10, "softmax"),
    ),
}  # fmt: skip


def record(model):
    inputs = [t.name for t in model.inputs]
    exported = convert(model, inputs, ["output"])
    constant_reshapes(exported, {n: np.zeros((8, *t.shape[1:]), np.float32) for n, t in zip(inputs, model.inputs)})
    paths = {v.path.removeprefix(model.name + "/") for v in model.weights}
    shapes = {t.name: list(t.dims) for t in exported.graph.initializer if t.name in paths}
    assert set(shapes) == paths, (sorted(shapes), sorted(paths))
    for s, variable in enumerate(model.weights):
        fan = int(np.prod(variable.shape[:-1])) if len(variable.shape) > 1 else 100
        variable.assign(value(s, variable.shape, (6 / fan) ** 0.5))  # He et al. 2015: outputs neither vanish nor saturate
    rows = [value(100 + i, (2, *t.shape[1:]), 1.0) for i, t in enumerate(model.inputs)]
    outputs = np.asarray(model(rows if len(rows) > 1 else rows[0], training=False), np.float32)
    return {
        "parameters": model.count_params(),
        "shapes": shapes,
        "ops": [n.op_type for n in exported.graph.node],
        "outputs": [[float(f"{v:.8g}") for v in row] for row in outputs],
    }


def main():
    golden = {}
    for name, build in NETWORKS.items():
        keras.backend.clear_session()
        golden[name] = record(build())
        print(name, golden[name]["parameters"], golden[name]["ops"], golden[name]["outputs"][0][:3])
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w") as f:
        f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items()) + "\n}\n")


if __name__ == "__main__":
    main()
