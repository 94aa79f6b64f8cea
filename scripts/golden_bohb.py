"""Records what HpBandSter's BOHB does, for the tests of repair/technique/bohb.

    python3.11 -m venv .deps/hpbandster
    .deps/hpbandster/bin/pip install 'hpbandster==0.7.4' 'ConfigSpace==0.6.1' 'numpy<2' 'scipy<1.13' 'statsmodels<0.15' 'setuptools<70'
    .deps/hpbandster/bin/python scripts/golden_bohb.py repair/technique/bohb/testdata/golden.json

The code is the original's, run without its network: brackets and proposals are asked for in the order of core/master.py's loop. All that it
draws comes from one stream of uniform numbers, the generator below, which the Go test has too; so whole searches can be compared.
"""
import json
import logging
import math
import sys
import warnings

import ConfigSpace as CS
import ConfigSpace.util
import hpbandster.core.master
import numpy as np
import scipy
import scipy.stats as sps
import statsmodels
import statsmodels.api as sm
from hpbandster.optimizers.bohb import BOHB

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")


ARGSORT = np.argsort


class Stream:
    """Knuth's MMIX generator; the upper 53 bits of its state are a uniform number."""

    def __init__(self, seed):
        self.state = seed

    def __call__(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) * 2.0**-53

    def integer(self, n):
        return min(n - 1, int(self() * n))


def number(x):
    x = float(x)
    return x if math.isfinite(x) else {math.inf: "+Inf", -math.inf: "-Inf"}.get(x, "NaN")


def numbers(v):
    return [number(x) for x in v]


# Spaces: kind, then choices, or bounds; condition as [dimension, choices].
SPACES = {
    "mixed": [("choice", 3), ("linear", -2, 5), ("log", 1e-5, 1), ("integer", 1, 9)],
    "choices": [("choice", 11), ("choice", 2), ("choice", 1), ("choice", 13), ("choice", 7)],
    "conditions": [("choice", 2), ("linear", 0, 1, [0, [0]]), ("choice", 3, [0, [1]]), ("log", 0.1, 10, [2, [0, 2]])],
    "numbers": [("linear", 0, 1), ("linear", 0, 1), ("linear", 0, 1)],
}


def configspace(dims):
    cs = CS.ConfigurationSpace()
    hps = []
    for i, d in enumerate(dims):
        # ConfigSpace sorts by name; conditions then keep this order, since parents come before their children.
        name = "%s%02d" % ("p", i)
        if d[0] == "choice":
            hps.append(CS.CategoricalHyperparameter(name, list(range(d[1]))))
        elif d[0] == "integer":
            hps.append(CS.UniformIntegerHyperparameter(name, d[1], d[2]))
        else:
            hps.append(CS.UniformFloatHyperparameter(name, d[1], d[2], log=d[0] == "log"))
    cs.add_hyperparameters(hps)
    for i, d in enumerate(dims):
        if isinstance(d[-1], list):
            cs.add_condition(CS.InCondition(hps[i], hps[d[-1][0]], d[-1][1]))
    assert cs.get_hyperparameter_names() == [h.name for h in hps], cs.get_hyperparameter_names()
    return cs


def uniform(cs, dims, draw):
    """Replaces ConfigurationSpace.sample_configuration: the same distribution, from the stream."""
    values = {}
    for i, d in enumerate(dims):
        hp = cs.get_hyperparameter("p%02d" % i)
        if d[0] == "choice":
            values[hp.name] = hp.choices[draw.integer(d[1])]
        elif d[0] == "integer":
            values[hp.name] = d[1] + int(draw() * (d[2] - d[1] + 1))
        else:
            values[hp.name] = hp._transform(draw())
    return ConfigSpace.util.deactivate_inactive_hyperparameters(values, cs)


def install(draw):
    """Makes the original draw from the stream."""
    np.random.rand = lambda: draw()
    np.random.randint = lambda a, b=None: draw.integer(a) if b is None else a + draw.integer(b - a)
    np.random.choice = lambda v: v[draw.integer(len(v))]
    # numpy leaves the order of equal losses open; the Go code does not.
    np.argsort = lambda v: ARGSORT(v, kind="stable")
    sps.truncnorm.rvs = lambda a, b, loc, scale: float(sps.truncnorm.ppf(draw(), a, b, loc=loc, scale=scale))


