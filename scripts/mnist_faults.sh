#!/usr/bin/env bash
# Repairs three faults of the M network on real MNIST (10,000 training images, 5 epochs): first convolution initialised with zeros, learning
# rate a thousand times too small, output softmax removed under categorical cross-entropy. Each must reach 0.96 on the test images.
#
#   scripts/mnist_faults.sh                 # needs a Python with TensorFlow and tf2onnx: PYTHON=..., and MNIST in $NETMEND_DATA/mnist
#
# Models and results go to out/mnist/FAULT; a folder that has a report is not run again.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
mnist=${NETMEND_DATA:-../shared/data}/mnist
faults=${*:-keras_m_zero_kernel keras_m_low_rate keras_m_no_softmax}
status=0
for fault in $faults; do
	dir=out/mnist/$fault
	if [ ! -e "$dir/model.onnx" ]; then
		"$python" scripts/exports_keras.py out/mnist "$fault"
		# The files of MNIST hold 0..255, the network was made for 0..1.
		printf 'preprocessing:\n  - {kind: divide, by: 255}\n' >>"$dir/recipe.yaml"
	fi
	if [ ! -e "$dir/repair/report.json" ]; then
		rm -rf "$dir/repair"
		start=$(date +%s)
		bin/netmend repair "$dir/model.onnx" --recipe "$dir/recipe.yaml" --data "$mnist" --limit 10000 --technique guided --budget 20x \
			--seed 1 --out "$dir/repair" 2>&1 | tee "$dir/repair.log" || true
		echo "$(($(date +%s) - start)) seconds" | tee "$dir/seconds"
	fi
	bin/netmend verify "$dir/repair/repaired.onnx" --data "$mnist" | tee "$dir/verify.log" || status=1
	"$python" - "$dir" <<-'EOF' || status=1
		import json, sys
		dir = sys.argv[1]
		r = json.load(open(dir + "/repair/report.json"))
		print(f"{dir}: {r['verdict']}, test accuracy {r['faulty']['mean']} -> {r['repaired']['mean']}, p {r['p']}, {r['words']}, cost {r['cost_x']}x, {open(dir + '/seconds').read().strip()}")
		sys.exit(not (r["verdict"] == "repaired" and r["repaired"]["mean"] >= 0.96))
	EOF
done
exit $status
