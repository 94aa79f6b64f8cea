"""How export_keras.py finds Keras layers and weights again in the graph that tf2onnx makes of them.

Fingerprints changes a model for the time of a conversion: weights and special layers hold numbers that occur nowhere
else. restore_nodes and restore_weights recognise those numbers in the ONNX graph and put back what they stand for.
"""

import keras
import numpy as np
import tensorflow as tf
from onnx import helper, numpy_helper

from export_common import ExportError

# Activations that are one ONNX operator but that tf2onnx writes as several or not at all: operator and attributes.
ACTIVATIONS = {
    keras.activations.hard_sigmoid: ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    keras.activations.hard_silu: ("HardSwish", {}),
    keras.activations.mish: ("Mish", {}),
    keras.activations.celu: ("Celu", {"alpha": 1.0}),
    keras.activations.softsign: ("Softsign", {}),
}

# Activations of several nodes, as PyTorch's exporter writes them: steps of an operator and its inputs, where "x" is the
# activation's input, a number a constant and "-1" the step before.
COMPOSED = {
    keras.activations.silu: [("Sigmoid", ["x"]), ("Mul", ["x", "-1"])],
    keras.activations.gelu: [
        ("Div", ["x", 2**0.5]), ("Erf", ["-1"]), ("Add", ["-1", 1.0]), ("Mul", ["x", "-1"]), ("Mul", ["-1", 0.5]),
    ],
    keras.activations.hard_tanh: [("Clip", ["x", -1.0, 1.0])],
}  # fmt: skip

# Where no constant of a network lies: 0.5 and 1 would be among the numbers of one with 8 million weights that began at 0.25.
FIRST = 2.0**44

REFUSED = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout", "GaussianNoise")

# Operators that commute with a transpose when their first input is the only one that is not a scalar.
ELEMENTWISE = {
    "Abs", "Celu", "Clip", "Dropout", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg",
    "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
}  # fmt: skip


def weight_names(model):
    """Returns {id of variable: its path}, without the model's own name in front."""
    names = {}
    for variable in model.weights:
        path = variable.path
        names[id(variable)] = path[len(model.name) + 1 :] if path.startswith(model.name + "/") else path
    if len(set(names.values())) != len(names):
        raise ExportError("two weights have the same path; give the layers different names")
    return names


