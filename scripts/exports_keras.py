"""Makes the Keras exports of testdata/exports, each in a folder of its own.

    python scripts/exports_keras.py testdata/exports            # all that are committed
    python scripts/exports_keras.py testdata/exports keras_mlp  # one
    python scripts/exports_keras.py out/exports keras_m         # the M network, 4.8 MB, not committed

Weights are freshly initialised from seed 1; data are the first rows of the optical digits, or seeded.
"""

import os
import sys

from export_keras import export  # first: it quiets TensorFlow

import keras
import numpy as np
from keras import layers

import export_common as common
import fixture_data
from record_keras import record


def hot(data):
    """Returns data with one-hot labels."""
    return {k: fixture_data.one_hot(v) if k[0] == "y" else v for k, v in data.items()}


def mlp():
    """64-32-10 with dropout and L2; RMSprop, categorical cross-entropy of a softmax."""
    model = keras.Sequential([
        keras.Input((64,)),
        layers.Dense(32, activation="relu", kernel_regularizer=keras.regularizers.L2(0.001), name="hidden"),
        layers.Dropout(0.2, name="drop"),
        layers.Dense(10, activation="softmax", name="out"),
    ])  # fmt: skip
    model.compile(keras.optimizers.RMSprop(0.001), "categorical_crossentropy", metrics=["accuracy"])
    return model, hot(fixture_data.small_digits((64,))), {"batch_size": 32, "epochs": 10}


