"""What export_pytorch.py and export_keras.py share: the three files of an export and the checks on them.

An export is a folder with
    model.onnx    the network in training form: Dropout and BatchNormalization are nodes, training_mode is on,
                  the first axis of every input and output is the symbolic dimension "batch"
    recipe.yaml   how it is trained: loss, optimizer with every hyper-parameter, schedule, initialisers, ...
    data.npz      x_train, y_train and, where given, x_test, y_test; x_train:NAME ... for several inputs or outputs

Needs onnx, numpy, PyYAML; onnxruntime for the check that the written model computes what the framework computes.
"""

import copy
import importlib.util
import os
import sys

import numpy as np
import onnx
import yaml
from onnx import helper, numpy_helper

OPSET = 18  # the newest that both the TorchScript exporter and tf2onnx 1.17 write

PARTS = ("x_train", "y_train", "x_test", "y_test")


class ExportError(Exception):
    """The model, optimizer, loss or data cannot be written as an export; the message names which and the way out."""


def load_make(spec):
    """Returns the function that "path/to/module.py:function" names."""
    path, _, name = spec.rpartition(":")
    if not path:
        raise ExportError(f"{spec!r}: want FILE.py:FUNCTION")
    module_spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    if module_spec is None or not os.path.exists(path):
        raise ExportError(f"{path!r}: no such Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    module_spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise ExportError(f"{path!r} has no function {name!r}")
    return getattr(module, name)


# --- data ---------------------------------------------------------------------------------------------------


def as_named(value, names):
    """Returns value (an array, a list in the order of names, or a dict) as {name: array}."""
    if isinstance(value, dict):
        missing = [n for n in names if n not in value]
        if missing or len(value) != len(names):
            raise ExportError(f"data is named {sorted(value)}, the model's values {list(names)}")
        return {n: np.asarray(value[n]) for n in names}
    if isinstance(value, (list, tuple)) and len(names) > 1:
        if len(value) != len(names):
            raise ExportError(f"data has {len(value)} arrays for {len(names)} values {list(names)}")
        return dict(zip(names, map(np.asarray, value)))
    return {names[0]: np.asarray(value)}


def write_data(path, data, input_names, output_names):
    """Writes data.npz: floats as float32, integers as they are. data: {x_train, y_train[, x_test, y_test]}."""
    unknown = set(data) - set(PARTS)
    if unknown:
        raise ExportError(f"data has unknown parts {sorted(unknown)}; known are {list(PARTS)}")
    if "x_train" not in data or "y_train" not in data:
        raise ExportError("data needs x_train and y_train")
    arrays = {}
    for part, value in data.items():
        names = input_names if part[0] == "x" else output_names
        for name, array in as_named(value, names).items():
            if array.dtype == np.float64:
                array = array.astype(np.float32)
            arrays[part if len(names) == 1 else f"{part}:{name}"] = array
    np.savez_compressed(path, **arrays)


# --- recipe -------------------------------------------------------------------------------------------------


def plain(value):
    """Turns NumPy scalars, tuples and nested containers into what YAML writes without tags."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def write_recipe(path, recipe):
    """Writes recipe.yaml; entries that are None or empty are left out, and mean none."""
    kept = {k: v for k, v in recipe.items() if v is not None and v != {} and v != []}
    with open(path, "w") as f:
        yaml.safe_dump(plain(kept), f, sort_keys=False, default_flow_style=None, width=120)


# --- graph --------------------------------------------------------------------------------------------------


def constants(model):
    """Returns {value name: array} of all initializers and Constant nodes with a tensor."""
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for a in node.attribute:
                if a.name == "value":
                    found[node.output[0]] = numpy_helper.to_array(a.t)
    return found


def remove_unused(model):
    """Drops nodes and initializers that no output depends on; empties unused optional outputs."""
    graph = model.graph
    wanted = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(o in wanted for o in node.output):
            kept.append(node)
            wanted.update(i for i in node.input if i)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [t for t in graph.initializer if t.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.value_info[:]


def inference_form(model):
    """Returns a copy for inference: Dropout becomes the identity, BatchNormalization uses its running statistics."""
    model = copy.deepcopy(model)
    off = helper.make_node("Constant", [], ["netmend_off"], value=helper.make_tensor("off", onnx.TensorProto.BOOL, [], [0]))
    model.graph.node.insert(0, off)
    for node in model.graph.node:
        if node.op_type == "Dropout" and len(node.input) == 3:
            node.input[2] = "netmend_off"
        elif node.op_type == "BatchNormalization":
            del node.output[1:]
            kept = [a for a in node.attribute if a.name != "training_mode"]
            del node.attribute[:]
            node.attribute.extend(kept)
    remove_unused(model)
    return model


def run(model, feeds, outputs=None):
    """Runs the inference form of model in ONNX Runtime; returns the arrays of outputs (default: the graph's)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        inference_form(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(outputs, feeds)


def constant_reshapes(model, feeds):
    """Gives every Reshape whose target is computed in the graph (x.view(x.size(0), -1)) a constant target.

    The targets are evaluated with two batch sizes: what differs between the two is the batch axis and is written
    as -1, or as 0 ("as in the input") where -1 is taken. A target that neither form can say is left as it is.
    """
    known = constants(model)
    targets = {n.input[1] for n in model.graph.node if n.op_type == "Reshape" and n.input[1] not in known}
    if not targets:
        return
    probe = copy.deepcopy(model)
    sources = {n.input[1]: n.input[0] for n in model.graph.node if n.op_type == "Reshape"}
    for name in sorted(targets):
        probe.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
        probe.graph.output.append(helper.make_tensor_value_info(sources[name], onnx.TensorProto.FLOAT, None))
    asked = [v for name in sorted(targets) for v in (name, sources[name])]
    runs = [run(probe, {k: v[:n] for k, v in feeds.items()}, asked) for n in (2, 3)]
    for i, name in enumerate(sorted(targets)):
        two, three, shape = runs[0][2 * i], runs[1][2 * i], runs[0][2 * i + 1].shape
        moving = [j for j in range(len(two)) if two[j] != three[j]]
        target = two.copy()
        for j in moving:
            if -1 not in target:
                target[j] = -1
            elif j < len(shape) and shape[j] == two[j]:
                target[j] = 0
            else:
                break
        else:
            constant = name + "_constant"
            model.graph.initializer.append(numpy_helper.from_array(target.astype(np.int64), constant))
            for node in model.graph.node:
                if node.op_type == "Reshape" and node.input[1] == name:
                    node.input[1] = constant
    remove_unused(model)


def free_batch(model, rows):
    """Turns the tracing run's number of rows in constant Reshape targets (x.reshape(len(x), -1)) into "as in the input"."""
    known = constants(model)
    for node in list(model.graph.node):
        if node.op_type == "Reshape" and node.input[1] in known:
            target = known[node.input[1]].copy()
            if target.size and target[0] == rows:
                target[0] = 0
                name = node.output[0] + "_shape"
                model.graph.initializer.append(numpy_helper.from_array(target, name))
                node.input[1] = name
    remove_unused(model)


def check_batch(model, feeds, expected, tolerance):
    """Fails where the model runs with no other number of rows than it was traced with, or computes something else then."""
    try:
        check_outputs(model, {n: a[:3] for n, a in feeds.items()}, [e[:3] for e in expected], tolerance)
    except ExportError as e:
        raise ExportError(f"with 3 rows: {e}") from e
    except Exception as e:  # ONNX Runtime's own classes
        rows = len(next(iter(feeds.values())))
        raise ExportError(
            f"the model has the number of rows it was traced with ({rows}) built in; take it from the tensor, x.size(0), "
            f"not from Python's len(x) or a constant: {str(e).splitlines()[0]}"
        ) from e


def check_outputs(model, feeds, expected, tolerance=1e-5):
    """Compares ONNX Runtime's inference outputs with the framework's; returns the largest relative difference.

    The difference is relative to the larger of 1 and the largest expected magnitude. Returns None without onnxruntime.
    """
    try:
        got = run(model, feeds)
    except ImportError:
        return None
    worst = 0.0
    for g, e, o in zip(got, expected, model.graph.output):
        if g.shape != e.shape:
            raise ExportError(f"output {o.name!r}: ONNX Runtime gives shape {g.shape}, the framework {e.shape}")
        if not np.array_equal(np.isfinite(g), np.isfinite(e)):
            raise ExportError(f"output {o.name!r}: ONNX Runtime and the framework differ in which values are finite")
        finite = np.isfinite(e)
        if finite.any():
            scale = max(1.0, float(np.abs(e[finite]).max()))
            worst = max(worst, float(np.abs(g - e)[finite].max()) / scale)
    if worst > tolerance:
        raise ExportError(f"ONNX Runtime differs from the framework by {worst:.3g}, more than {tolerance:g}")
    return worst


def frozen_names(model, trained):
    """Names of float initializers that are neither trained nor running statistics of a BatchNormalization."""
    running = {i for n in model.graph.node if n.op_type == "BatchNormalization" for i in n.input[3:5]}
    ratios = {i for n in model.graph.node if n.op_type == "Dropout" for i in n.input[1:2]}
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    return [
        t.name
        for t in model.graph.initializer
        if t.data_type in floats and t.name not in trained and t.name not in running and t.name not in ratios
    ]


def constant_initializer(array):
    """Returns the initialiser of an array whose elements are all equal, None for others (and for single elements)."""
    array = np.asarray(array)
    if array.size < 2 or not np.all(array == array.flat[0]):
        return None
    value = float(array.flat[0])
    names = {0.0: "zeros", 1.0: "ones"}
    return {"name": names[value]} if value in names else {"name": "constant", "value": value}


def guess_task(loss):
    """Cross-entropies, hinges and divergences classify; everything else is regression."""
    classify = ("crossentropy", "hinge", "divergence")
    return "classification" if any(c in loss["name"] for c in classify) else "regression"


def report(out, difference):
    """Prints what was written and how well ONNX Runtime agrees."""
    agreement = "not checked (no onnxruntime)" if difference is None else f"largest difference {difference:.2g}"
    print(f"{out}: model.onnx recipe.yaml data.npz; ONNX Runtime against the framework: {agreement}")


def main(prog, doc, export, positional):
    """The command line of both exporters: SCRIPT module.py:make --out DIR."""
    import argparse

    parser = argparse.ArgumentParser(prog=prog, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("make", metavar="FILE.py:FUNCTION", help="function that returns " + positional)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into")
    args = parser.parse_args()
    try:
        made = load_make(args.make)()
        wanted = len(positional.split(", "))
        options = {}
        if isinstance(made[-1], dict) and len(made) == wanted + 1:
            made, options = made[:-1], made[-1]
        if len(made) != wanted:
            raise ExportError(f"{args.make}: want ({positional}) and optionally a dict of options")
        report(args.out, export(*made, args.out, **options))
    except ExportError as e:
        sys.exit(f"{prog}: error: {e}")
