#!/usr/bin/env python3
"""Records what PyTorch computes in float64 for single operations, forward and backward, as the reference device's independent check.

    python scripts/golden_ops.py > engine/reference/testdata/golden_ops.json

Inputs are not stored: both sides make them from a salt, x[i] = ((7919 i + 104729 salt) mod 2003 - 1001) / 500, or take the grid that
the file gives. The gradients are those of sum(y * dy) with dy made from salt 99. Numbers have 13 significant digits.
"""
import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def make(shape, salt):
    n = math.prod(shape)
    i = torch.arange(n, dtype=torch.int64)
    v = ((7919 * i + 104729 * salt) % 2003 - 1001).to(torch.float64) / 500
    return v.reshape(shape)


def numbers(t):
    def one(v):
        if math.isnan(v):
            return "NaN"
        if math.isinf(v):
            return "Inf" if v > 0 else "-Inf"
        return float(f"{v:.13g}")
    return [one(v) for v in t.detach().reshape(-1).tolist()]


def record(f, inputs):
    inputs = [t.clone().requires_grad_(True) for t in inputs]
    y = f(*inputs)
    y.backward(make(y.shape, 99))
    return {"shape": list(y.shape), "y": numbers(y), "grads": [numbers(t.grad) for t in inputs]}


def conv_case(name, x, w, bias, stride, dilation, begin, end, group=1):
    n = len(stride)
    pad = []
    for a, b in zip(reversed(begin), reversed(end)):
        pad += [a, b]
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n]

    def f(xx, ww, bb=None):
        return conv(F.pad(xx, pad), ww, bb, stride=stride, dilation=dilation, groups=group)
    inputs = [make(x, 1), make(w, 2)] + ([make(w[:1], 3)] if bias else [])
    return {"name": name, "op": "conv", "shapes": [list(t.shape) for t in inputs], "kernel": w[2:], "strides": stride,
            "dilations": dilation, "begin": begin, "end": end, "group": group, **record(f, inputs)}


def convs():
    yield conv_case("2d", [2, 3, 6, 5], [4, 3, 3, 3], True, [1, 1], [1, 1], [0, 0], [0, 0])
    yield conv_case("2d same", [2, 3, 6, 5], [4, 3, 3, 3], True, [1, 1], [1, 1], [1, 1], [1, 1])
    yield conv_case("2d stride dilation", [1, 2, 9, 11], [3, 2, 3, 2], False, [2, 3], [2, 1], [1, 2], [1, 2])
    yield conv_case("2d asymmetric pads", [1, 2, 7, 6], [3, 2, 2, 4], True, [1, 2], [1, 1], [0, 1], [1, 2])
    yield conv_case("2d groups", [2, 6, 5, 5], [4, 3, 3, 3], True, [1, 1], [1, 1], [1, 1], [1, 1], 2)
    yield conv_case("2d depthwise", [2, 5, 6, 6], [5, 1, 3, 3], False, [2, 2], [1, 1], [1, 1], [1, 1], 5)
    yield conv_case("2d depthwise multiplier", [1, 3, 5, 4], [6, 1, 2, 3], True, [1, 1], [1, 1], [0, 1], [0, 1], 3)
    yield conv_case("2d 1x1", [2, 5, 3, 4], [7, 5, 1, 1], True, [1, 1], [1, 1], [0, 0], [0, 0])
    yield conv_case("2d many terms", [1, 33, 6, 6], [3, 33, 3, 3], True, [1, 1], [1, 1], [1, 1], [1, 1])
    yield conv_case("1d", [2, 3, 13], [4, 3, 4], True, [2], [1], [1], [2])
    yield conv_case("1d dilation", [1, 2, 17], [3, 2, 3], False, [1], [4], [4], [4])
    yield conv_case("3d", [1, 2, 4, 5, 6], [3, 2, 2, 3, 2], True, [1, 2, 1], [1, 1, 2], [0, 1, 1], [1, 1, 0])


def pool_case(name, op, x, f, kernel, stride, dilation, pad, ceil=False, count=False, grid=None):
    t = make(x, 4) if grid is None else torch.tensor(grid, dtype=torch.float64).reshape(x)
    return {"name": name, "op": op, "shapes": [x], "kernel": kernel, "strides": stride, "dilations": dilation, "begin": pad, "end": pad,
            "ceil": ceil, "count": count, "grid": None if grid is None else numbers(t), **record(f, [t])}


