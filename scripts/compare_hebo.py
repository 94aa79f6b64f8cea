"""Compares our HEBO with the original on ten mixed test functions.

The original is HEBO 0.3.5 with its surrogates "gpy" (ours: warped) and "gp" (plain). The registry's 0.3.5 has the file of "gpy" but does not list
it: it is registered here. pymoo's elimination of duplicates is replaced by an equal one on a hash table, which is ten times as fast, and its
sorting into fronts by an equal one on arrays, since the registry has pymoo without its compiled parts.

    python3.11 -m venv .deps/hebo
    .deps/hebo/bin/pip install numpy==1.24.4 scipy==1.11.4 pandas==1.5.3 scikit-learn==1.3.2 GPy==1.13.2 pymoo==0.6.0 torch gpytorch==1.11
    .deps/hebo/bin/pip install --no-deps HEBO==0.3.5
    go test -c -o .deps/hebo.test ./repair/technique/hebo
    .deps/hebo/bin/python scripts/compare_hebo.py --searcher original-warped --out docs/benchmark/runs/hebo.jsonl
                                                                                (and original-plain, ours-warped, ours-plain, random)
    .deps/hebo/bin/python scripts/compare_hebo.py --table docs/benchmark/runs/hebo.jsonl

Every search is 50 evaluations in batches of 8, which is how Ray's HEBOSearch asks. A run that is stopped goes on where it was.
"""
import os

for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[name] = "1"

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
import warnings

import numpy as np

warnings.filterwarnings("ignore")

EVALUATIONS, BATCH = 50, 8


def real(name, lo, hi):
    return {"Name": name, "Kind": 0, "Min": lo, "Max": hi}


def log(name, lo, hi):
    return {"Name": name, "Kind": 1, "Min": lo, "Max": hi}


def integer(name, lo, hi):
    return {"Name": name, "Kind": 2, "Min": lo, "Max": hi}


def category(name, n):
    return {"Name": name, "Kind": 3, "Choices": n}


def branin(x):
    a, b = x[0], x[1]
    return (b - 5.1 / (4 * math.pi ** 2) * a * a + 5 / math.pi * a - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10 - 0.39788735772973816


H_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
H_P = np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991], [2348, 1451, 3522, 2883, 3047, 6650],
                [4047, 8828, 8732, 5743, 1091, 381]]) * 1e-4


def hartmann6(x):
    return 3.322368011391339 - np.array([1, 1.2, 3, 3.2]) @ np.exp(-(H_A * (np.asarray(x) - H_P) ** 2).sum(1))


def ackley(x):
    x = np.asarray(x, float)
    return 20 + math.e - 20 * math.exp(-0.2 * math.sqrt((x * x).mean())) - math.exp(np.cos(2 * math.pi * x).mean())


def rosenbrock(x):
    x = np.asarray(x, float)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


TARGET = [3, 1, 4, 1, 5, 2]


def categories(x):  # additive, with a bonus for pairs: the optimum is 0
    hit = [int(a == b) for a, b in zip(x, TARGET)]
    return 9 - sum(hit) - sum(hit[i] * hit[i + 1] for i in (0, 2, 4))


def tuning(x):  # like an accuracy over learning rate, depth, optimizer and activation; the best rate depends on the optimizer
    rate, depth, optimizer, activation = math.log10(x[0]), x[1], int(x[2]), int(x[3])
    best = [-1, -3, -3.3, -2][optimizer]
    loss = 1 - 0.95 * math.exp(-0.5 * ((rate - best) / 0.8) ** 2) * math.exp(-0.02 * (depth - 4) ** 2) * [1, 0.97, 0.9, 0.99][optimizer]
    return loss + [0, 0.02, 0.1, 0.3, 0.5][activation] - 0.05


def styblinski_tang(x):  # the real coordinates' optimum is at −2.903534, the integers' at −3
    return sum(v ** 4 - 16 * v * v + 5 * v for v in x) / 2 + 2 * 39.16616570377142 + 2 * 39


SHIFT = [0, 1.5, -2, 3]

