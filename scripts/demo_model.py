"""The faulty classifier of `make demo`: optical digits, an MLP of three layers, two mistakes.

    python scripts/export_pytorch.py scripts/demo_model.py:make --out testdata/demo && rm testdata/demo/data.npz
    python scripts/demo_model.py    # trains it in PyTorch as it is and with either mistake corrected

Its author applied Softmax in the network although CrossEntropyLoss applies it again, and took a learning rate a hundred
times too small. data.npz is not kept: the rows are those of testdata/optdigits.
"""

import torch
from torch import nn

import fixture_data

BATCH, EPOCHS = 64, 10


def network(softmax=True):
    layers = [
        ("fc1", nn.Linear(64, 48)), ("relu1", nn.ReLU()), ("drop1", nn.Dropout(0.1)), ("fc2", nn.Linear(48, 24)),
        ("relu2", nn.ReLU()), ("fc3", nn.Linear(24, 10)), ("softmax", nn.Softmax(dim=1)),
    ]  # fmt: skip
    model = nn.Sequential()
    for name, layer in layers if softmax else layers[:-1]:
        model.add_module(name, layer)
    return model


def data():
    """The counts 0..16 as they are in the files."""
    (x_train, y_train), (x_test, y_test) = fixture_data.digits("train"), fixture_data.digits("test")
    return {"x_train": x_train * 16, "y_train": y_train, "x_test": x_test * 16, "y_test": y_test}


def make():
    torch.manual_seed(1)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0005)
    return model, optimizer, nn.CrossEntropyLoss(), data(), {"batch_size": BATCH, "epochs": EPOCHS}


def train(softmax, rate, seed):
    """Returns the test accuracy in PyTorch."""
    torch.manual_seed(seed)
    model, loss = network(softmax), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    d = {k: torch.from_numpy(v) for k, v in data().items()}
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(d["x_train"])).split(BATCH):
            optimizer.zero_grad()
            loss(model(d["x_train"][rows]), d["y_train"][rows]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return (model(d["x_test"]).argmax(1) == d["y_test"]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for title, softmax, rate in (
        ("as it is", True, 0.0005), ("learning rate 0.05", True, 0.05), ("no softmax", False, 0.0005), ("both", False, 0.05),
    ):  # fmt: skip
        print(f"{title:20s}", " ".join(f"{train(softmax, rate, seed):.3f}" for seed in range(1, 6)))