def without_network(self, config_generator=None, **_):
    self.config_generator, self.config, self.iterations = config_generator, {}, []


hpbandster.core.master.Master.__init__ = without_network
hpbandster.core.master.Master.__del__ = lambda self: None


class Job:
    exception, timestamps = None, {}

    def __init__(self, id, config, budget, loss):
        self.id, self.kwargs = id, {"config": config, "budget": budget}
        self.result = None if loss is None else {"loss": loss}


def loss_of(dims, vector, budget):
    """A made-up loss of a vector; some fail."""
    v = [0.3 if math.isnan(x) else x / (d[1] - 1) if d[0] == "choice" and d[1] > 1 else x for d, x in zip(dims, vector)]
    y = sum((x - 0.2 - 0.1 * i) ** 2 for i, x in enumerate(v)) + 0.5 * (1 - budget) * math.sin(40 * sum(v))
    return None if y > 1.1 else y


def search(name, seed, runs, width, **settings):
    dims, draw, order = SPACES[name], Stream(seed), Stream(seed + 1)
    cs = configspace(dims)
    cs.sample_configuration = lambda: uniform(cs, dims, draw)
    install(draw)
    hb = BOHB(configspace=cs, **settings)
    out, events, ids, configs = [], [], {}, {}
    for k in range(runs):
        nxt = None
        for it in [i for i in hb.iterations if not i.is_finished]:
            nxt = it.get_next_run()
            if nxt is not None:
                break
        if nxt is None:
            hb.iterations.append(hb.get_next_iteration(len(hb.iterations), {}))
            it = hb.iterations[-1]
            nxt = it.get_next_run()
        cid, config, budget = nxt
        vector = CS.Configuration(cs, config).get_array()
        number_ = configs.setdefault(cid, len(configs))
        events.append({"config": number_, "previous": ids.get(cid, -1), "bracket": cid[0], "stage": it.stage, "budget": budget,
                       "vector": numbers(vector), "model": bool(it.data[cid].config_info.get("model_based_pick"))})
        ids[cid] = k
        out.append((k, it, Job(cid, config, budget, loss_of(dims, vector, budget))))
        while len(out) >= width:
            i, it_, job = out.pop(order.integer(len(out)))
            it_.register_result(job)
            hb.config_generator.new_result(job)
            events.append({"tell": i, "loss": "NaN" if job.result is None else job.result["loss"]})
    models = [{"budget": b, "good": numbers(m["good"].bw), "bad": numbers(m["bad"].bw), "goods": len(m["good"].data), "bads": len(m["bad"].data)}
              for b, m in sorted(hb.config_generator.kde_models.items())]
    return {"space": name, "seed": seed, "width": width, "settings": settings, "events": events, "models": models}


def schedules():
    out = []
    for lo, hi, eta in [(0.01, 1, 3), (1, 1, 3), (1, 3, 3), (1, 9, 3), (1, 27, 3), (1, 81, 3), (1, 243, 3), (3, 81, 3), (1, 100, 3), (2, 50, 2), (1, 16, 2),
                        (1, 64, 4), (1. / 81, 1, 3), (0.02, 1, 3), (0.3, 1, 2), (5, 12, 3), (0.004, 1, 5)]:
        hb = BOHB(configspace=configspace(SPACES["numbers"]), min_budget=lo, max_budget=hi, eta=eta)
        brackets = []
        for i in range(2 * hb.max_SH_iter + 1):
            it = hb.get_next_iteration(i, {})
            brackets.append({"configs": [int(n) for n in it.num_configs], "budgets": numbers(it.budgets)})
        out.append({"min": lo, "max": hi, "eta": eta, "stages": hb.max_SH_iter, "budgets": numbers(hb.budgets), "brackets": brackets})
    return out


