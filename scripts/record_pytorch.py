"""Records beside a PyTorch export what PyTorch computes: recording.py has the format."""

import copy

import torch
from torch import nn

import recording


def without_dropout(model):
    """Turns dropout off where modules keep its probability; its random numbers are PyTorch's own."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        elif isinstance(module, (nn.MultiheadAttention, nn.RNNBase)):
            module.dropout = 0.0
    return model


def train(model, inputs, target, loss, rule, rate, dtype, steps=recording.STEPS, noise=None):
    """Trains a copy of model in dtype; returns the losses, the first step's gradients by parameter name, and the losses without updates.

    noise is the seed of a deviation of the weights, as other roundings make it (recording.NOISE); None: there is none.
    """
    model = without_dropout(copy.deepcopy(model)).to(dtype).train()
    if noise is not None:
        random = torch.Generator().manual_seed(noise)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 + recording.NOISE * torch.randn(p.shape, generator=random, dtype=dtype))
    inputs = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    target = target.to(dtype) if target.is_floating_point() else target
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(named.values(), lr=rate)

    def forward(rows):
        return loss(model(*[x[rows] for x in inputs]), target[rows])

    with torch.no_grad():
        untrained = recording.untrained(lambda rows: forward(rows).item(), rule)
    losses, gradients = [], {}
    for step in range(steps):
        optimizer.zero_grad()
        value = forward(recording.batch(step, *rule))
        losses.append(value.item())
        value.backward()
        if step == 0:
            gradients = {n: p.grad.clone().numpy() for n, p in named.items() if p.grad is not None}
        optimizer.step()
    return losses, gradients, untrained


def record(model, loss, folder, rule=(160, 16), rate=0.3, names=("input",)):
    """Writes recorded.npz into the folder that export() wrote model to; rule is (N, B), names are the model's inputs."""
    inputs, target = recording.read_data(folder, names, rule[0])
    arguments = (model, [torch.from_numpy(inputs[n]) for n in names], torch.from_numpy(target), loss, rule, rate)
    exact, rounded = train(*arguments, torch.float64), train(*arguments, torch.float32)
    nearby = [train(*arguments, torch.float64, steps=1, noise=seed)[1] for seed in range(recording.NEARBY)]
    recording.write(folder, rule, rate, exact, rounded, recording.outputs(folder, inputs, rule), nearby)