FUNCTIONS = {  # name: space, function; every minimum is 0
    "Branin": ([real("a", -5, 10), real("b", 0, 15)], branin),
    "Hartmann6": ([real(f"x{i}", 0, 1) for i in range(6)], hartmann6),
    "Ackley 3 real, 2 integer": ([real(f"x{i}", -5, 10) for i in range(3)] + [integer(f"i{i}", -5, 10) for i in range(2)], ackley),
    "Rosenbrock 2 real, 2 integer": ([real("x0", -5, 10), integer("i0", -5, 10), real("x1", -5, 10), integer("i1", -5, 10)], rosenbrock),
    "six categories": ([category(f"c{i}", 6) for i in range(6)], categories),
    "Branin, category": ([real("a", -5, 10), real("b", 0, 15), category("c", 4)], lambda x: branin(x) * [1, 1.5, 2, 1][int(x[2])] + [5, 0, 2, 10][int(x[2])]),
    "sphere shifted by a category": ([real("x0", -5, 5), real("x1", -5, 5), category("c", 4)],
                                     lambda x: (x[0] - SHIFT[int(x[2])]) ** 2 + (x[1] + SHIFT[int(x[2])]) ** 2 + abs(SHIFT[int(x[2])] - 3)),
    "sphere on logarithmic scales": ([log(f"x{i}", 1e-6, 10) for i in range(4)], lambda x: sum((math.log10(v) - t) ** 2 for v, t in zip(x, (-3, -1, 0, -5)))),
    "tuning": ([log("rate", 1e-6, 10), integer("depth", 1, 10), category("optimizer", 4), category("activation", 5)], tuning),
    "Styblinski-Tang 2 real, 2 integer": ([real("x0", -5, 5), real("x1", -5, 5), integer("i0", -5, 5), integer("i1", -5, 5)], styblinski_tang),
}


