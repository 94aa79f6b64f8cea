"""Records what HEBO 0.3.5, GPy, GPyTorch, pymoo and scipy say, for the tests of repair/technique/hebo. Environment: as in compare_hebo.py.

    .deps/hebo/bin/python scripts/golden_hebo.py repair/technique/hebo/testdata/golden.json
"""
import json
import math
import sys
import warnings

import numpy as np
import pandas as pd
import scipy
import torch
from scipy.stats import qmc
from sklearn.preprocessing import power_transform

warnings.filterwarnings("ignore")

import GPy
import gpytorch
import hebo
from hebo.acquisitions.acq import MACE
from hebo.design_space.design_space import DesignSpace
from hebo.models.gp.gp import GPyTorchModel
from hebo.models.gp.gpy_wgp import GPyGP
from hebo.models.nn.sgld import pSGLD
from hebo.optimizers import hebo as optimizer
from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival, calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

rng = np.random.default_rng(7)


def tolist(x):
    return np.asarray(x.detach() if torch.is_tensor(x) else x, float).tolist()


def transforms():
    samples = {
        "normal": rng.normal(0, 1, 20),
        "positive, skewed": rng.lognormal(0, 1.5, 25),
        "accuracies, negated": -np.round(rng.beta(2, 5, 30), 4),
        "one good of many bad": -np.array([0.1] * 12 + [0.98]),
        "losses with an outlier": np.append(rng.lognormal(0, 0.3, 15), 5e4),
        "far from zero": 100 + rng.normal(0, 0.1, 12),
        "two": np.array([1.0, 3.0]),
        "mixed signs, skewed": rng.exponential(3, 18) - 1,
    }
    out = []
    for name, y in samples.items():
        y = y.reshape(-1, 1)
        method = "yeo-johnson" if y.min() <= 0 else "box-cox"  # the lines of suggest, in double precision
        try:
            t = power_transform(y / y.std(), method=method)
        except RuntimeError:  # of scipy 1.11 and later; scipy up to 1.10 goes on with the bracket that it has
            print("no bracket for", name)
            continue
        if method == "box-cox" and torch.tensor(t).std() < 0.5:
            method, t = "yeo-johnson", power_transform(y / y.std(), method="yeo-johnson")
        c = {"name": name, "y": tolist(y.ravel()), "method": method}
        c["out"] = tolist(t.ravel()) if torch.tensor(t).std() >= 0.5 else None
        out.append(c)
    return out


def sobol():
    out = {"plain": [], "scrambled": []}
    for d, n in [(1, 64), (8, 64), (40, 32)]:
        out["plain"].append(tolist(qmc.Sobol(d, scramble=False, bits=30).random(n)))
    d, seed = 5, 11
    g = torch.Generator()
    g.manual_seed(seed)
    bits = torch.quasirandom.SobolEngine.MAXBIT
    shift = torch.randint(2, (d, bits), generator=g)
    lower = torch.randint(2, (d, bits, bits), generator=g).tril()
    engine = torch.quasirandom.SobolEngine(d, scramble=True, seed=seed)
    out["scrambled"] = {"shift": torch.mv(shift, torch.pow(2, torch.arange(0, bits))).tolist(), "lower": lower.tolist(),
                        "points": tolist(engine.draw(32, dtype=torch.float64))}
    return out


SPACE = [{"name": "x", "type": "num", "lb": -2, "ub": 3}, {"name": "k", "type": "int", "lb": 1, "ub": 9}, {"name": "r", "type": "pow", "lb": 1e-4, "ub": 1},
         {"name": "c", "type": "cat", "categories": [0, 1, 2]}, {"name": "d", "type": "cat", "categories": [0, 1, 2, 3]}]


def points(n):
    return pd.DataFrame({"x": rng.uniform(-2, 3, n), "k": rng.integers(1, 10, n), "r": 10 ** rng.uniform(-4, 0, n), "c": rng.integers(0, 3, n),
                         "d": rng.choice([0, 1, 3], n)})  # one choice is never seen


def data():
    space = DesignSpace().parse(SPACE)
    X, T = points(14), points(6)
    T.loc[5, "d"] = 2
    y = np.sin(X["x"]) + 0.1 * X["k"] + (X["c"] == 1) * 0.5 + np.log10(X["r"]) * 0.2 + rng.normal(0, 0.05, 14)
    y = np.asarray(y).reshape(-1, 1)

    def both(f):
        xc, xe = space.transform(f)
        return torch.from_numpy(np.stack([f["x"], f["k"], np.log10(f["r"])], 1).astype(float)), xe

    return space, X, y, T, both


