"""Makes the PyTorch exports of testdata/exports, each in a folder of its own.

    python scripts/exports_pytorch.py testdata/exports              # all that are committed
    python scripts/exports_pytorch.py testdata/exports pytorch_mlp  # one
    python scripts/exports_pytorch.py out/exports pytorch_m         # the M network, 4.8 MB, not committed
    python scripts/exports_pytorch.py testdata/inference pytorch_folded   # not for training: what inspect warns of

Weights are freshly initialised from seed 1; data are the first rows of the optical digits, or seeded.
"""

import os
import sys
import warnings

import numpy as np
import torch
from torch import nn

import export_common as common
import fixture_data
from export_pytorch import export
from record_pytorch import record


def mlp():
    """64-32-10 with dropout, adam, cross-entropy."""
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(64, 32))
    model.add_module("act1", nn.ReLU())
    model.add_module("drop1", nn.Dropout(0.2))
    model.add_module("fc2", nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    return model, optimizer, nn.CrossEntropyLoss(), fixture_data.small_digits((64,)), {"batch_size": 32, "epochs": 10}


class CNN(nn.Module):
    """Two convolutions with batch-norm, pooling and dropout on [n,1,8,8]; flattens with view, as much code does."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.25)
        self.fc1 = nn.Linear(16 * 2 * 2, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        x = self.pool(torch.relu(self.bn2(self.conv2(x))))
        x = x.view(x.size(0), -1)
        return self.fc2(self.drop(torch.relu(self.fc1(x))))


def cnn():
    """Batch-norm, max-pooling and dropout; SGD with momentum, step schedule."""
    model = CNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    data = fixture_data.small_digits((1, 8, 8))
    return model, optimizer, nn.CrossEntropyLoss(), data, {"batch_size": 64, "epochs": 10, "scheduler": scheduler}


class Block(nn.Module):
    """A residual block (He et al. 2016, arXiv 1512.03385, figure 2) with a 1x1 projection where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


def resnet():
    """Residual blocks with Add and GlobalAveragePool."""
    model = nn.Sequential()
    model.add_module("stem", nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()))
    model.add_module("block1", Block(8, 8, 1))
    model.add_module("block2", Block(8, 16, 2))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.Linear(16, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    data = fixture_data.small_digits((1, 8, 8))
    return model, optimizer, nn.CrossEntropyLoss(), data, {"batch_size": 64, "epochs": 20, "scheduler": scheduler}


def vgg():
    """Stacked 3x3 convolutions and a wide head with two dropouts (Simonyan and Zisserman 2015, arXiv 1409.1556)."""
    layers, channels = [], 1
    for width in (8, 16):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    head = [nn.Linear(64, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 10)]
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*layers))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Sequential(*head))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002, weight_decay=0.01)
    return model, optimizer, nn.CrossEntropyLoss(), fixture_data.small_digits((1, 8, 8)), {"batch_size": 32, "epochs": 15}


def conv1d():
    """Dilated, grouped and strided 1-D convolutions, batch-norm, average pooling; log-softmax with NLLLoss."""
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv1d(1, 8, 5, padding=2))
    model.add_module("bn1", nn.BatchNorm1d(8))
    model.add_module("act1", nn.LeakyReLU(0.1))
    model.add_module("conv2", nn.Conv1d(8, 16, 3, padding=2, dilation=2, groups=2))
    model.add_module("act2", nn.PReLU(16))
    model.add_module("pool", nn.AvgPool1d(2))
    model.add_module("conv3", nn.Conv1d(16, 16, 3, stride=2))
    model.add_module("act3", nn.ReLU())
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.Linear(16 * 7, 3))
    model.add_module("out", nn.LogSoftmax(dim=1))
    return model, torch.optim.RMSprop(model.parameters(), lr=0.001), nn.NLLLoss(), fixture_data.waves(), {"epochs": 20}


ACTIVATIONS = [
    ("elu", nn.ELU()), ("selu", nn.SELU()), ("celu", nn.CELU(1.5)), ("gelu", nn.GELU()),
    ("gelu_tanh", nn.GELU(approximate="tanh")), ("silu", nn.SiLU()), ("mish", nn.Mish()), ("relu6", nn.ReLU6()),
    ("hardtanh", nn.Hardtanh()), ("hardsigmoid", nn.Hardsigmoid()), ("hardswish", nn.Hardswish()),
    ("leaky_relu", nn.LeakyReLU(0.2)), ("prelu", nn.PReLU()), ("softplus", nn.Softplus()), ("softsign", nn.Softsign()),
    ("tanh", nn.Tanh()), ("sigmoid", nn.Sigmoid()), ("logsigmoid", nn.LogSigmoid()), ("tanhshrink", nn.Tanhshrink()),
    ("threshold", nn.Threshold(0.0, 0.0)), ("softmax", nn.Softmax(dim=1)),
]  # fmt: skip


