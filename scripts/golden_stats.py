"""Records what scipy, numpy and statsmodels say for the samples of repair/stats' tests.

    python3 -m venv .deps/venv && .deps/venv/bin/pip install numpy scipy statsmodels
    .deps/venv/bin/python scripts/golden_stats.py repair/stats/testdata/golden.json

Exact p-values with ties or zeros are scipy's permutation tests over all sign changes (Wilcoxon) or all assignments (Mann-Whitney); scipy's
own method="exact" is right without ties only, and is recorded for those.
"""
import json
import sys

import numpy as np
import scipy
from scipy import stats
from scipy.stats import PermutationMethod
import statsmodels
import statsmodels.api as sm
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(20240611)
every = PermutationMethod(n_resamples=np.inf)
alternatives = ["two-sided", "greater", "less"]


def wilcoxon():
    samples = {
        "no ties": np.round(rng.normal(0.3, 1, 9), 6),
        "all positive": np.array([0.1, 0.2, 0.35, 0.4, 0.55, 0.6, 0.75, 0.8, 0.9, 1.0]),
        "ties": np.array([1, 1, 2, -1, 3, 2, 2, -3, 4, 1.0]),
        "ties and zeros": np.array([0, 1, 1, -2, 2, 0, 3, 0, -1, 4, 4.0]),
        "accuracies": np.array([0.01, 0.03, 0.02, -0.01, 0.0, 0.04, 0.02, 0.01, 0.03, 0.02]),
        "one": np.array([2.0]),
        "five pairs": np.array([0.5, 0.1, 0.4, 0.2, 0.3]),
    }
    for n in [25, 50, 80]:
        samples[f"no ties, {n}"] = np.round(rng.normal(0.2, 1, n), 6)
    for n in [30, 120, 200]:
        samples[f"ties and zeros, {n}"] = rng.integers(-4, 6, n).astype(float)
    out = []
    for name, d in samples.items():
        used = d[d != 0]
        untied = len(set(np.abs(used))) == len(used)
        for zeros in ["wilcox", "pratt"]:
            for alternative in alternatives:
                c = {"name": name, "d": d.tolist(), "zeros": zeros, "alternative": alternative}
                kw = dict(zero_method=zeros, alternative=alternative)
                c["w_plus"] = float(stats.wilcoxon(d, zero_method=zeros, alternative="greater", method="asymptotic").statistic)
                if untied and len(used) == len(d):
                    c["exact"] = float(stats.wilcoxon(d, method="exact", **kw).pvalue)
                elif len(d) <= 13:
                    c["exact"] = float(stats.wilcoxon(d, method=every, **kw).pvalue)
                if len(d) > 5:
                    c["approximate"] = float(stats.wilcoxon(d, method="asymptotic", correction=False, **kw).pvalue)
                out.append(c)
    return out


def mann_whitney():
    pairs = {
        "no ties": (np.round(rng.normal(0.5, 1, 8), 6), np.round(rng.normal(0, 1, 9), 6)),
        "ties": (np.array([1, 2, 2, 3, 5, 5, 7.0]), np.array([0, 1, 2, 2, 4, 5.0])),
        "accuracies": (np.array([0.91, 0.93, 0.93, 0.95, 0.91]), np.array([0.11, 0.10, 0.93, 0.10, 0.98])),
        "apart": (np.arange(10, 20.0), np.arange(10.0)),
        "one each": (np.array([1.0]), np.array([2.0])),
        "large": (np.round(rng.normal(0.3, 1, 70), 6), np.round(rng.normal(0, 1, 60), 6)),
        "large, ties": (rng.integers(0, 9, 70).astype(float), rng.integers(1, 8, 65).astype(float)),
        "no ties, 20 and 25": (np.round(rng.normal(0.5, 1, 20), 6), np.round(rng.normal(0, 1, 25), 6)),
    }
    out = []
    for name, (x, y) in pairs.items():
        both = np.concatenate([x, y])
        for alternative in alternatives:
            c = {"name": name, "x": x.tolist(), "y": y.tolist(), "alternative": alternative}
            r = stats.mannwhitneyu(x, y, alternative=alternative, method="asymptotic")
            c["u"], c["approximate"] = float(r.statistic), float(r.pvalue)
            if len(set(both)) == len(both):
                c["exact"] = float(stats.mannwhitneyu(x, y, alternative=alternative, method="exact").pvalue)
            elif len(both) <= 14:
                c["exact"] = float(stats.mannwhitneyu(x, y, alternative=alternative, method=every).pvalue)
            n, m = len(x), len(y)
            c["a12"] = c["u"] / (n * m)
            if n > 1 and m > 1:
                s = np.sqrt(((n - 1) * x.var(ddof=1) + (m - 1) * y.var(ddof=1)) / (n + m - 2))
                c["d"] = float((x.mean() - y.mean()) / s)
            out.append(c)
    return out


class Indices(np.random.Generator):
    """Hands scipy.stats.bootstrap the resamples that are recorded with its result."""

    def __init__(self, indices):
        super().__init__(np.random.PCG64(0))
        self.indices = indices

    def integers(self, low, high=None, size=None, **kw):
        assert size == self.indices.shape, (size, self.indices.shape)
        return self.indices


