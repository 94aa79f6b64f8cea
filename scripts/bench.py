"""Training steps of the reference networks on netmend against PyTorch: alternating runs, medians, one table of ratios. `make bench`.

    python3 scripts/bench.py [--rounds 3] [--seconds 2] [--pytorch PYTHON]... [--bf16] [--cpu] [NETWORK...]

--pytorch names a Python that has PyTorch and may be given several times; without it, the python3 in the path and Debian's /usr/bin/python3
(apt-get install python3-torch libopenblas0-pthread) are tried. From PyTorch 2 on it is measured eager and compiled. In the first round PyTorch
runs with one thread and with as many as there are cores; the faster of the two is kept for the others. A ratio is ours to the fastest of a
PyTorch's modes. Then comes the share of the device's own rate of matrix products (two 1024 x 1024 matrices) that netmend's step reaches, and
netmend's longest wait for a cancelled training to return. A second table compares peak memory: the largest resident set of the process (VmHWM) that
trains the network, netmend's largest against the smallest of a PyTorch's modes and thread settings; and the same beyond the resident set with
the program, or Python with PyTorch, loaded and nothing else. Keep the machine quiet meanwhile; --cpu prints processor time per step as well,
which other processes disturb less.
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
        self.threads, self.runs = {}, {}  # runs by network and threads

    def name(self):
        return f"{self.version}{' compiled' if self.compiled else ''}"

    def measure(self, net, seconds):
        for threads in self.threads.get(net, sorted({1, os.cpu_count()})):
            c = [self.python, os.path.join(ROOT, "scripts/bench_pytorch.py"), "--threads", str(threads), "--seconds", str(seconds), net]
            c += ["--compile"] * self.compiled + ["--bf16"] * self.bf16
            self.runs.setdefault(net, {}).setdefault(threads, []).append(json.loads(run(c).splitlines()[-1]))
        if net not in self.threads:
            self.threads[net] = [max(self.runs[net], key=lambda t: self.runs[net][t][0]["samples_per_second"])]

    def median(self, net, key="samples_per_second"):
        return median(self.runs[net][self.threads[net][0]], key)

    def memory(self, net, beyond):
        return min(x["peak_bytes"] - beyond * x["start_bytes"] for runs in self.runs[net].values() for x in runs)


def median(runs, key):
    return statistics.median(x[key] for x in runs)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--pytorch", action="append", metavar="PYTHON")
    p.add_argument("--bf16", action="store_true", help="netmend with --precision bf16, PyTorch with autocast to bfloat16")
    p.add_argument("--cpu", action="store_true", help="also print processor time per step, of the fastest mode")
    args = p.parse_args()
    modes = []
    for python in args.pytorch or [shutil.which("python3"), "/usr/bin/python3"]:
        v = python and version(python)
        if not v:
            print(f"bench: no PyTorch in {python}", file=sys.stderr)
        elif all(m.version != v for m in modes):
            modes += [PyTorch(python, v, c, args.bf16) for c in ([False] if v.startswith("1.") else [False, True])]
    ours, device = {}, ""
    for net in args.networks:
        for _ in range(args.rounds):
            c = [os.path.join(ROOT, "bin/netmend"), "bench", "train", "--json", "--time", f"{args.seconds}s", net]
            r = json.loads(run(c + ["--precision", "bf16"] * args.bf16))
            device, x = r["device"], r["networks"][0]
            x["rate"], x["share"] = r["matmul_gflops"], x["gflops"] / r["matmul_gflops"]
            ours.setdefault(net, []).append(x)
            for m in modes:
                m.measure(net, args.seconds)
    print(f"{device}; medians of {args.rounds} runs of {args.seconds:g} s")
    speed(args.networks, ours, modes)
    memory(args.networks, ours, modes)
    if args.cpu:
        processor(args.networks, ours, modes)


def versions(modes):
    return list(dict.fromkeys(m.version for m in modes))


def table(head, rows):
    """Columns as wide as their widest cell, the first flush left."""
    widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
    print()
    for r in [head] + rows:
        print("  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths))), flush=True)


def speed(networks, ours, modes):
    rows = []
    for net in networks:
        mine = median(ours[net], "samples_per_second")
        best = {v: max(m.median(net) for m in modes if m.version == v) for v in versions(modes)}
        share = sorted(ours[net], key=lambda x: x["share"])[len(ours[net]) // 2]
        rows.append(
            [net, f"{mine:.0f}", *[f"{m.median(net):.0f}" for m in modes], *[f"{mine / b:.2f}x" for b in best.values()], f"{share['gflops']:.0f}",
             f"{100 * share['share']:.0f} % of {share['rate']:.0f}", f"{1e3 * max(x['cancel_seconds'] for x in ours[net]):.0f}"]
        )  # fmt: skip
    table(["samples/s", "netmend", *[m.name() for m in modes], *[f"x {v}" for v in versions(modes)], "GFLOP/s", "of the rate", "cancel ms"], rows)


def memory(networks, ours, modes):
    rows = []
    for net in networks:
        row = [net]
        for beyond in (False, True):
            mine = max(x["peak_bytes"] - beyond * x["start_bytes"] for x in ours[net])
            row.append(f"{mine / 2**20:.0f}")
            for v in versions(modes):
                theirs = min(m.memory(net, beyond) for m in modes if m.version == v)
                row += [f"{theirs / 2**20:.0f}", f"{mine / theirs:.2f}x"]
        rows.append(row)
    head = [c for word in ("", " beyond") for c in ["netmend" + word, *[c for v in versions(modes) for c in (v + word, "x" + word)]]]
    table(["peak MiB", *head], rows)


def processor(networks, ours, modes):
    rows = []
    for net in networks:
        mine = median(ours[net], "step_cpu_seconds")
        row = [net, f"{1e3 * mine:.4g}"]
        for v in versions(modes):
            best = max((m for m in modes if m.version == v), key=lambda m: m.median(net))
            theirs = best.median(net, "step_cpu_seconds")
            row += [f"{1e3 * theirs:.4g}", f"{theirs / mine:.2f}x"]
        rows.append(row)
    table(["CPU ms/step", "netmend", *[c for v in versions(modes) for c in (v, "x")]], rows)


main()
