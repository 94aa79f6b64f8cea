"""Measures training steps of three networks in PyTorch, for the comparison that scripts/bench.sh makes.

    python3 scripts/bench_torch113.py NAME THREADS [SECONDS]     # prints samples per second; NAME: m, mlp, tiny

Debian's python3-torch (1.13) is what the figures in the README are against; any PyTorch works. Each step is forward, loss, backward and
optimizer on a fresh batch of a data set in memory, as a training loop does.
"""

import sys
import time

import torch
from torch import nn


def m():
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip
    x, y = torch.rand(2048, 1, 28, 28), torch.randint(0, 10, (2048,))
    return net, torch.optim.Adadelta(net.parameters(), lr=1.0), nn.CrossEntropyLoss(), x, y, 128


def mlp():
    net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    x, y = torch.rand(8192, 784), torch.randint(0, 10, (8192,))
    return net, torch.optim.Adam(net.parameters()), nn.CrossEntropyLoss(), x, y, 128


def tiny():
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.rand(4096, 2)
    return net, torch.optim.Adam(net.parameters()), nn.BCEWithLogitsLoss(), x, (x.sum(1, keepdim=True) > 1).float(), 32


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 3
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    net, optimizer, loss, x, y, batch = {"m": m, "mlp": mlp, "tiny": tiny}[name]()

    def epoch():
        order = torch.randperm(len(x))
        for i in range(0, len(x) - batch + 1, batch):
            rows = order[i : i + batch]
            optimizer.zero_grad(set_to_none=True)
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
        return len(x) // batch * batch

    epoch()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += epoch()
    print(f"{done / (time.perf_counter() - start):.0f}")


main()
