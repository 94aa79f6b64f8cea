"""Training steps of the reference networks on netmend against PyTorch: alternating runs, medians, one table of ratios. `make bench`.

    python3 scripts/bench.py [--rounds 3] [--seconds 2] [--pytorch PYTHON]... [--bf16] [NETWORK...]

--pytorch names a Python that has PyTorch and may be given several times; without it, the python3 in the path and Debian's /usr/bin/python3
(apt-get install python3-torch libopenblas0-pthread) are tried. From PyTorch 2 on it is measured eager and compiled. In the first round PyTorch
runs with one thread and with as many as there are cores; the faster of the two is kept for the others. A ratio is ours to the fastest of a
PyTorch's modes. The last column is the share of the device's own rate of matrix products (two 1024 x 1024 matrices) that netmend's step
reaches. Keep the machine quiet meanwhile.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NETWORKS = ["tiny", "mlp", "R", "D4", "M", "C", "U", "resnet20", "vgg11bn", "lstm", "transformer"]


def run(command):
    p = subprocess.run(command, capture_output=True, text=True)
    if p.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {p.stderr.strip().splitlines()[-1:] or p.returncode}")
    return p.stdout


def version(python):
    try:
        return run([python, "-c", "import torch; print(torch.__version__.split('+')[0])"]).strip()
    except (RuntimeError, OSError):
        return None


class PyTorch:
    """One PyTorch in one mode; threads is settled by the first round."""

    def __init__(self, python, version, compiled, bf16):
        self.python, self.version, self.compiled, self.bf16 = python, version, compiled, bf16
        self.threads, self.runs = {}, {}

    def name(self):
        return f"{self.version}{' compiled' if self.compiled else ''}"

    def measure(self, net, seconds):
        for threads in self.threads.get(net, sorted({1, os.cpu_count()})):
            c = [self.python, os.path.join(ROOT, "scripts/bench_pytorch.py"), "--threads", str(threads), "--seconds", str(seconds), net]
            c += ["--compile"] * self.compiled + ["--bf16"] * self.bf16
            self.runs.setdefault(net, {}).setdefault(threads, []).append(json.loads(run(c).splitlines()[-1])["samples_per_second"])
        if net not in self.threads:
            self.threads[net] = [max(self.runs[net], key=lambda t: self.runs[net][t][0])]

    def median(self, net):
        return statistics.median(self.runs[net][self.threads[net][0]])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--pytorch", action="append", metavar="PYTHON")
    p.add_argument("--bf16", action="store_true", help="netmend with --precision bf16, PyTorch with autocast to bfloat16")
    args = p.parse_args()
    modes = []
    for python in args.pytorch or [shutil.which("python3"), "/usr/bin/python3"]:
        v = python and version(python)
        if not v:
            print(f"bench: no PyTorch in {python}", file=sys.stderr)
        elif all(m.version != v for m in modes):
            modes += [PyTorch(python, v, c, args.bf16) for c in ([False] if v.startswith("1.") else [False, True])]
    ours, shares, device = {}, {}, ""
    for net in args.networks:
        for _ in range(args.rounds):
            c = [os.path.join(ROOT, "bin/netmend"), "bench", "train", "--json", "--time", f"{args.seconds}s", net]
            r = json.loads(run(c + ["--precision", "bf16"] * args.bf16))
            device, rate = r["device"], r["matmul_gflops"]
            ours.setdefault(net, []).append(r["networks"][0]["samples_per_second"])
            shares.setdefault(net, []).append((100 * r["networks"][0]["gflops"] / rate, rate))
            for m in modes:
                m.measure(net, args.seconds)
    versions = list(dict.fromkeys(m.version for m in modes))
    head = [f"{'network':11}", f"{'netmend/s':>11}"] + [f"{m.name():>15}/s" for m in modes] + [f"{'x ' + v:>9}" for v in versions] + ["  of the rate"]
    print(f"{device}; samples per second, medians of {args.rounds} runs of {args.seconds:g} s")
    print(" ".join(head))
    for net in args.networks:
        mine = statistics.median(ours[net])
        row = [f"{net:11}", f"{mine:11.0f}"] + [f"{m.median(net):17.0f}" for m in modes]
        row += [f"{mine / max(m.median(net) for m in modes if m.version == v):8.2f}x" for v in versions]
        share, rate = sorted(shares[net])[len(shares[net]) // 2]
        print(" ".join(row), f"{share:5.0f} % of {rate:.0f} GFLOP/s", flush=True)


main()