class Fingerprints:
    """A context in which the model computes with recognisable numbers instead of its weights and special layers.

    weights: {name: (variable, true values, numbers it held)}; nodes: {number: (kind, layer or activation)}; vectors:
    {id of layer: (layer, numbers, rank)}; names: weight_names; restored: weights that restore_nodes has put back; slopes:
    weights of PReLU layers.
    Numbers are consecutive float32 from FIRST upwards, the smallest weights first.
    """

    def __init__(self, model):
        self.model, self.weights, self.nodes, self.vectors = model, {}, {}, {}
        self.names, self.restored, self.slopes = weight_names(model), set(), set()
        self.next = int(np.float32(FIRST).view(np.uint32)) + 1

    def take(self, count):
        numbers = np.arange(self.next, self.next + count, dtype=np.uint32).view(np.float32)
        self.next += count
        return numbers

    def __enter__(self):
        for layer in self.model._flatten_layers():
            if type(layer).__name__ in REFUSED:
                raise ExportError(f"layer {layer.name}: {type(layer).__name__} has no ONNX operator; use Dropout")
            if isinstance(layer, keras.layers.Dropout) and layer.noise_shape is not None:
                raise ExportError(f"layer {layer.name}: Dropout with noise_shape has no ONNX operator")
        self.patched = []
        self.patch_layers()
        for variable in sorted(self.trained_or_running(), key=lambda v: int(np.prod(v.shape))):
            true = np.asarray(variable)
            numbers = self.take(true.size).reshape(true.shape)
            self.weights[self.names[id(variable)]] = (variable, true, numbers)
            variable.assign(numbers)
        return self

    def trained_or_running(self):
        """Returns the model's weights but for those of Normalization, which calls with numbers made of them once and for all."""
        made = {id(v) for layer in self.model._flatten_layers() if isinstance(layer, keras.layers.Normalization) for v in layer.weights}
        return [v for v in self.model.weights if id(v) not in made]

    def patch(self, owner, name, value):
        self.patched.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def patch_layers(self):
        prints, scalars = self, {}

        # The number is the first factor: tf2onnx folds a second one into a convolution before it.
        def mark(kind, what):
            if id(what) not in scalars:
                scalars[id(what)] = prints.take(1)[0]
                prints.nodes[float(scalars[id(what)])] = (kind, what)
            return scalars[id(what)]

        def dropout(layer, inputs, training=None):
            return inputs if layer.rate == 0 else tf.multiply(mark("dropout", layer), inputs)

        def batch_norm(layer, inputs, training=None, mask=None):
            rank, axis = len(inputs.shape), layer.axis if isinstance(layer.axis, int) else layer.axis[0]
            axis %= rank
            if id(layer) not in prints.vectors:
                numbers = prints.take(inputs.shape[axis])
                prints.vectors[id(layer)] = (layer, numbers, rank)
            shape = [1] * rank
            shape[axis] = -1
            # A full-rank factor, so that its shape tells the channel axis however transposes are moved.
            return tf.multiply(prints.vectors[id(layer)][1].reshape(shape), inputs)

        def prelu(layer, inputs):
            # alpha itself, in full rank, is the mark.
            prints.slopes.add(prints.names[id(layer.alpha)])
            return tf.multiply(tf.expand_dims(layer.alpha, 0), inputs)

        self.patch(keras.layers.PReLU, "call", prelu)
        self.patch(keras.layers.Dropout, "call", dropout)
        self.patch(keras.layers.BatchNormalization, "call", batch_norm)
        for layer in self.model._flatten_layers():
            if isinstance(layer, keras.layers.Normalization):  # tensors that a function holds become inputs of the graph, arrays constants
                for name in ("mean", "variance"):
                    self.patch(layer, name, np.asarray(getattr(layer, name)))
            if isinstance(layer, keras.layers.RNN):  # the loop that it would be otherwise holds its weights as its own state
                self.patch(layer, "unroll", True)
            function = getattr(layer, "activation", None)
            if callable(function) and (function in ACTIVATIONS or function in COMPOSED):
                self.patch(layer, "activation", lambda x, f=function: tf.multiply(mark("activation", f), x))

    def __exit__(self, *exception):
        for owner, name, value in reversed(self.patched):
            setattr(owner, name, value)
        for variable, true, _ in self.weights.values():
            variable.assign(true)