def normalization():
    """Inputs scaled by statistics of the data, which are constants of the graph and not trained."""
    data = fixture_data.small_digits((64,))
    scale = layers.Normalization(name="scale")
    scale.adapt(data["x_train"])
    model = keras.Sequential([
        keras.Input((64,)),
        scale,
        layers.Dense(16, activation="relu", name="hidden"),
        layers.Dense(10, activation="softmax", name="out"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, data, {"batch_size": 32, "epochs": 10}


def cnn():
    """Channels-last convolutions with batch-norm, pooling and dropout; Adam, integer labels."""
    model = keras.Sequential([
        keras.Input((8, 8, 1)),
        layers.Conv2D(8, 3, padding="same", name="conv1"),
        layers.BatchNormalization(name="bn1"),
        layers.Activation("relu", name="relu1"),
        layers.MaxPooling2D(name="pool1"),
        layers.Conv2D(16, 3, padding="same", kernel_initializer="he_normal", name="conv2"),
        layers.BatchNormalization(momentum=0.9, name="bn2"),
        layers.Activation("relu", name="relu2"),
        layers.Dropout(0.25, name="drop1"),
        layers.AveragePooling2D(2, name="pool2"),
        layers.Flatten(name="flatten"),
        layers.Dense(32, activation="relu", name="fc1"),
        layers.Dropout(0.5, name="drop2"),
        layers.Dense(10, activation="softmax", name="fc2"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.002, clipnorm=1.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=3, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=2)
    return model, fixture_data.small_digits((8, 8, 1)), {"batch_size": 64, "epochs": 15, "callbacks": [stop, plateau]}


def resnet():
    """Residual blocks channels-last with Add and GlobalAveragePooling; SGD with momentum."""

    def block(x, filters, stride):
        y = layers.Conv2D(filters, 3, stride, "same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
        if stride != 1 or x.shape[-1] != filters:
            x = layers.BatchNormalization()(layers.Conv2D(filters, 1, stride, use_bias=False)(x))
        return layers.ReLU()(layers.Add()([x, y]))

    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)))
    x = layers.GlobalAveragePooling2D()(block(block(x, 8, 1), 16, 2))
    model = keras.Model(inputs, layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-4), loss, metrics=["accuracy"])
    return model, fixture_data.small_digits((8, 8, 1)), {"batch_size": 64, "epochs": 20}


def two_inputs():
    """An image and two numbers joined after the convolutions, two outputs regressed: the shape of the gaze network."""
    image, pose = keras.Input((8, 8, 1), name="image"), keras.Input((2,), name="pose")
    x = layers.Conv2D(6, 3, activation="relu", kernel_initializer=keras.initializers.RandomNormal(0, 0.1), name="conv1")(image)
    x = layers.Flatten(name="flatten")(layers.MaxPooling2D(name="pool1")(x))
    x = layers.Dense(24, activation="relu", kernel_initializer="glorot_normal", bias_initializer=keras.initializers.Constant(0.05), name="fc1")(x)
    x = layers.Concatenate(name="join")([pose, x])
    model = keras.Model([image, pose], layers.Dense(2, name="out")(x))
    model.compile(keras.optimizers.SGD(0.01, clipvalue=0.5), "mse", metrics=["mae"])
    digits = fixture_data.small_digits((8, 8, 1))
    data = {}
    for part in ("train", "test"):
        image = digits["x_" + part]
        ink = np.stack([image[:, :4].mean((1, 2, 3)), image[:, :, :4].mean((1, 2, 3))], axis=1)
        data["x_" + part] = {"image": image, "pose": ink}
        data["y_" + part] = np.stack([digits["y_" + part] / 10, ink.sum(1)], axis=1).astype(np.float32)
    return model, data, {"batch_size": 32, "epochs": 10}


def conv1d():
    """1-D convolutions with strides, dilation and batch-norm, channels-last; Nadam; the first layer frozen."""
    model = keras.Sequential([
        keras.Input((32, 1)),
        layers.Conv1D(8, 5, padding="same", activation="elu", name="conv1", trainable=False),
        layers.BatchNormalization(name="bn1"),
        layers.Conv1D(16, 3, dilation_rate=2, padding="valid", activation="relu", name="conv2"),
        layers.MaxPooling1D(2, name="pool1"),
        layers.Dropout(0.1, name="drop1"),
        layers.Conv1D(16, 3, strides=2, activation="relu", name="conv3"),
        layers.GlobalAveragePooling1D(name="pool2"),
        layers.Dense(3, activation="softmax", name="out"),
    ])  # fmt: skip
    data = {k: v.transpose(0, 2, 1) if k[0] == "x" else v for k, v in fixture_data.waves().items()}
    model.compile(keras.optimizers.Nadam(0.001), "sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"])
    return model, data, {"epochs": 20}


def tokens(body):
    """Embeds tokens and classifies what body makes of them; Adam, integer labels."""
    inputs = keras.Input((12,), dtype="int32", name="tokens")
    outputs = layers.Dense(3, activation="softmax", name="out")(body(layers.Embedding(20, 6, name="embed")(inputs)))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, fixture_data.tokens(), {"batch_size": 32, "epochs": 20}


def encoder(x):
    """Two Transformer encoder layers with pre-layer normalisation (Xiong et al. 2020, arXiv 2002.04745), averaged over the tokens."""
    for k in range(2):
        y = layers.LayerNormalization(epsilon=1e-5, name=f"norm{k}a")(x)
        x = layers.Add(name=f"join{k}a")([x, layers.MultiHeadAttention(2, 3, dropout=0.1, name=f"attention{k}")(y, y)])
        y = layers.LayerNormalization(epsilon=1e-5, name=f"norm{k}b")(x)
        y = layers.Dense(12, activation="gelu", name=f"wide{k}")(y)
        x = layers.Add(name=f"join{k}b")([x, layers.Dropout(0.1, name=f"drop{k}")(layers.Dense(6, name=f"narrow{k}")(y))])
    return layers.GlobalAveragePooling1D(name="mean")(x)


class Token(layers.Layer):
    """Puts a learned token in front of a sequence and adds learned positions."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="random_normal", name="token")
        self.positions = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), initializer="random_normal", name="positions")

    def call(self, x):
        token = keras.ops.repeat(self.token, keras.ops.shape(x)[0], axis=0)
        return keras.ops.concatenate([token, x], axis=1) + self.positions


class Scale(layers.Layer):
    """A learned factor per channel (LayerScale, Touvron et al. 2021, arXiv 2103.17239, equation 4)."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(0.1), name="factor")

    def call(self, x):
        return x * self.factor


def vit():
    """A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), with weights that layers of the program's own made."""
    inputs = keras.Input((8, 8, 1), name="image")
    x = Token(name="tokens")(layers.Reshape((16, 6), name="flat")(layers.Conv2D(6, 2, 2, name="patches")(inputs)))
    for k in range(2):
        y = layers.LayerNormalization(epsilon=1e-5, name=f"norm{k}a")(x)
        y = layers.MultiHeadAttention(2, 3, dropout=0.1, name=f"attention{k}")(y, y)
        x = layers.Add(name=f"join{k}a")([x, Scale(name=f"scale{k}a")(y)])
        y = layers.LayerNormalization(epsilon=1e-5, name=f"norm{k}b")(x)
        y = layers.Dense(6, name=f"narrow{k}")(layers.Dense(12, activation="gelu", name=f"wide{k}")(y))
        x = layers.Add(name=f"join{k}b")([x, Scale(name=f"scale{k}b")(y)])
    x = layers.LayerNormalization(epsilon=1e-5, name="norm")(x)[:, 0]
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="out")(x))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, fixture_data.small_digits((8, 8, 1)), {"batch_size": 32, "epochs": 20}


def autoencoder():
    """64-16-4-16-64; MSE against the input itself."""
    model = keras.Sequential([keras.Input((64,))])
    for i, (width, activation) in enumerate([(16, "relu"), (4, "relu"), (16, "relu"), (64, "sigmoid")]):
        model.add(layers.Dense(width, activation=activation, name=f"fc{i}"))
    model.compile(keras.optimizers.Adam(0.003), "mse", metrics=["mse"])
    data = fixture_data.small_digits((64,))
    return model, {k: data["x" + k[1:]] for k in data}, {"batch_size": 32, "epochs": 20}