def warped():
    space, X, y, T, both = data()
    torch.set_default_dtype(torch.float64)  # the scalers' casts to float32 are left out
    torch.FloatTensor, keep = torch.DoubleTensor, torch.FloatTensor
    import hebo.models.gp.gpy_wgp as w
    import hebo.models.scalers as s
    w.FloatTensor = torch.DoubleTensor
    space.__class__.opt_lb = property(lambda self: torch.tensor([self.paras[p].opt_lb for p in self.numeric_names + self.enum_names], dtype=torch.float64))
    space.__class__.opt_ub = property(lambda self: torch.tensor([self.paras[p].opt_ub for p in self.numeric_names + self.enum_names], dtype=torch.float64))
    torch.Tensor.float = lambda self: self.double()
    m = GPyGP(3, 2, 1, num_uniqs=[3, 4], space=space, num_epochs=1, num_restarts=1, warp=True)
    held = GPy.models.InputWarpedGP.optimize_restarts
    GPy.models.InputWarpedGP.optimize_restarts = lambda self, **kw: None  # the parameters are those before training
    m.fit(*both(X), torch.tensor(y))
    GPy.models.InputWarpedGP.optimize_restarts = held

    def state():
        gp = m.gp
        out = {"linear": float(gp.kern.linear.variances[0]), "matern": float(gp.kern.Mat32.variance[0]), "noise": float(gp.likelihood.variance[0]),
               "lengthscale": tolist(gp.kern.Mat32.lengthscale), "a": [float(p[0][0]) for p in gp.warping_function.params],
               "b": [float(p[1][0]) for p in gp.warping_function.params]}
        n = X.shape[0]
        out["objective"] = float(gp.objective_function())
        g = gp._transform_gradients(gp.objective_function_gradients())
        names = gp.parameter_names_flat()
        out["gradient"] = {str(k): float(v) for k, v in zip(names, g)}
        out["warped"] = tolist(gp.X)
        out["covariance"] = tolist(gp.kern.K(gp.X))
        mu, var = m.predict(*both(T))
        out["mean"], out["variance"], out["observation_noise"] = tolist(mu.ravel()), tolist(var.ravel()), float(m.noise[0])
        return out

    states = [state()]
    gp = m.gp
    for _ in range(2):
        gp.kern.linear.variances = rng.uniform(0.2, 2)
        gp.kern.Mat32.variance = rng.uniform(0.2, 2)
        gp.likelihood.variance = rng.uniform(0.005, 0.1)
        gp.kern.Mat32.lengthscale = rng.uniform(0.3, 2, 10)
        for a, b in gp.warping_function.params:
            a[:] = rng.uniform(0.3, 3)
            b[:] = rng.uniform(0.3, 3)
        states.append(state())
    np.random.seed(3)
    gp.optimize_restarts(max_iters=200, verbose=False, num_restarts=10, robust=True)
    trained = float(gp.objective_function())
    return {"x": tolist(X), "y": tolist(y.ravel()), "test": tolist(T), "states": states, "trained": trained}


def plain():
    space, X, y, T, both = data()
    torch.set_default_dtype(torch.float64)
    xc, xe = both(X)
    tc, te = both(T)
    lo, hi = xc.min(0).values, xc.max(0).values
    scale = lambda x: 2 * (x - lo) / (hi - lo) - 1
    mean, std = y.mean(), y.std()
    yt = torch.tensor((y - mean) / std)
    lik = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=gpytorch.constraints.GreaterThan(8e-4),
                                                  noise_prior=gpytorch.priors.LogNormalPrior(np.log(0.01), 0.5))
    torch.manual_seed(5)
    gp = GPyTorchModel(scale(xc), xe, yt, lik, num_uniqs=[3, 4]).double()
    gp.likelihood.noise = 1e-2
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(lik, gp)
    names = [n for n, _ in gp.named_parameters()]

    def state(predict):
        gp.train(), lik.train()
        gp.zero_grad()
        loss = -mll(gp(scale(xc), xe), yt.squeeze())
        loss.backward()
        out = {"parameters": {n: tolist(p.reshape(-1)) for n, p in gp.named_parameters()},
               "gradient": {n: tolist(p.grad.reshape(-1)) for n, p in gp.named_parameters()}, "loss": float(loss)}
        if predict:
            gp.eval(), lik.eval()
            with torch.no_grad(), gpytorch.settings.fast_pred_var():
                pred = gp(scale(tc), te)
            out["mean"], out["variance"] = tolist(pred.mean * std + mean), tolist(pred.variance * std ** 2)
            out["observation_noise"] = float(lik.noise) * std ** 2
        return out

    with gpytorch.settings.cholesky_jitter(double_value=1e-8):
        states = [state(True)]
        opt = pSGLD(gp.parameters(), lr=0.01, factor=1. / 14, pretrain_step=100)  # no noise in these steps
        for _ in range(30):
            gp.train(), lik.train()

            def closure():
                loss = -mll(gp(scale(xc), xe), yt.squeeze())
                opt.zero_grad()
                loss.backward()
                return loss
            opt.step(closure)
        states.append(state(True))
    return {"x": tolist(X), "y": tolist(y.ravel()), "test": tolist(T), "names": names, "states": states}


