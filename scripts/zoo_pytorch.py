"""Exports the networks that people train, at sizes of real use, and records what PyTorch computes with them.

    python scripts/zoo_pytorch.py out/zoo                     # all
    python scripts/zoo_pytorch.py out/zoo pytorch_resnet18    # one
    NETMEND_EXPORTS=$PWD/out/zoo go test ./cmd/netmend -run Recorded -v

Architectures are torchvision's where it has them, with ten classes on 64x64 images; ResNet-20 and U-Net are written out here.
Weights are freshly initialised from seed 1, but for what settle() says. Needs torchvision besides what
export_pytorch.py needs.
"""


import torch
import torchvision.models as zoo
from torch import nn

import export_common as common
import recording
from export_pytorch import export
from exports_pytorch import Block, UNet
from record_pytorch import record

ROWS, BATCH = 8, 4


def vgg11_bn():
    """VGG-11 with batch-norm; the head is sized for 2x2 positions: ImageNet's 4,096 units would be 500 MB."""
    model = zoo.VGG(zoo.vgg.make_layers(zoo.vgg.cfgs["A"], batch_norm=True), num_classes=10)
    model.avgpool = nn.Identity()
    model.classifier[0] = nn.Linear(512 * 2 * 2, 512)
    model.classifier[3] = nn.Linear(512, 512)
    model.classifier[6] = nn.Linear(512, 10)
    return model


def resnet20():
    """ResNet-20 of CIFAR (He et al. 2016, arXiv 1512.03385, section 4.2): 16, 32, 64 channels, three blocks each."""
    layers, channels = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for block in range(3):
            layers.append(Block(channels, width, stride if block == 0 else 1))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


# name -> (network, side of its images, learning rate)
MODELS = {
    "pytorch_resnet18": (lambda: zoo.resnet18(num_classes=10), 64, 1e-5),
    "pytorch_resnet20": (resnet20, 32, 1e-4),
    "pytorch_resnet50": (lambda: zoo.resnet50(num_classes=10), 64, 1e-5),
    "pytorch_vgg11_bn": (vgg11_bn, 64, 1e-4),
    "pytorch_densenet121": (lambda: zoo.densenet121(num_classes=10), 64, 1e-4),
    "pytorch_mobilenet_v2": (lambda: zoo.mobilenet_v2(num_classes=10), 64, 1e-5),
    "pytorch_squeezenet": (lambda: zoo.squeezenet1_1(num_classes=10), 64, 0.01),
    "pytorch_googlenet": (lambda: zoo.googlenet(num_classes=10, aux_logits=False, init_weights=False), 64, 1e-5),
    # Stochastic depth, which drops whole samples of a block, has no ONNX operator.
    "pytorch_efficientnet_b0": (lambda: zoo.efficientnet_b0(num_classes=10, stochastic_depth_prob=0.0), 64, 1e-5),
    "pytorch_unet": (lambda: UNet(16, 4, 3), 64, 0.01),
}


def settle(model, x, passes=3):
    """Brings a fresh model into a state in which float32 can be told from a fault.

    Shifts of batch-norm start at SHIFT deviations: of what is spread around 0, deep networks have some activation so near to ReLU's kink
    that rounding decides on which side it lies, and one such moves gradients by more than a replay is allowed. Running statistics are
    the data's, as training would make them: with the initial ones deep activations explode.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        nn.init.constant_(m.bias, recording.SHIFT)
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.momentum = None  # the plain mean over the passes
    with torch.no_grad():
        for i in range(passes):
            model.train()(x[i * 2 : i * 2 + BATCH])
    for m, momentum in zip(norms, momenta):
        m.momentum = momentum


def write(name, out, seed):
    """Exports a network and records it on the data of a seed."""
    make, side, rate = MODELS[name]
    torch.manual_seed(1)
    model, masks = make(), "unet" in name
    x, y = recording.images(ROWS, side, seed)
    data = {"x_train": x, "y_train": recording.bright(x, 1) if masks else y}
    settle(model, torch.from_numpy(x))
    loss = nn.BCEWithLogitsLoss() if masks else nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    common.report(out, export(model, optimizer, loss, data, out, batch_size=BATCH, epochs=5, tolerance=1e-4))
    record(model, loss, out, (ROWS, BATCH), rate)


if __name__ == "__main__":
    torch.set_num_threads(1)
    recording.zoo(__doc__, MODELS, write)