def unet_model(width, depth, shape):
    """A U-Net (Ronneberger et al. 2015, arXiv 1505.04597, figure 1) with padded convolutions and batch-norm, as exports_pytorch.UNet."""

    def double(x, filters):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return x

    inputs = x = keras.Input(shape, name="image")
    held = []
    for level in range(depth):
        x = double(layers.MaxPooling2D()(x) if held else x, width * 2**level)
        held.append(x)
    held.pop()
    for level in reversed(range(depth - 1)):
        x = layers.Conv2DTranspose(width * 2**level, 2, 2)(x)
        x = double(layers.Concatenate()([held.pop(), x]), width * 2**level)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", name="out")(x))


def unet():
    """A small U-Net that marks the ink of a digit; binary cross-entropy per pixel."""
    model = unet_model(4, 3, (8, 8, 1))
    model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["binary_accuracy"])
    return model, fixture_data.ink(fixture_data.small_digits((8, 8, 1))), {"batch_size": 16, "epochs": 10}


ACTIVATIONS = [
    "elu", "selu", "celu", "gelu", "silu", "mish", "relu6", "hard_tanh", "hard_sigmoid", "hard_silu", "leaky_relu",
    "softplus", "softsign", "tanh", "sigmoid", "log_sigmoid", "tanh_shrink", "exponential", "relu", "linear", "softmax",
]  # fmt: skip


def activations():
    """Every activation of Keras that ONNX can say, between small dense layers; regression with Huber loss."""
    model = keras.Sequential([keras.Input((6,))])
    for name in ACTIVATIONS:
        model.add(layers.Dense(6, activation=name, name="fc_" + name))
    model.add(layers.PReLU(name="prelu"))
    model.add(layers.Dense(1, name="fc_out"))
    model.compile(keras.optimizers.Adamax(0.002), keras.losses.Huber(0.5), metrics=["mae"])
    return model, fixture_data.curve(), {"epochs": 30}


def m(kernel="glorot_uniform", rate=1.0, activation="softmax", epochs=12):
    """The M network of DeepCrime's MNIST subject: 28x28 channels-last, Adadelta 1.0, batch 128, 12 epochs."""
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu", kernel_initializer=kernel, name="conv1"),
        layers.Conv2D(64, 3, activation="relu", name="conv2"),
        layers.MaxPooling2D(name="pool"),
        layers.Dropout(0.25, name="drop1"),
        layers.Flatten(name="flatten"),
        layers.Dense(128, activation="relu", name="fc1"),
        layers.Dropout(0.5, name="drop2"),
        layers.Dense(10, activation=activation, name="fc2"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adadelta(rate), "categorical_crossentropy", metrics=["accuracy"])
    data = hot(fixture_data.small_digits((8, 8, 1), 64, 16))
    for part in ("x_train", "x_test"):  # 8x8 digits enlarged to MNIST's size: only the shape matters here
        grid = np.arange(28) * 8 // 28
        data[part] = data[part][:, grid][:, :, grid]
    return model, data, {"batch_size": 128, "epochs": epochs}


COMMITTED = {
    "keras_mlp": mlp, "keras_normalization": normalization, "keras_cnn": cnn, "keras_resnet": resnet, "keras_two_inputs": two_inputs, "keras_conv1d": conv1d,
    "keras_activations": activations, "keras_lstm": lambda: tokens(layers.LSTM(8, name="lstm")),
    "keras_gru": lambda: tokens(layers.Bidirectional(layers.GRU(8), name="gru")), "keras_transformer": lambda: tokens(encoder),
    "keras_autoencoder": autoencoder, "keras_unet": unet, "keras_vit": vit,
}  # fmt: skip
# Three of its faults (DeepCrime's WCI, HLR, ARM), trained for five epochs.
ON_DEMAND = {
    "keras_m": m,
    "keras_m_zero_kernel": lambda: m(kernel="zeros", epochs=5),
    "keras_m_low_rate": lambda: m(rate=0.001, epochs=5),
    "keras_m_no_softmax": lambda: m(activation=None, epochs=5),
}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, names = sys.argv[1], sys.argv[2:] or list(COMMITTED)
    for name in names:
        keras.utils.clear_session()
        keras.utils.set_random_seed(1)
        make, out = {**COMMITTED, **ON_DEMAND}[name], os.path.join(folder, name)
        made = make()
        common.report(name, export(*made[:2], out, **made[2]))
        if name in COMMITTED:
            # Attention over nearly equal tokens learns too fast at 0.01 for float32 to follow, the autoencoder's mean over pixels too slowly.
            record(lambda: make()[0], made[0], out, rate={"keras_transformer": 0.001, "keras_autoencoder": 1.0}.get(name, 0.01))


if __name__ == "__main__":
    main()