class Fixed:
    num_out = 1

    def __init__(self, mean, variance, noise):
        self.mean, self.variance, self.noise = mean, variance, torch.tensor([noise])

    def predict(self, x, xe):
        return self.mean.clone(), self.variance.clone()


def mace():
    out = []
    for noise in [0.0, 0.04]:
        mean = torch.tensor(np.concatenate([rng.normal(0, 1, 20), [3, 8, 40, -5, 1e3]])).view(-1, 1)
        variance = torch.tensor(np.concatenate([rng.lognormal(-2, 2, 20), [1, 1, 1, 1e-14, 1e-3]])).view(-1, 1)
        torch.manual_seed(9)
        first, second = torch.randn(mean.shape), torch.randn(mean.shape)
        torch.manual_seed(9)
        f = MACE(Fixed(mean, variance, noise), best_y=-0.7, kappa=1.9).eval(torch.zeros(25, 0), torch.zeros(25, 0).long())
        out.append({"noise": noise, "tau": -0.7, "kappa": 1.9, "mean": tolist(mean.ravel()), "variance": tolist(variance.ravel()),
                    "first": tolist(first.ravel()), "second": tolist(second.ravel()), "out": tolist(f)})
    return out


def kappas():
    out = []

    class Recorder(MACE):
        def __init__(self, model, best_y, **conf):
            out.append([self.n, self.batch, 5, float(conf["kappa"])])
            raise KeyboardInterrupt

    for n, batch in [(6, 1), (6, 8), (20, 1), (50, 8), (400, 3)]:
        o = optimizer.HEBO(DesignSpace().parse(SPACE), model_name="rf", acq_cls=MACE)
        Recorder.n, Recorder.batch = n, batch
        o.acq_cls = MACE
        X = points(n)
        o.observe(X, np.asarray(X["x"]).reshape(-1, 1))
        original, optimizer.MACE = optimizer.MACE, Recorder
        o.acq_cls = Recorder
        try:
            o.suggest(batch)
        except KeyboardInterrupt:
            pass
        optimizer.MACE = original
    return out


def sorting():
    F = np.round(rng.normal(0, 1, (40, 3)), 1)  # with ties
    F[7] = F[3]
    fronts = NonDominatedSorting().do(F, n_stop_if_ranked=30)
    return {"f": F.tolist(), "fronts": [sorted(map(int, f)) for f in fronts],
            "crowding": [[None if math.isinf(v) else v for v in calc_crowding_distance(F[sorted(f)])] for f in fronts]}


def mating():
    from hebo.acq_optimizers.evolution_optimizer import space_to_pymoo_vars
    from pymoo.core.individual import Individual
    from pymoo.core.mixed import MixedVariableMating
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem
    parents = [[0.5, 3, 1e-3, 0, 2], [1.5, 7, 1e-1, 2, 1]]
    names = [p["name"] for p in SPACE]
    pop = Population.create(*[Individual(X=dict(zip(names, [x, k, math.log10(r), c, d]))) for x, k, r, c, d in parents])
    np.random.seed(1)
    n = 20000
    off = MixedVariableMating()._do(Problem(vars=space_to_pymoo_vars(DesignSpace().parse(SPACE))), pop, n)
    cuts, below = [], []
    for name in names:
        v = np.array([float(o.X[name]) for o in off])
        values = np.unique(v)
        cut = values[1:] - 0.5 if len(values) < 20 else np.unique(np.round(np.quantile(v, np.linspace(0.02, 0.98, 25)), 3)) + 0.0005
        cuts.append(tolist(cut))
        below.append([float((v < c).mean()) for c in cut])
    return {"n": n, "parents": parents, "cuts": cuts, "below": below}


if __name__ == "__main__":
    golden = {"versions": {"hebo": "0.3.5", "GPy": GPy.__version__, "gpytorch": gpytorch.__version__, "torch": torch.__version__.split("+")[0],
                           "scipy": scipy.__version__},
              "transforms": transforms(), "sobol": sobol(), "kappas": kappas(), "sorting": sorting(), "mating": mating(), "plain": plain(), "mace": mace(), "warped": warped()}
    json.dump(golden, open(sys.argv[1], "w"), separators=(",", ":"))