def rename_values(proto, inputs, outputs):
    """Names the graph's inputs and outputs, and their first axis "batch"."""
    graph = proto.graph
    # tf2onnx orders the outputs of a dict by key and names them by it; inputs keep the signature's order.
    found = {i.name.split(":")[0]: i.name for i in graph.input}
    names = {found[i]: i for i in inputs if i in found}
    if len(names) != len(inputs) or sorted(o.name for o in graph.output) != sorted(outputs):
        raise ExportError(f"tf2onnx names inputs {sorted(found)} and outputs {[o.name for o in graph.output]}, not {inputs}, {outputs}")
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
    for value in graph.input:
        value.name = names[value.name]
    ordered = sorted(graph.output, key=lambda o: outputs.index(o.name))
    del graph.output[:]
    graph.output.extend(ordered)
    for value in list(graph.input) + list(graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_value")
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def initializers(proto):
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def factor(node, values):
    """Returns (data input, constant factor) of a Mul by an initializer, else (None, None)."""
    if node.op_type == "Mul":
        for i in (0, 1):
            if node.input[i] in values:
                return node.input[1 - i], values[node.input[i]]
    return None, None


def put(proto, name, array):
    if name not in {t.name for t in proto.graph.initializer}:
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return name


def restore_nodes(proto, prints):
    """Replaces the marking Muls by Dropout, BatchNormalization and activation nodes."""
    values, missing = initializers(proto), dict(prints.nodes)
    vectors = {float(numbers[0]): (layer, numbers, rank) for layer, numbers, rank in prints.vectors.values()}
    slopes = {float(prints.weights[name][2].flat[0]) for name in prints.slopes}
    lost, used, nodes = dict(vectors), {}, []

    def unique(name):
        used[name] = used.get(name, -1) + 1
        return name if used[name] == 0 else f"{name}_{used[name]}"

    for node in proto.graph.node:
        data, numbers = factor(node, values)
        first = float(numbers.flat[0]) if numbers is not None and numbers.size else None
        if first in prints.nodes and numbers.size == 1:
            missing.pop(first, None)
            nodes += restored_scalar(proto, node, data, prints.nodes[first], unique)
        elif first in vectors and numbers.size == vectors[first][1].size:
            lost.pop(first, None)
            nodes += restored_batch_norm(proto, node, data, numbers.shape, vectors[first], unique, prints)
        elif numbers is not None and numbers.size and float(numbers.min()) in slopes:
            slope = node.input[1] if node.input[0] == data else node.input[0]
            nodes.append(helper.make_node("PRelu", [data, slope], node.output, name=node.name))
        else:
            nodes.append(node)
    absent = [what for _, what in missing.values()] + [layer for layer, _, _ in lost.values()]
    if absent:
        named = [getattr(w, "name", getattr(w, "__name__", "?")) for w in absent]
        raise ExportError(f"tf2onnx folded away {named}; these layers cannot be exported in training form")
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def restored_scalar(proto, node, data, mark, unique):
    kind, what = mark
    if kind == "activation":
        if what in COMPOSED:
            return composed(proto, node, data, COMPOSED[what])
        op, attributes = ACTIVATIONS[what]
        return [helper.make_node(op, [data], node.output, name=node.name, **attributes)]
    name = unique(what.name)
    ratio = put(proto, name + "/rate", np.float32(what.rate))
    on = put(proto, "netmend/training", np.bool_(True))
    return [helper.make_node("Dropout", [data, ratio, on], node.output, name=name)]


def composed(proto, node, data, steps):
    """Returns the nodes of a composed activation, from data to node's output."""
    made, last = [], None
    for k, (op, inputs) in enumerate(steps):
        names = {"x": data, "-1": last}
        inputs = [names[i] if isinstance(i, str) else put(proto, f"netmend/{i:.4g}", np.float32(i)) for i in inputs]
        last = node.output[0] if k == len(steps) - 1 else f"{node.name}/{op.lower()}"
        made.append(helper.make_node(op, inputs, [last], name=f"{node.name}/{op}_{k}"))
    return made


def restored_batch_norm(proto, node, data, shape, mark, unique, prints):
    """BatchNormalization has its channels on axis 1: elsewhere they are transposed there and back."""
    layer, numbers, rank = mark
    shape = [1] * (rank - len(shape)) + list(shape)
    if numbers.size == 1 and rank > 2:
        raise ExportError(f"layer {layer.name}: batch-norm of a single channel cannot be told from a scalar factor")
    axis = int(np.argmax(shape)) if numbers.size > 1 else 1
    name, inputs = unique(layer.name), []
    for short, default in (("gamma", 1.0), ("beta", 0.0), ("moving_mean", 0.0), ("moving_variance", 1.0)):
        variable = getattr(layer, short)
        if variable is None:  # scale=False or center=False: a constant
            inputs.append(put(proto, f"{name}/{short}", np.full(numbers.size, default, np.float32)))
        else:
            inputs.append(put(proto, prints.names[id(variable)], variable))
            prints.restored.add(prints.names[id(variable)])
    training = {"training_mode": 1} if layer.trainable else {}
    outputs = [node.output[0], name + "/mean", name + "/variance"] if training else [node.output[0]]
    settings = {"epsilon": layer.epsilon, "momentum": layer.momentum, **training}
    if axis == 1:
        return [helper.make_node("BatchNormalization", [data, *inputs], outputs, name=name, **settings)]
    forth = [0, axis] + [i for i in range(1, rank) if i != axis]
    back = [int(i) for i in np.argsort(forth)]
    return [
        helper.make_node("Transpose", [data], [name + "/in"], name=name + "/in", perm=forth),
        helper.make_node("BatchNormalization", [name + "/in", *inputs], [name + "/out", *outputs[1:]], name=name, **settings),
        helper.make_node("Transpose", [name + "/out"], [node.output[0]], name=name + "/back", perm=back),
    ]


def restore_weights(proto, prints):
    """Gives every weight its path as name and its true values in the layout that tf2onnx chose."""
    by_numbers = {}
    for name, (_, true, numbers) in prints.weights.items():
        if true.size and name not in prints.restored:
            by_numbers[float(numbers.flat[0])] = name
    renamed, found, parts = {}, {}, []
    for tensor in list(proto.graph.initializer):
        held = numpy_helper.to_array(tensor)
        if tensor.name in prints.restored or held.size == 0 or held.dtype != np.float32:
            continue
        name = by_numbers.get(float(held.min()))
        if name is None or held.size != prints.weights[name][1].size:
            part = weight_part(held, prints)
            if part is not None:
                parts.append((tensor.name, held.shape, *part))
                proto.graph.initializer.remove(tensor)
            continue
        _, true, numbers = prints.weights[name]
        # Numbers are consecutive in the file's bits, so a number's distance from the first is its index in the weight.
        index = held.view(np.uint32).astype(np.int64) - int(numbers.flat[0].view(np.uint32))
        if not np.array_equal(np.sort(index, axis=None), np.arange(true.size)):
            continue
        array = true.reshape(-1)[index.reshape(-1)].reshape(held.shape)
        if name in found and not (found[name].shape == array.shape and np.array_equal(found[name], array)):
            raise ExportError(f"weight {name} is used in two layouts; one tensor cannot be trained as both")
        if name not in found:
            found[name] = array
            proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        renamed[tensor.name] = name
        proto.graph.initializer.remove(tensor)
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    restore_parts(proto, prints, parts, found)
    absent = sorted(set(by_numbers.values()) - set(found))
    if absent:
        raise ExportError(f"weights {absent} were folded into others by tf2onnx; the model cannot be exported for training")


def weight_part(held, prints):
    """Returns (weight, first element) where held is a run of a weight's elements in order, as the two biases of a GRU are; else None."""
    bits = held.view(np.uint32).astype(np.int64).reshape(-1)
    if np.all(np.diff(bits) == 1):
        for name, (_, true, numbers) in prints.weights.items():
            first = int(bits[0]) - int(numbers.flat[0].view(np.uint32)) if true.size else -1
            if 0 <= first <= true.size - held.size and name not in prints.restored:
                return name, first
    return None


def restore_parts(proto, prints, parts, found):
    """Cuts each (value, shape, weight, first element) out of the whole weight: Reshape, Slice, Reshape."""
    for value, shape, name, first in parts:
        if name in found and found[name].shape != prints.weights[name][1].shape:
            raise ExportError(f"weight {name} is used whole and in parts, in two layouts; one tensor cannot be trained as both")
        found[name] = prints.weights[name][1]
        put(proto, name, found[name])
        ints = lambda what, *v: put(proto, f"{value}/{what}", np.array(v, np.int64))  # noqa: E731
        nodes = [
            helper.make_node("Reshape", [name, ints("flat", -1)], [value + "/all"]),
            helper.make_node("Slice", [value + "/all", ints("from", first), ints("to", first + int(np.prod(shape)))], [value + "/part"]),
            helper.make_node("Reshape", [value + "/part", ints("shape", *shape)], [value]),
        ]
        for k, node in enumerate(nodes):
            proto.graph.node.insert(k, node)


def permutation(node):
    return list(next(a for a in node.attribute if a.name == "perm").ints)


def cancel_transposes(proto):
    """Moves each Transpose down past elementwise nodes to the Transpose that undoes it, and drops both."""
    graph, outputs = proto.graph, {o.name for o in proto.graph.output}
    while True:
        consumers = {}
        for node in graph.node:
            for name in node.input:
                consumers.setdefault(name, []).append(node)
        for first in graph.node:
            if first.op_type != "Transpose":
                continue
            chain, value = [], first.output[0]
            while value not in outputs and len(consumers.get(value, [])) == 1:
                node = consumers[value][0]
                if node.op_type not in ELEMENTWISE or node.input[0] != value:
                    break
                chain.append(node)
                value = node.output[0]
            users = consumers.get(value, [])
            if value in outputs or not users or any(u.op_type != "Transpose" for u in users):
                continue
            if any([permutation(first)[i] for i in permutation(u)] != list(range(len(permutation(u)))) for u in users):
                continue
            # first -> chain -> users becomes chain alone: its end takes the users' places.
            if chain:
                chain[0].input[0] = first.input[0]
            end = value if chain else first.input[0]
            kept = {u.output[0] for u in users} & outputs
            if kept and (len(users) > 1 or not chain):
                continue
            if kept:
                chain[-1].output[0] = end = users[0].output[0]
            for user in users:
                for node in consumers.get(user.output[0], []):
                    for i, name in enumerate(node.input):
                        if name == user.output[0]:
                            node.input[i] = end
                graph.node.remove(user)
            graph.node.remove(first)
            break
        else:
            return