def splits():
    """Sizes of the good and the bad part by number of observations: of a space of three dimensions, and with more points asked for."""
    out = []
    for points in [None, 2, 10]:
        for n in range(1, 120):
            hb = BOHB(configspace=configspace(SPACES["numbers"]), min_points_in_model=points)
            cg, draw = hb.config_generator, Stream(n)
            for i in range(n):
                cg.new_result(Job((0, 0, i), {"p%02d" % j: draw() for j in range(3)}, 1.0, draw()), update_model=i == n - 1)
            m = cg.kde_models.get(1.0)
            out.append([points or 0, n, len(m["good"].data) if m else 0, len(m["bad"].data) if m else 0])
    return out


def densities():
    """Bandwidths, densities and g/l of the original's models at points: data, of types c and u, in the cube."""
    out = []
    rng = np.random.RandomState(7)
    for types, levels, n in [("c", [0], 5), ("cc", [0, 0], 12), ("cu", [0, 3], 20), ("uuc", [11, 2, 0], 30), ("uu", [13, 1], 9), ("cuuc", [0, 4, 2, 0], 60),
                             ("ccccc", [0] * 5, 40)]:
        def draw(k):
            return np.array([[rng.randint(l) if l else rng.rand() for l in levels] for _ in range(k)], float)
        good, bad, points = draw(n), draw(3 * n), draw(12)
        if types == "cc":
            good[:, 1] = 0.25  # one value: the least bandwidth
        if types == "cu":
            bad[:, 1] = 1  # one choice: an infinite density at the others
        kdes = []
        for data in (good, bad):
            k = sm.nonparametric.KDEMultivariate(data=data, var_type=types, bw="normal_reference")
            k.bw = np.clip(k.bw, 1e-3, None)
            kdes.append(k)
        l, g = kdes[0].pdf, kdes[1].pdf
        ratio = lambda x: max(1e-32, g(x)) / max(l(x), 1e-32)
        out.append({"types": types, "good": good.tolist(), "bad": bad.tolist(), "bw_good": numbers(kdes[0].bw), "bw_bad": numbers(kdes[1].bw),
                    "points": points.tolist(), "l": [number(l(x)) for x in points], "g": [number(g(x)) for x in points],
                    "ratio": [number(ratio(x)) for x in points]})
    return out


def truncated():
    out = []
    for m in [0, 1e-3, 0.2, 0.5, 0.97, 1]:
        for sd in [3e-3, 0.05, 0.7, 3]:
            for u in [0, 1e-9, 1e-3, 0.3, 0.5, 0.77, 0.999]:
                out.append([m, sd, u, float(sps.truncnorm.ppf(u, -m / sd, (1 - m) / sd, loc=m, scale=sd))])
    return out


def main():
    golden = {"by": f"hpbandster 0.7.4, ConfigSpace {CS.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, statsmodels {statsmodels.__version__}",
              "schedules": schedules(), "splits": splits(), "densities": densities(), "truncated": truncated(),
              "spaces": {k: [list(d) for d in v] for k, v in SPACES.items()},
              "searches": [search("mixed", 11, 150, 1, min_budget=0.01, max_budget=1), search("mixed", 12, 150, 4, min_budget=1, max_budget=9),
                           search("choices", 13, 60, 1, min_budget=1, max_budget=1), search("conditions", 14, 120, 1, min_budget=1, max_budget=1),
                           search("conditions", 15, 150, 3, min_budget=1, max_budget=27), search("numbers", 16, 60, 1, min_budget=1, max_budget=1)]}
    text = json.dumps(golden, separators=(",", ":"))
    with open(sys.argv[1], "w") as f:
        f.write(text.replace('{"min"', '\n{"min"').replace('{"types"', '\n{"types"').replace('{"space"', '\n{"space"') + "\n")
    for s in golden["searches"]:
        asks = [e for e in s["events"] if "config" in e]
        print(s["space"], len(asks), "runs,", sum(e["model"] for e in asks), "by the model,", sum(e.get("loss") == "NaN" for e in s["events"]), "failed, models on",
              [m["budget"] for m in s["models"]])


main()