def pools():
    def mx(name, x, k, s, p, d, ceil, grid=None):
        f = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(k)]
        return pool_case(name, "maxpool", x, lambda t: f(t, k, s, p, d, ceil), k, s, d, p, ceil, grid=grid)

    def av(name, x, k, s, p, ceil, count):
        f = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(k)]
        return pool_case(name, "avgpool", x, lambda t: f(t, k, s, p, ceil, count), k, s, [1] * len(k), p, ceil, count)
    nan, inf = math.nan, math.inf
    yield mx("2d", [2, 3, 6, 6], [2, 2], [2, 2], [0, 0], [1, 1], False)
    yield mx("2d overlap", [2, 3, 7, 6], [3, 3], [2, 2], [1, 1], [1, 1], False)
    yield mx("2d ceil", [1, 2, 7, 8], [3, 2], [2, 3], [1, 0], [1, 1], True)
    yield mx("2d dilation", [1, 2, 9, 8], [3, 2], [1, 2], [1, 1], [2, 3], False)
    yield mx("1d", [2, 2, 11], [3], [2], [1], [1], True)
    yield mx("3d", [1, 2, 5, 4, 6], [2, 2, 3], [2, 1, 2], [1, 0, 1], [1, 1, 1], False)
    yield mx("ties", [1, 1, 4, 4], [2, 2], [1, 1], [0, 0], [1, 1], False, [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 1, 1, 2, 2, 1, 0])
    yield mx("non-finite", [1, 1, 4, 6], [2, 3], [1, 1], [0, 1], [1, 1], False,
             [1, nan, 2, -inf, -inf, -inf, 3, inf, -1, -inf, -inf, -inf, 0, 5, 4, 1, inf, 7, 8, -inf, 2, 3, 4, nan])
    for count in (False, True):
        yield av(f"2d count {count}", [2, 3, 7, 6], [3, 3], [2, 2], [1, 1], False, count)
        yield av(f"2d ceil count {count}", [1, 2, 7, 8], [3, 2], [2, 3], [1, 1], True, count)
        yield av(f"1d count {count}", [2, 2, 12], [5], [3], [2], True, count)
        yield av(f"3d count {count}", [1, 2, 5, 4, 6], [2, 2, 3], [2, 1, 2], [1, 0, 1], False, count)


def norms():
    for name, x in (("2d", [3, 2]), ("4d", [3, 4, 3, 2]), ("5d", [2, 3, 2, 2, 3]), ("one channel", [5, 1, 4])):
        c = [x[1]]
        inputs = [make(x, 5), make(c, 6), make(c, 7)]
        for eps in (1e-5, 1e-3):
            yield {"name": f"{name} {eps:g}", "op": "batchnorm", "shapes": [x, c, c], "epsilon": eps,
                   **record(lambda t, s, b: F.batch_norm(t, None, None, s, b, True, 0.1, eps), inputs)}


def softmaxes():
    for op, f in (("softmax", F.softmax), ("logsoftmax", F.log_softmax)):
        for axis in range(3):
            yield {"name": f"axis {axis}", "op": op, "shapes": [[3, 4, 5]], "axis": axis,
                   **record(lambda t: f(t * 5, axis), [make([3, 4, 5], 8)]), "scale": 5}


GRID = [-math.inf, -1e30, -1e4, -100, -20, -8, -6, -5, -3.5, -3, -2.5, -2, -1.5, -1, -0.75, -0.5, -0.25, -1e-3, -1e-10, -1e-300, -0.0,
        0.0, 1e-300, 1e-10, 1e-3, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 5, 6, 8, 20, 100, 1e4, 1e30, math.inf, math.nan]


def activations():
    a = torch.as_tensor
    table = [
        ("Neg", 0, 0, torch.neg), ("Abs", 0, 0, torch.abs), ("Exp", 0, 0, torch.exp), ("Log", 0, 0, torch.log), ("Sqrt", 0, 0, torch.sqrt),
        ("Reciprocal", 0, 0, torch.reciprocal), ("Asin", 0, 0, torch.asin), ("Acos", 0, 0, torch.acos), ("Atan", 0, 0, torch.atan),
        ("Asinh", 0, 0, torch.asinh), ("Acosh", 0, 0, torch.acosh), ("Atanh", 0, 0, torch.atanh), ("Erf", 0, 0, torch.erf),
        ("Affine", -1.5, 0.25, lambda x: x * -1.5 + 0.25), ("Clip", -1.9, 1.4, lambda x: torch.clamp(x, -1.9, 1.4)),
        ("Relu", 0, 0, F.relu), ("LeakyRelu", 0.01, 0, lambda x: F.leaky_relu(x, 0.01)), ("Elu", 1.5, 0, lambda x: F.elu(x, 1.5)),
        ("Selu", 1.6732632423543772848, 1.0507009873554804934, F.selu), ("Celu", 1.5, 0, lambda x: F.celu(x, 1.5)),
        ("Sigmoid", 0, 0, torch.sigmoid), ("Tanh", 0, 0, torch.tanh), ("Softplus", 0, 0, lambda x: F.softplus(x, 1, 100)),
        ("HardSigmoid", 0.2, 0.5, lambda x: torch.clamp(0.2 * x + 0.5, 0, 1)), ("HardSwish", 0, 0, F.hardswish),
        ("ThresholdedRelu", 1, 0, lambda x: torch.where(x > 1, x, a(0.0))), ("Gelu", 0, 0, F.gelu),
        ("GeluTanh", 0, 0, lambda x: F.gelu(x, approximate="tanh")), ("Swish", 1, 0, F.silu), ("Swish", 1.5, 0, lambda x: x * torch.sigmoid(1.5 * x)),
        ("Mish", 0, 0, F.mish),
    ]
    x = torch.tensor(GRID)
    for fn, alpha, beta, f in table:
        yield {"name": f"{fn} {alpha:g} {beta:g}", "op": "unary", "fn": fn, "alpha": alpha, "beta": beta, "shapes": [[len(GRID)]], **record(f, [x])}
    # PyTorch's sine differs in the last digits of huge arguments, and its softsign has the gradient NaN at infinity, where the limit is 0.
    small = torch.tensor([v for v in GRID if abs(v) <= 100])
    for fn, f in (("Sin", torch.sin), ("Cos", torch.cos), ("Sinh", torch.sinh), ("Softsign", F.softsign)):
        yield {"name": fn, "op": "unary", "fn": fn, "alpha": 0, "beta": 0, "shapes": [[len(small)]], "grid": numbers(small), **record(f, [small])}


