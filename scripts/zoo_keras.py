"""Exports the networks that people train, at sizes of real use, and records what Keras computes with them.

    python scripts/zoo_keras.py out/zoo                     # all
    python scripts/zoo_keras.py out/zoo keras_resnet18      # one

As zoo_pytorch.py: architectures are those of keras.applications where it has them, the others are written out here.
"""


from export_keras import export  # first: it quiets TensorFlow

import keras
import numpy as np
from keras import layers
from keras.src.applications import efficientnet

import export_common as common
import recording
from exports_keras import unet_model
from record_keras import record

ROWS, BATCH = 8, 4


def conv(x, filters, size=3, stride=1, activation=True):
    """Convolution, batch-norm and ReLU."""
    x = layers.Conv2D(filters, size, stride, "same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if activation else x


def block(x, filters, stride):
    """A residual block (He et al. 2016, arXiv 1512.03385, figure 2) with a 1x1 projection where the shape changes."""
    y = conv(conv(x, filters, stride=stride), filters, activation=False)
    if stride != 1 or x.shape[-1] != filters:
        x = conv(x, filters, 1, stride, activation=False)
    return layers.ReLU()(layers.Add()([x, y]))


def classifier(inputs, x):
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="out")(layers.GlobalAveragePooling2D()(x)))


def resnet18(shape):
    """ResNet-18 (He et al. 2016, table 1)."""
    inputs = keras.Input(shape, name="image")
    x = layers.MaxPooling2D(3, 2, "same")(conv(inputs, 64, 7, 2))
    for filters, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        x = block(block(x, filters, stride), filters, 1)
    return classifier(inputs, x)


def resnet20(shape):
    """ResNet-20 of CIFAR (section 4.2)."""
    inputs = keras.Input(shape, name="image")
    x = conv(inputs, 16)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        x = block(block(block(x, filters, stride), filters, 1), filters, 1)
    return classifier(inputs, x)


def vgg11_bn(shape):
    """VGG-11 (Simonyan and Zisserman 2015, arXiv 1409.1556, column A) with batch-norm; the head has 512 units, not 4,096."""
    inputs = x = keras.Input(shape, name="image")
    for width in (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool"):
        x = layers.MaxPooling2D()(x) if width == "pool" else conv(x, width)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dropout(0.5)(layers.Dense(512, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="out")(x))


def squeezenet(shape):
    """SqueezeNet 1.1 (Iandola et al. 2016, arXiv 1602.07360)."""
    inputs = keras.Input(shape, name="image")
    x = layers.Conv2D(64, 3, 2, activation="relu", kernel_initializer="he_uniform")(inputs)
    for width in ("pool", 16, 16, "pool", 32, 32, "pool", 48, 48, 64, 64):
        if width == "pool":
            x = layers.MaxPooling2D(3, 2)(x)
            continue
        x = layers.Conv2D(width, 1, activation="relu", kernel_initializer="he_uniform")(x)
        wide = [layers.Conv2D(4 * width, size, padding="same", activation="relu", kernel_initializer="he_uniform")(x) for size in (1, 3)]
        x = layers.Concatenate()(wide)
    x = layers.Conv2D(10, 1, activation="relu", kernel_initializer="he_uniform")(layers.Dropout(0.5)(x))
    return keras.Model(inputs, layers.Softmax(name="out")(layers.GlobalAveragePooling2D()(x)))


INCEPTION = [  # of each module: 1x1; 1x1 and 3x3; 1x1 and "5x5"; 1x1 behind the pool. Szegedy et al. 2015, arXiv 1409.4842, table 1
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), "pool",
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128), "pool", (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
]  # fmt: skip


def googlenet(shape):
    """GoogLeNet, Inception v1, with batch-norm in the place of local response normalisation, and without the auxiliary heads."""
    inputs = keras.Input(shape, name="image")
    x = layers.MaxPooling2D(3, 2, "same")(conv(inputs, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, "same")(conv(conv(x, 64, 1), 192))
    for widths in INCEPTION:
        if widths == "pool":
            x = layers.MaxPooling2D(3, 2, "same")(x)
            continue
        a, b, c, d, e, f = widths
        pooled = layers.MaxPooling2D(3, 1, "same")(x)
        x = layers.Concatenate()([conv(x, a, 1), conv(conv(x, b, 1), c), conv(conv(x, d, 1), e, 5), conv(pooled, f, 1)])
    inner = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="out")(inner))


def application(make, **options):
    return lambda shape: make(weights=None, input_shape=shape, classes=10, **options)


def efficientnet_b0(shape):
    """EfficientNet-B0 without stochastic depth, which drops whole samples of a block and has no ONNX operator.

    EfficientNetB0() has no argument for that, what it calls has. The network itself divides by 255: its images are photographs.
    """
    inputs = keras.Input(shape, name="image")
    body = efficientnet.EfficientNet(1.0, 1.0, 224, drop_connect_rate=0.0, weights=None, input_tensor=layers.Rescaling(50.0, 128.0)(inputs), classes=10)
    return keras.Model(inputs, body.output)


# name -> (network of an input shape, side of its images, learning rate)
MODELS = {
    "keras_resnet18": (resnet18, 64, 1e-5),
    "keras_resnet20": (resnet20, 32, 1e-4),
    "keras_resnet50": (application(keras.applications.ResNet50), 64, 1e-5),
    "keras_vgg11_bn": (vgg11_bn, 64, 1e-5),
    "keras_densenet121": (application(keras.applications.DenseNet121), 64, 1e-5),
    "keras_mobilenet_v2": (application(keras.applications.MobileNetV2), 64, 1e-5),
    "keras_squeezenet": (squeezenet, 64, 0.01),
    "keras_googlenet": (googlenet, 64, 1e-5),
    "keras_efficientnet_b0": (efficientnet_b0, 64, 1e-5),
    "keras_unet": (lambda shape: unet_model(16, 4, shape), 64, 0.01),
}


def settle(model, x, passes=8):
    """As zoo_pytorch.settle."""
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.beta.assign(np.full(layer.beta.shape, recording.SHIFT))
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.5
    for i in range(passes):
        model(x[i % 3 * 2 : i % 3 * 2 + BATCH], training=True)
    for layer, momentum in zip(norms, momenta):
        layer.momentum = momentum


def write(name, out, seed):
    """Exports a network and records it on the data of a seed."""
    make, side, rate = MODELS[name]
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    masks, shape = "unet" in name, (side, side, 3)
    x, y = recording.images(ROWS, side, seed)
    x = x.transpose(0, 2, 3, 1)
    loss = "binary_crossentropy" if masks else "sparse_categorical_crossentropy"

    def build():
        model = make(shape)
        model.compile(keras.optimizers.SGD(rate), loss, metrics=["binary_accuracy" if masks else "accuracy"])
        return model

    model = build()
    settle(model, x)
    data = {"x_train": x, "y_train": recording.bright(x, 3) if masks else y}
    common.report(out, export(model, data, out, batch_size=BATCH, epochs=5, tolerance=1e-4))
    record(build, model, out, (ROWS, BATCH), rate)


if __name__ == "__main__":
    recording.zoo(__doc__, MODELS, write)
