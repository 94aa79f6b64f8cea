#!/usr/bin/env python3
"""Records p-values of scipy.stats.wilcoxon with its defaults for faults/bench.

The published study ran under Python 3.8, so the scipy must be of its time: 1.10 is the last for Python 3.8.

    pip install scipy==1.10.1
    python scripts/golden_bench.py faults/bench/testdata/wilcoxon.json
"""
import json
import sys
import warnings

import numpy as np
import scipy
from scipy.stats import wilcoxon

assert scipy.__version__.startswith("1.10."), scipy.__version__
warnings.simplefilter("ignore")
rng = np.random.default_rng(1)
cases = []


def add(x, y):
    x, y = [float(v) for v in x], [float(v) for v in y]
    try:
        p = float(wilcoxon(x, y).pvalue)
    except ValueError:  # all differences are zero: the study took 1
        p = 1.0
    cases.append({"x": x, "y": y, "p": p})


for n in (1, 2, 5, 6, 10, 10, 10, 25, 50, 51, 60):
    for shift in (0, 0.5, 2):
        add(rng.normal(size=n), rng.normal(size=n) + shift)  # no ties
        add(rng.integers(0, 6, n) / 100, rng.integers(0, 6, n) / 100 + round(shift / 100, 2))  # ties and zeros
        add(np.round(rng.normal(size=n), 1), np.round(rng.normal(size=n) + shift + 0.05, 2))  # ties, hardly zeros
for clipped in range(11):  # ten repeats of which some are the faulty mean
    x = np.full(10, 0.52)
    y = np.where(np.arange(10) < clipped, 0.52, 0.52 + np.round(rng.random(10) * 0.4, 2) + 0.01)
    add(x, y)
with open(sys.argv[1], "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