LINES = [[1, 2, 3, 4], [1, math.nan, 3, 4], [1, 2, 3, math.inf], [-math.inf, 2, 3, 4], [math.inf, 1, -math.inf, 2], [-math.inf] * 4,
         [math.inf] * 4, [1e300, 0, -1e300, 1], [2, 2, 1, 2], [0, -0.0, 0, 0]]


def lines():
    x = torch.tensor(LINES, dtype=torch.float64)
    table = [("softmax", lambda t: F.softmax(t, 1)), ("logsoftmax", lambda t: F.log_softmax(t, 1)), ("Sum", lambda t: t.sum(1, keepdim=True)),
             ("Mean", lambda t: t.mean(1, keepdim=True)), ("Max", lambda t: t.amax(1, keepdim=True)), ("Min", lambda t: t.amin(1, keepdim=True))]
    for op, f in table:
        yield {"name": f"lines {op}", "op": op, "axis": 1, "shapes": [list(x.shape)], "scale": 1, "grid": numbers(x), **record(f, [x])}
    # The gradient by a NaN is left out: whatever it is, it carries a NaN from above.
    for grid in (x[:2], x[2:]):
        a, b = grid.reshape(-1, 1), grid.reshape(1, -1)
        for op, f in (("maximum", torch.maximum), ("minimum", torch.minimum)):
            c = {"name": f"{op} {len(a)}", "op": op, "shapes": [list(a.shape), list(b.shape)], "grid": numbers(grid), **record(f, [a, b])}
            if grid.isnan().any():
                c["grads"] = []
            yield c


STEPS = 4


def optimizers():
    table = [
        ("sgd", torch.optim.SGD, dict(lr=0.1)), ("sgd decay", torch.optim.SGD, dict(lr=0.1, weight_decay=0.01)),
        ("momentum", torch.optim.SGD, dict(lr=0.1, momentum=0.9)),
        ("nesterov", torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
        ("adam", torch.optim.Adam, dict(lr=0.01)), ("adam decay", torch.optim.Adam, dict(lr=0.01, weight_decay=0.1)),
        ("amsgrad", torch.optim.Adam, dict(lr=0.01, amsgrad=True, betas=(0.5, 0.3))),
        ("adamw", torch.optim.AdamW, dict(lr=0.01, weight_decay=0.1)), ("nadam", torch.optim.NAdam, dict(lr=0.01)),
        ("adamax", torch.optim.Adamax, dict(lr=0.01, betas=(0.9, 0.5))), ("rmsprop", torch.optim.RMSprop, dict(lr=0.01)),
        ("rmsprop momentum", torch.optim.RMSprop, dict(lr=0.01, momentum=0.9, alpha=0.9)),
        ("rmsprop centered", torch.optim.RMSprop, dict(lr=0.01, centered=True, alpha=0.9)),
        ("rmsprop centered momentum", torch.optim.RMSprop, dict(lr=0.01, momentum=0.9, centered=True, alpha=0.9)),
        ("adagrad", torch.optim.Adagrad, dict(lr=0.01)), ("adadelta", torch.optim.Adadelta, dict(lr=1.0)),
    ]
    for name, make_optimizer, args in table:
        p = torch.nn.Parameter(make([5], 11))
        o = make_optimizer([p], **args)
        y = []
        for step in range(STEPS):
            p.grad = make([5], 12 + step)
            o.step()
            y.append(p.detach().clone())
        yield {"name": name, "op": "optimizer", "shapes": [[5]], "shape": [STEPS, 5], "y": numbers(torch.stack(y)), "grads": []}


cases = [c for part in (convs, pools, norms, softmaxes, activations, lines, optimizers) for c in part()]
print(json.dumps({"torch": torch.__version__, "grid": numbers(torch.tensor(GRID)), "cases": cases}, separators=(",", ":")).replace('},{"name', '},\n{"name'))
