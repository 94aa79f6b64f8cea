#!/usr/bin/env python3
"""Record what onnx.shape_inference says of the models in a folder, as expectations for onnx/infer_test.go.

usage: python3 scripts/onnx_shapes.py ../shared/onnx > onnx/testdata/shapes.json      (recorded with onnx 1.23.2)

Written: {file: {value: [element type, [dimensions]]}}, a dimension being a number, a symbol or null. Models whose value_info is
incomplete get it from the inference; values that it knows nothing of are left out.
"""

import json
import pathlib
import sys

import onnx


def main(folder):
    out = {}
    for path in sorted(pathlib.Path(folder).glob("*.onnx")):
        model = onnx.load(path)
        del model.graph.value_info[:]
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        values = {}
        for v in list(model.graph.value_info) + list(model.graph.output):
            t = v.type.tensor_type
            if v.type.WhichOneof("value") != "tensor_type" or not t.HasField("shape"):
                continue
            values[v.name] = [t.elem_type, [getattr(d, d.WhichOneof("value") or "", None) for d in t.shape.dim]]
        out[path.name] = values
    # one line per model: the file stays small and its diff readable
    print("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in out.items()) + "\n}")


main(sys.argv[1])
