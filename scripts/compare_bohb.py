"""Compares our BOHB with the original, HpBandSter 0.7.4, on the ten mixed test functions of scripts/compare_hebo.py.

    python3.11 -m venv .deps/hpbandster
    .deps/hpbandster/bin/pip install 'hpbandster==0.7.4' 'ConfigSpace==0.6.1' 'numpy<2' 'scipy<1.13' 'statsmodels<0.15' 'setuptools<70'
    go test -c -o .deps/bohb.test ./repair/technique/bohb
    .deps/hpbandster/bin/python scripts/compare_bohb.py --seeds 20

Every search is 50 evaluations, one at a time, on one budget. The table has the median over the seeds of the best value found (every minimum is
0), the share of pairs of searches in which ours ends lower, and the two-sided p of Mann and Whitney; random search stands beside them.
"""
import argparse
import json
import logging
import math
import os
import subprocess
import tempfile
import warnings

import ConfigSpace as CS
import numpy as np
from hpbandster.optimizers.config_generators.bohb import BOHB
from scipy.stats import mannwhitneyu

from compare_hebo import EVALUATIONS, FUNCTIONS

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
KINDS = {0: "linear", 1: "log", 2: "integer", 3: "choice"}


class Job:
    exception = None

    def __init__(self, config, loss):
        self.id, self.kwargs, self.result = (0, 0, 0), {"config": config, "budget": 1.0}, {"loss": loss}


def configspace(space, seed):
    cs = CS.ConfigurationSpace(seed=seed)
    for i, p in enumerate(space):
        name, kind = "p%02d" % i, KINDS[p["Kind"]]
        if kind == "choice":
            cs.add_hyperparameter(CS.CategoricalHyperparameter(name, list(range(p["Choices"]))))
        elif kind == "integer":
            cs.add_hyperparameter(CS.UniformIntegerHyperparameter(name, p["Min"], p["Max"]))
        else:
            cs.add_hyperparameter(CS.UniformFloatHyperparameter(name, p["Min"], p["Max"], log=kind == "log"))
    return cs


def point(config):
    return [config[k] for k in sorted(config)]


def original(space, f, seed, random=False):
    np.random.seed(seed)
    cs = configspace(space, seed)
    cg, best = BOHB(cs), math.inf
    for _ in range(EVALUATIONS):
        config = cs.sample_configuration().get_dictionary() if random else cg.get_config(1.0)[0]
        loss = float(f(point(config)))
        best = min(best, loss)
        if not random:
            cg.new_result(Job(config, loss))
    return best


class Ours:
    def __init__(self):
        pipe = os.path.join(tempfile.mkdtemp(), "out")
        os.mkfifo(pipe)
        self.process = subprocess.Popen([".deps/bohb.test", "-test.run", "TestServe", "-test.timeout", "0"], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.DEVNULL, env=dict(os.environ, NETMEND_SERVE=pipe, GOMAXPROCS="1"))
        self.out = open(pipe)

    def send(self, **line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return json.loads(self.out.readline())

    def __call__(self, space, f, seed):
        dims = [["choice", p["Choices"]] if KINDS[p["Kind"]] == "choice" else [KINDS[p["Kind"]], p["Min"], p["Max"]] for p in space]
        best, x = math.inf, self.send(space=dims, seed=seed)
        for _ in range(EVALUATIONS):
            loss = float(f(x))
            best, x = min(best, loss), self.send(loss=loss)
        return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    ours, shares = Ours(), []
    print("| function | original | ours | lower | p | random |\n|---|---|---|---|---|---|")
    for name, (space, f) in FUNCTIONS.items():
        a = [original(space, f, s) for s in seeds]
        b = [ours(space, f, s) for s in seeds]
        r = [original(space, f, s, random=True) for s in seeds]
        test = mannwhitneyu(b, a)
        lower = 1 - test.statistic / len(a) / len(b)
        shares.append(lower)
        print(f"| {name} | {np.median(a):.3g} | {np.median(b):.3g} | {lower:.2f} | {test.pvalue:.2f} | {np.median(r):.3g} |", flush=True)
    print(f"\n{len(seeds)} seeds; over {len(shares)} functions, ours ends lower in {np.mean(shares):.2f} of the pairs")


main()
