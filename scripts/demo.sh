#!/usr/bin/env bash
# Repairs a faulty classifier that PyTorch exported, on real handwritten digits, and checks the result with ONNX Runtime.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${NETMEND_DEMO_OUT:-out/demo}
rm -rf "$out"
data=testdata/optdigits
model=testdata/demo/model.onnx
recipe=testdata/demo/recipe.yaml

echo "A classifier of handwritten digits, exported from PyTorch, that trains badly:"
bin/netmend repair "$model" --recipe "$recipe" --data "$data" --technique guided --budget 20x --seed 5 --out "$out"
echo
echo "Its outputs, on netmend's engine and on ONNX Runtime:"
bin/netmend verify "$out/repaired.onnx" --data "$data"