class Ours:
    def __init__(self, kind):
        self.kind = kind
        self.pipe = os.path.join(tempfile.mkdtemp(), "out")
        os.mkfifo(self.pipe)
        self.process = subprocess.Popen([".deps/hebo.test", "-test.run", "TestServe", "-test.timeout", "0"], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.DEVNULL, env=dict(os.environ, NETMEND_SERVE=self.pipe, GOMAXPROCS="1"))
        self.out = open(self.pipe)

    def begin(self, space, seed):
        self.send(space=space, surrogate=self.kind, seed=seed)

    def send(self, **line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def ask(self, n):
        self.send(ask=n)
        return json.loads(self.out.readline())

    def tell(self, points, values):
        self.send(points=points, values=values)


def fronts(F, **_):
    """pymoo's fast_non_dominated_sort: the same fronts in the same order."""
    from pymoo.util.dominator import Dominator
    dominates = Dominator.calc_domination_matrix(F) == 1
    left = dominates.sum(0)
    out = [np.flatnonzero(left == 0)]
    while sum(map(len, out)) < len(F):
        rows = dominates[out[-1]]
        count = rows.sum(0)
        left = left - count
        free = np.flatnonzero((left == 0) & (count > 0))
        last = rows[::-1, free].argmax(0)  # a point is found free at the last of the front that dominates it
        out.append(free[np.lexsort((free, -last))])
    return [f.tolist() for f in out]


class Original:
    def __init__(self, model):
        import torch
        from hebo.models import model_factory
        from hebo.models.gp.gpy_wgp import GPyGP
        from pymoo.core.mixed import MixedVariableDuplicateElimination
        from pymoo.util.nds import fast_non_dominated_sort
        torch.set_num_threads(1)
        model_factory.model_dict["gpy"] = GPyGP
        self.model = model

        def key(p):
            return tuple(p.X.values())

        def eliminate(_, pop, other, duplicate):
            keys = [key(p) for p in pop]
            if other is None:
                last = {k: i for i, k in enumerate(keys)}
                for i, k in enumerate(keys):
                    duplicate[i] |= last[k] != i
            else:
                taken = {key(p) for p in other}
                for i, k in enumerate(keys):
                    duplicate[i] |= k in taken
            return duplicate

        MixedVariableDuplicateElimination._do = eliminate
        fast_non_dominated_sort.fast_non_dominated_sort = fronts

    def begin(self, space, seed):
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO
        np.random.seed(seed)
        torch.manual_seed(seed)
        kinds = {0: "num", 1: "pow", 2: "int", 3: "cat"}
        spec = []
        for p in space:
            d = {"name": p["Name"], "type": kinds[p["Kind"]]}
            d.update({"categories": list(range(p["Choices"]))} if p["Kind"] == 3 else {"lb": p["Min"], "ub": p["Max"]})
            spec.append(d)
        self.names = [p["Name"] for p in space]
        self.opt = HEBO(DesignSpace().parse(spec), model_name=self.model, scramble_seed=seed)

    def ask(self, n):
        self.frame = self.opt.suggest(n)
        return self.frame[self.names].values.astype(float).tolist()

    def tell(self, points, values):
        self.opt.observe(self.frame.iloc[:len(values)], np.array(values).reshape(-1, 1))


class Random:
    def begin(self, space, seed):
        self.space, self.rng = space, np.random.default_rng(seed)

    def ask(self, n):
        def draw(p):
            if p["Kind"] == 3:
                return int(self.rng.integers(p["Choices"]))
            if p["Kind"] == 2:
                return int(self.rng.integers(p["Min"], p["Max"] + 1))
            if p["Kind"] == 1:
                return 10 ** self.rng.uniform(math.log10(p["Min"]), math.log10(p["Max"]))
            return self.rng.uniform(p["Min"], p["Max"])
        return [[draw(p) for p in self.space] for _ in range(n)]

    def tell(self, points, values):
        pass


def run(args):
    done = set()
    if os.path.exists(args.out):
        for line in open(args.out):
            r = json.loads(line)
            done.add((r["searcher"], r["function"], r["seed"]))
    make = {"original-warped": lambda: Original("gpy"), "original-plain": lambda: Original("gp"), "ours-warped": lambda: Ours("warped"),
            "ours-plain": lambda: Ours("plain"), "random": Random}
    searcher = make[args.searcher]()
    for seed, (name, (space, f)) in itertools.product(range(args.first, args.seeds), FUNCTIONS.items()):
        if (args.searcher, name, seed) in done or args.function and name not in args.function:
            continue
        searcher.begin(space, seed)
        best, n = math.inf, 0
        while n < EVALUATIONS:
            points = searcher.ask(BATCH)[:EVALUATIONS - n]
            values = [float(f(p)) for p in points]
            searcher.tell(points, values)
            best, n = min([best] + values), n + len(points)
        with open(args.out, "a") as out:
            out.write(json.dumps({"searcher": args.searcher, "function": name, "seed": seed, "regret": best}) + "\n")


def table(paths):
    from scipy.stats import mannwhitneyu
    runs = {}
    for path in paths:
        for line in open(path):
            r = json.loads(line)
            runs.setdefault((r["searcher"], r["function"]), []).append(r["regret"])

    def cell(searcher, name):
        v = runs.get((searcher, name), [])
        return f"{np.median(v):.3g} ({len(v)})" if v else "–"

    print("| function | original, warped | ours, warped | lower | p | original, plain | ours, plain | lower | p | random |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    pooled = {"warped": [], "plain": []}
    for name in FUNCTIONS:
        row = [name]
        for kind in pooled:
            a, b = runs.get(("original-" + kind, name), []), runs.get(("ours-" + kind, name), [])
            row += [cell("original-" + kind, name), cell("ours-" + kind, name)]
            if a and b:
                test = mannwhitneyu(a, b)
                lower = test.statistic / len(a) / len(b)  # share of pairs in which ours is lower, ties by half
                pooled[kind].append(lower)
                row += [f"{lower:.2f}", f"{test.pvalue:.2f}"]
            else:
                row += ["–", "–"]
        print("| " + " | ".join(row + [cell("random", name)]) + " |")
    for kind, shares in pooled.items():
        if shares:
            print(f"\n{kind}: over {len(shares)} functions, ours ends lower in {np.mean(shares):.2f} of the pairs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--searcher")
    parser.add_argument("--function", choices=FUNCTIONS, action="append", help="all if not given")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", default="results.jsonl")
    parser.add_argument("--table", nargs="+")
    args = parser.parse_args()
    if args.table:
        table(args.table)
    elif args.searcher:
        run(args)
    else:
        parser.print_usage(sys.stderr)
        sys.exit(2)