def bootstrap():
    out = []
    for name, d in {
        # Not on a grid, and no resample that is a permutation: means that equal the sample's in exact arithmetic fall to either side
        # of it in scipy, by rounding.
        "symmetric": np.array([-0.2137, 0.1091, 0.4073, 0.0029, 0.3311, 0.2203]),
        "skewed": np.array([0.0113, 0.0241, 0.0207, 0.0319, 0.9043, 0.0523, 0.0167]),
        "accuracies": np.array([0.31093701, 0.28314159, 0.35471828, 0.02231847, 0.33010293, 0.30375561, 0.29270107, 0.34132029, 0.31190373, 0.36071911]),
    }.items():
        indices = rng.integers(0, len(d), (500, len(d)))
        indices = np.array([row for row in indices if len(set(row)) < len(d)])[:400]
        shared = indices.tolist()  # written once, with the first case
        for method in ["percentile", "BCa"]:
            for level in [0.95, 0.8]:
                r = stats.bootstrap((d,), np.mean, n_resamples=400, confidence_level=level, method=method, rng=Indices(indices))
                out.append({"name": name, "d": d.tolist(), "indices": shared, "resampled": name, "method": method, "level": level,
                            "low": float(r.confidence_interval.low), "high": float(r.confidence_interval.high)})
                shared = None
        # With many resamples of its own, for the comparison of BootstrapMean's own draws.
        for method in ["percentile", "BCa"]:
            r = stats.bootstrap((d,), np.mean, n_resamples=400_000, batch=20_000, confidence_level=0.95, method=method, rng=np.random.default_rng(1))
            out.append({"name": name + ", 400000 resamples", "d": d.tolist(), "indices": None, "resampled": "", "method": method, "level": 0.95,
                        "low": float(r.confidence_interval.low), "high": float(r.confidence_interval.high)})
    return out


def holm():
    out = []
    for p in [[0.01, 0.04, 0.03, 0.005], [0.5, 0.02], [0.2, 0.2, 0.2], [1.0], [0.001] * 5 + [0.9], rng.uniform(0, 0.2, 12).round(6).tolist()]:
        out.append({"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()})
    return out


def moments():
    out = []
    for x in [[1.5], [1.0, 2.0], [3.0, 1.0, 2.0, 10.0], rng.normal(1e6, 1e-2, 30).tolist()]:
        a = np.array(x)
        out.append({"x": x, "mean": float(a.mean()), "sd": float(a.std(ddof=1)) if len(x) > 1 else None, "median": float(np.median(a)),
                    "quantiles": [[q, float(np.quantile(a, q))] for q in [0, 0.05, 0.25, 1 / 3, 0.5, 0.9, 1]]})
    return out


def glm():
    """DeepCrime's test: metric ~ 1 + flag, Gaussian family, identity link, as statsmodels fits it."""
    own = np.random.default_rng(7)  # the other sections keep their samples
    out = []
    for name, x, y in [
        ("worse", own.normal(0.98, 0.003, 20).round(4), own.normal(0.95, 0.02, 20).round(4)),
        ("alike", own.normal(0.98, 0.003, 20).round(4), own.normal(0.98, 0.003, 20).round(4)),
        ("close to the level", own.normal(0, 1, 20).round(4), own.normal(0.6, 1, 20).round(4)),
        ("unequal sizes", own.normal(5, 1, 7).round(4), own.normal(3, 2, 12).round(4)),
        ("two each", np.array([0.1, 0.2]), np.array([0.4, 0.7])),
        ("one group constant", np.full(5, 0.1), np.array([0.9, 0.95, 0.91, 0.1, 0.93])),
    ]:
        flag = np.r_[np.zeros(len(x)), np.ones(len(y))]
        r = sm.GLM(np.r_[x, y], sm.add_constant(flag)).fit()
        out.append({"name": name, "x": x.tolist(), "y": y.tolist(), "coefficient": float(r.params[1]), "error": float(r.bse[1]),
                    "z": float(r.tvalues[1]), "p": float(r.pvalues[1])})
    return out


def jackknife():
    """The delete-a-group jackknife of a mean over groups of equal size is the one-sample t-test of the groups' means."""
    own = np.random.default_rng(11)
    out = []
    for name, x in [("accuracy gains", own.integers(-1, 2, (20, 5)).astype(float) + 0.2), ("clear", own.normal(1, 0.5, (20, 3)).round(4)),
                    ("two groups", np.array([[0.1], [0.3]])), ("worse", own.normal(-0.3, 1, (10, 4)).round(4))]:
        means = x.mean(axis=1)
        t = stats.ttest_1samp(means, 0, alternative="greater")
        without = [float(np.delete(x, g, axis=0).mean()) for g in range(len(x))]
        out.append({"name": name, "estimate": float(x.mean()), "without": without, "se": float(means.std(ddof=1) / np.sqrt(len(x))), "p": float(t.pvalue)})
    return out


golden = {
    "made_with": f"numpy {np.__version__}, scipy {scipy.__version__}, statsmodels {statsmodels.__version__}",
    "wilcoxon": wilcoxon(), "mann_whitney": mann_whitney(), "bootstrap": bootstrap(), "holm": holm(), "moments": moments(),
    "glm": glm(), "jackknife": jackknife(),
}
with open(sys.argv[1], "w") as f:
    sections = ",\n".join(f"{json.dumps(k)}: " + (json.dumps(v) if isinstance(v, str) else "[\n" + ",\n".join(json.dumps(c) for c in v) + "\n]")
                          for k, v in golden.items())
    f.write("{" + sections + "}\n")