def activations():
    """Every activation of torch.nn that the exporter knows, between small linear layers; regression with Huber loss."""
    model, width = nn.Sequential(), 6
    for name, activation in ACTIVATIONS:
        model.add_module("fc_" + name, nn.Linear(width, 6))
        model.add_module(name, activation)
    model.add_module("fc_out", nn.Linear(6, 1))
    return model, torch.optim.NAdam(model.parameters()), nn.HuberLoss(delta=0.5), fixture_data.curve(), {"epochs": 30}


class TwoInputs(nn.Module):
    """An 8x8 image and four numbers (mean ink of its halves), joined after the convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.fc1 = nn.Linear(6 * 9 + 4, 24)
        self.fc2 = nn.Linear(24, 10)

    def forward(self, image, numbers):
        x = torch.flatten(nn.functional.max_pool2d(torch.tanh(self.conv(image)), 2), 1)
        return self.fc2(torch.sigmoid(self.fc1(torch.cat([x, numbers], dim=1))))


def two_inputs():
    """Two named inputs, Concat; Adadelta, gradients clipped by norm, first layer frozen."""
    model = TwoInputs()
    model.conv.weight.requires_grad_(False)
    optimizer = torch.optim.Adadelta([p for p in model.parameters() if p.requires_grad], lr=1.0)
    data = fixture_data.small_digits((1, 8, 8))
    for part in ("x_train", "x_test"):
        image = data[part]
        halves = [image[:, 0, :4], image[:, 0, 4:], image[:, 0, :, :4], image[:, 0, :, 4:]]
        data[part] = {"image": image, "numbers": np.stack([h.mean((1, 2)) for h in halves], axis=1)}
    return model, optimizer, nn.CrossEntropyLoss(), data, {"epochs": 20, "gradient_clip": {"global_norm": 1.0}}


def m():
    """The M network of DeepCrime's MNIST subject: 28x28, two convolutions, Adadelta 1.0, batch 128, 12 epochs."""
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(1, 32, 3))
    model.add_module("relu1", nn.ReLU())
    model.add_module("conv2", nn.Conv2d(32, 64, 3))
    model.add_module("relu2", nn.ReLU())
    model.add_module("pool", nn.MaxPool2d(2))
    model.add_module("drop1", nn.Dropout(0.25))
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc1", nn.Linear(64 * 12 * 12, 128))
    model.add_module("relu3", nn.ReLU())
    model.add_module("drop2", nn.Dropout(0.5))
    model.add_module("fc2", nn.Linear(128, 10))
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0, rho=0.95, eps=1e-7)
    data = fixture_data.small_digits((1, 8, 8), 64, 16)
    for part in ("x_train", "x_test"):  # 8x8 digits enlarged to MNIST's size: only the shape matters here
        image = torch.from_numpy(data[part])
        data[part] = nn.functional.interpolate(image, size=(28, 28), mode="nearest").numpy()
    return model, optimizer, nn.CrossEntropyLoss(), data, {"batch_size": 128, "epochs": 12}


class Recurrent(nn.Module):
    """Embeds tokens, runs an LSTM or GRU over them and classifies the mean of its outputs."""

    def __init__(self, cell, **options):
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.cell = cell(6, 8, batch_first=True, **options)
        self.fc = nn.Linear(8 * (2 if options.get("bidirectional") else 1), 3)

    def forward(self, x):
        y, _ = self.cell(self.embed(x))
        return self.fc(y.mean(1))


class Transformer(nn.Module):
    """Two encoder layers over embedded tokens with learned places; the mean over the tokens is classified."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.place = nn.Parameter(torch.randn(1, 12, 8) * 0.1)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.encoder(self.embed(x) + self.place).mean(1))


class ScaledBlock(nn.Module):
    """A pre-norm encoder block whose two branches are scaled per channel (LayerScale, Touvron et al. 2021, arXiv 2103.17239, equation 4)."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.scale1, self.scale2 = (nn.Parameter(torch.full((width,), 0.1)) for _ in range(2))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.scale1 * self.attention(y, y, y, need_weights=False)[0]
        return x + self.scale2 * self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929): class token, learned positions, a learned scale of the logits."""

    def __init__(self, width=8, depth=2):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.positions = nn.Parameter(torch.randn(1, 17, width) * 0.1)
        self.blocks = nn.Sequential(*[ScaledBlock(width) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)
        self.temperature = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0]) * self.temperature


def vit():
    """Bare parameters that no layer owns: adam, cross-entropy."""
    model = ViT()
    data = fixture_data.small_digits((1, 8, 8))
    return model, torch.optim.Adam(model.parameters(), lr=0.003), nn.CrossEntropyLoss(), data, {"batch_size": 32, "epochs": 20}


class Peephole(nn.Module):
    """An LSTM with peepholes (Gers et al. 2002, JMLR 3, section 2) written out, over embedded tokens; its last state is classified."""

    def __init__(self, inputs=6, width=8):
        super().__init__()
        self.embed = nn.Embedding(20, inputs)
        self.gates, self.recur = nn.Linear(inputs, 4 * width), nn.Linear(width, 4 * width, bias=False)
        self.peep_i, self.peep_f, self.peep_o = (nn.Parameter(torch.randn(width) * 0.3) for _ in range(3))
        self.fc = nn.Linear(width, 3)

    def forward(self, x):
        x = self.gates(self.embed(x))
        h = c = torch.zeros_like(x[:, 0, : self.peep_i.numel()])
        for step in range(x.size(1)):
            i, f, g, o = (x[:, step] + self.recur(h)).chunk(4, 1)
            i, f = torch.sigmoid(i + self.peep_i * c), torch.sigmoid(f + self.peep_f * c)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + self.peep_o * c) * torch.tanh(c)
        return self.fc(h)


def tokens(model):
    """Sequences of 12 tokens whose class is that of the most frequent third; Adam, cross-entropy."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, optimizer, nn.CrossEntropyLoss(), fixture_data.tokens(), {"batch_size": 32, "epochs": 20}


