#!/usr/bin/env bash
# Training steps of three networks on netmend's CPU device against PyTorch with Debian's python3-torch (1.13) and OpenBLAS, two threads or
# one, whichever is better for PyTorch: runs alternate, medians and ratios are printed. About two minutes.
#
#   apt-get install python3-torch libopenblas0-pthread && scripts/bench.sh
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-/usr/bin/python3}
rounds=${ROUNDS:-3}
go test -c -o out/bench.test ./cmd/netmend
median() { sort -g | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
printf '%-6s %14s %14s %8s\n' network PyTorch netmend ratio
for net in m mlp tiny; do
	torch=() ours=()
	for _ in $(seq "$rounds"); do
		for threads in 1 2; do
			torch+=("$threads $("$python" scripts/bench_torch113.py "$net" "$threads" 3)")
		done
		ours+=("$(cd cmd/netmend && ../../out/bench.test -test.run - -test.bench "Train/$net\$" -test.benchtime 3s | awk '/samples\/s/ {print $(NF-1)}')")
	done
	best=0
	for threads in 1 2; do
		v=$(printf '%s\n' "${torch[@]}" | awk -v t=$threads '$1 == t {print $2}' | median)
		best=$(printf '%s\n%s\n' "$best" "$v" | sort -g | tail -1)
	done
	mine=$(printf '%s\n' "${ours[@]}" | median)
	printf '%-6s %12.0f/s %12.0f/s %7.2fx\n' "$net" "$best" "$mine" "$(awk -v a="$mine" -v b="$best" 'BEGIN {print a/b}')"
done
