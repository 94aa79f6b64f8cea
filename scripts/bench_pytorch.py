"""Measures training steps of the reference networks in PyTorch, for the comparison that `make bench` makes (scripts/bench.py).

    python3 scripts/bench_pytorch.py [--threads 2] [--seconds 3] [--compile] [--bf16] [--device cuda] [NETWORK...]

Prints one line of JSON per network: samples per second, seconds per step by the clock and of the processor, the largest resident set so
far and what it was when PyTorch had been loaded. The networks, optimizers, losses and batches are those of `netmend bench train` (cmd/netmend/bench_train.go, package models); a step
is forward, loss, backward and optimizer on a batch gathered from a data set in memory, as a training loop does. Works with PyTorch from 1.13
on; --compile needs 2.x.
"""

import argparse
import json
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F

with open("/proc/self/statm") as f:
    START = int(f.read().split()[1]) * resource.getpagesize()  # the resident set with PyTorch loaded, before any network


class U(nn.Module):
    """The gaze network: an image of an eye and the head's two angles to the gaze's two angles."""

    def __init__(self):
        super().__init__()
        self.eye = nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(50 * 6 * 12, 500), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(502, 2)

    def forward(self, image, pose):
        return self.head(torch.cat([self.eye(image), pose], 1))


def angle(y, t):
    """The angle between the directions that two pairs of angles give, in radians."""

    def direction(x):
        a, b = x[:, 0], x[:, 1]
        return torch.stack([torch.sin(a) * torch.cos(b), torch.sin(a) * torch.sin(b), torch.cos(a)], 1)

    v, w = direction(y), direction(t)
    cos = (v * w).sum(1) / (v.norm(dim=1) * w.norm(dim=1))
    return torch.acos(cos.clamp(-0.99999, 0.99999)).mean()


class Block(nn.Module):
    """A residual block of He et al. 2016 with a 1x1 convolution in the shortcut where the width changes."""

    def __init__(self, cin, cout):
        super().__init__()
        stride = 1 if cin == cout else 2
        self.conv1, self.norm1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.norm2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.short = nn.Identity() if cin == cout else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.short(x))


def resnet20():
    widths = [16] * 3 + [32] * 3 + [64] * 3
    blocks = [Block(i, o) for i, o in zip([16] + widths, widths)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )


def vgg11bn():
    layers, cin = [], 3
    for stage in [[64], [128], [256, 256], [512, 512], [512, 512]]:
        for cout in stage:
            layers += [nn.Conv2d(cin, cout, 3, 1, 1), nn.BatchNorm2d(cout), nn.ReLU()]
            cin = cout
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def m():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def c():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 128, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


VOCABULARY = 20000  # of IMDB's words, as in Keras' examples


class LSTM(nn.Module):
    """Keras' example imdb_lstm without its dropout."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(VOCABULARY, 128), nn.LSTM(128, 128, batch_first=True), nn.Linear(128, 1)

    def forward(self, words):
        return self.head(self.lstm(self.embedding(words))[1][0][-1])


class Transformer(nn.Module):
    """Keras' example text_classification_with_transformer: two heads of 32 over a width of 32."""

    def __init__(self):
        super().__init__()
        self.embedding, self.position = nn.Embedding(VOCABULARY, 32), nn.Embedding(200, 32)
        self.register_buffer("places", torch.arange(200))
        self.q, self.k, self.v, self.out = nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 32)
        self.norm1, self.norm2 = nn.LayerNorm(32, eps=1e-6), nn.LayerNorm(32, eps=1e-6)
        self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)
        self.dense, self.head, self.drop = nn.Linear(32, 20), nn.Linear(20, 2), nn.Dropout(0.1)

    def forward(self, words):
        x = self.embedding(words) + self.position(self.places)
        q, k, v = (f(x).view(-1, 200, 2, 32).transpose(1, 2) for f in (self.q, self.k, self.v))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(2, 3) / 32**0.5).softmax(-1) @ v
        x = self.norm1(x + self.drop(self.out(y.transpose(1, 2).reshape(-1, 200, 64))))
        x = self.norm2(x + self.drop(self.outer(F.relu(self.inner(x)))))
        return self.head(self.drop(F.relu(self.dense(self.drop(x.mean(1))))))


# name: network, optimizer, loss, input shapes (a number: so many words), batch, rows
SETS = {
    "tiny": (lambda: nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1)), "Adam", "binary", [(2,)], 32, 4096),
    "mlp": (lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)), "Adam", "classes", [(784,)], 128, 8192),
    "R": (lambda: nn.Sequential(nn.Linear(10000, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 46)), "Adam", "classes", [(10000,)], 32, 1024),
    "D4": (lambda: nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10)), "SGD", "classes", [(784,)], 10, 10000),
    "M": (m, "Adadelta", "classes", [(1, 28, 28)], 128, 2048),
    "C": (c, "Adam", "classes", [(3, 32, 32)], 64, 2048),
    "U": (U, "SGD", "angle", [(1, 36, 60), (2,)], 128, 1024),
    "resnet20": (resnet20, "SGD", "classes", [(3, 32, 32)], 128, 1024),
    "vgg11bn": (vgg11bn, "SGD", "classes", [(3, 32, 32)], 128, 512),
    "lstm": (LSTM, "Adam", "binary", [80], 64, 1024),
    "transformer": (Transformer, "Adam", "classes", [200], 32, 1024),
}


def measure(name, args):
    build, optimizer, kind, shapes, batch, rows = SETS[name]
    torch.manual_seed(1)
    device = torch.device(args.device)
    net = build().to(device)
    parameters = sum(p.numel() for p in net.parameters())
    opt = getattr(torch.optim, optimizer)(net.parameters(), lr=1e-3)
    xs = [torch.randint(0, VOCABULARY, (rows, s)) if isinstance(s, int) else torch.rand(rows, *s) for s in shapes]
    xs = [x.to(device) for x in xs]
    with torch.no_grad():
        width = net(*[x[:2] for x in xs]).shape[1]
    if kind == "binary":
        y, loss = torch.randint(0, 2, (rows, 1)).float(), nn.BCEWithLogitsLoss()
    elif kind == "angle":
        y, loss = torch.rand(rows, 2), angle
    else:
        y, loss = torch.randint(0, width, (rows,)), nn.CrossEntropyLoss()
    y = y.to(device)
    if args.compile:
        net = torch.compile(net)

    def epoch():
        order = torch.randperm(rows, device=device)
        for i in range(0, rows - batch + 1, batch):
            at = order[i : i + batch]
            opt.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.bf16):
                out = net(*[x[at] for x in xs])
            loss(out.float(), y[at]).backward()
            opt.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return rows // batch

    epoch()
    steps, cpu, start = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - start < args.seconds:
        steps += epoch()
    step = (time.perf_counter() - start) / steps
    print(
        json.dumps(
            {
                "network": name,
                "batch": batch,
                "parameters": parameters,
                "samples_per_second": batch / step,
                "step_seconds": step,
                "step_cpu_seconds": (time.process_time() - cpu) / steps,
                "start_bytes": START,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        ),
        flush=True,
    )


def main():
    p = argparse.ArgumentParser()
    p.add_argument("networks", nargs="*", default=list(SETS), metavar="NETWORK", help=", ".join(SETS))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    p.add_argument("--device", default="cpu", help="cpu or cuda, where the data lies too")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.networks:
        measure(name, args)


main()