def autoencoder():
    """64-16-4-16-64; MSE against the input itself."""
    model = nn.Sequential()
    for i, (a, b) in enumerate([(64, 16), (16, 4), (4, 16), (16, 64)]):
        model.add_module(f"fc{i}", nn.Linear(a, b))
        model.add_module(f"act{i}", nn.Sigmoid() if i == 3 else nn.ReLU())
    data = fixture_data.small_digits((64,))
    data = {k: data["x" + k[1:]] for k in data}
    return model, torch.optim.Adam(model.parameters(), lr=0.003), nn.MSELoss(), data, {"batch_size": 32, "epochs": 20}


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015, arXiv 1505.04597, figure 1) with padded convolutions and batch-norm.

    depth levels, of width, 2 width, ... channels; transposed convolutions on the way up, one logit per pixel.
    """

    def __init__(self, width, depth, inputs):
        super().__init__()
        widths = [width * 2**i for i in range(depth)]
        self.down = nn.ModuleList(self.double(a, b) for a, b in zip([inputs, *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.join = nn.ModuleList(self.double(2 * w, w) for w in widths[-2::-1])
        self.out = nn.Conv2d(width, 1, 1)

    @staticmethod
    def double(inputs, outputs):
        layers = []
        for a in (inputs, outputs):
            layers += [nn.Conv2d(a, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x):
        held = []
        for level in self.down:
            x = level(nn.functional.max_pool2d(x, 2) if held else x)
            held.append(x)
        held.pop()
        for up, join in zip(self.up, self.join):
            x = join(torch.cat([held.pop(), up(x)], 1))
        return self.out(x)


def unet():
    """A small U-Net that marks the ink of a digit; binary cross-entropy per pixel."""
    model = UNet(4, 3, 1)
    data = fixture_data.ink(fixture_data.small_digits((1, 8, 8)))
    return model, torch.optim.Adam(model.parameters(), lr=0.003), nn.BCEWithLogitsLoss(), data, {"batch_size": 16, "epochs": 10}


def write_folded(folder):
    """The CNN as people often export it, for inference: Dropout is gone and batch-norm folded into the convolutions.

    Weights and running statistics are not fresh, so that the folding shows.
    """
    model = CNN()
    x = torch.from_numpy(fixture_data.small_digits((1, 8, 8))["x_train"])
    for _ in range(20):  # moves the running statistics
        model(x)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"input": {0: "batch"}, "output": {0: "batch"}}
        torch.onnx.export(
            model.eval(), (x[:4],), path, dynamo=False, opset_version=common.OPSET, input_names=["input"],
            output_names=["output"], dynamic_axes=axes,
        )  # fmt: skip
    print(f"{path}: inference form, batch-norm folded")


COMMITTED = {
    "pytorch_mlp": mlp, "pytorch_cnn": cnn, "pytorch_resnet": resnet, "pytorch_vgg": vgg, "pytorch_conv1d": conv1d,
    "pytorch_activations": activations, "pytorch_two_inputs": two_inputs,
    "pytorch_lstm": lambda: tokens(Recurrent(nn.LSTM)), "pytorch_gru": lambda: tokens(Recurrent(nn.GRU, bidirectional=True)),
    "pytorch_transformer": lambda: tokens(Transformer()), "pytorch_autoencoder": autoencoder,
    "pytorch_unet": unet, "pytorch_vit": vit, "pytorch_peephole": lambda: tokens(Peephole()),
}  # fmt: skip
ON_DEMAND = {"pytorch_m": m}
FOLDED = "pytorch_folded"  # model.onnx alone


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, names = sys.argv[1], sys.argv[2:] or list(COMMITTED)
    for name in names:
        torch.manual_seed(1)
        if name == FOLDED:
            write_folded(os.path.join(folder, name))
            continue
        made = {**COMMITTED, **ON_DEMAND}[name]()
        out = os.path.join(folder, name)
        common.report(name, export(*made[:4], out, **made[4]))
        if name in COMMITTED:
            x = made[3]["x_train"]
            record(made[0], made[2], out, names=list(x) if isinstance(x, dict) else ["input"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
