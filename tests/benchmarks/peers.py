"""What people would use instead, on the same data, behind the same oracle.

Each peer is a rule from what is known to the next picks: scikit-learn's Gaussian
process or random forest with a lower confidence bound to the hull of the known (as in
CAMD), and botorch's qLogEI on the formation energy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition.logei import qLogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize, Standardize
from botorch.optim.optimize import optimize_acqf_discrete
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from leadline.flows.backtest_data import BacktestData
from leadline.flows.backtest_oracle import Oracle
from leadline.surrogate.hull import Hull
from leadline.tasks.propose import start_picks

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Round:
    """What a peer may see: features and fractions of all, labels of the known."""

    X: Floats
    fractions: Floats | None
    known: NDArray[np.int64]
    y: Floats
    free: NDArray[np.int64]
    q: int
    seed: int

    def lower_bound(self, mean: Floats, sd: Floats) -> Floats:
        """Return mean - sd of the free rows, for a hull over the known hull."""
        bound = mean - sd
        if self.fractions is None:
            return bound
        hull = Hull.from_energies(self.fractions[self.known], self.y)
        return bound - hull.energy_at(self.fractions[self.free])


Peer = Callable[[Round], NDArray[np.int64]]


def sklearn_gp(seen: Round) -> NDArray[np.int64]:
    """Isotropic Matérn-5/2 with white noise, lower confidence bound, the q best."""
    scale = np.sqrt(seen.X.shape[1])
    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * Matern(
        scale, (1e-2 * scale, 1e2 * scale), nu=2.5
    ) + WhiteKernel(1e-3, (1e-8, 1e0))
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seen.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a hyperparameter at its bound is the peer's own affair
        model.fit(seen.X[seen.known], seen.y)
        mean, sd = model.predict(seen.X[seen.free], return_std=True)
    return _best(seen, seen.lower_bound(mean, sd))


def random_forest(seen: Round) -> NDArray[np.int64]:
    """A hundred trees, whose spread is the uncertainty, lower confidence bound, the q best."""
    forest = RandomForestRegressor(100, random_state=seen.seed, n_jobs=1)
    forest.fit(seen.X[seen.known], seen.y)
    trees = np.array([tree.predict(seen.X[seen.free]) for tree in forest.estimators_])
    return _best(seen, seen.lower_bound(trees.mean(axis=0), trees.std(axis=0)))


def botorch_qlogei(seen: Round, considered: int = 200) -> NDArray[np.int64]:
    """SingleTaskGP with its defaults; sequential qLogEI over the most promising candidates."""
    torch.manual_seed(seen.seed)
    X = torch.tensor(seen.X, dtype=torch.double)
    y = -torch.tensor(seen.y, dtype=torch.double)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SingleTaskGP(
            X[seen.known],
            y,
            outcome_transform=Standardize(1),
            input_transform=Normalize(X.shape[1]),
        )
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(model.likelihood, model),
            optimizer_kwargs={"options": {"maxiter": 40}},
        )
        with torch.no_grad():
            posterior = model.posterior(X[seen.free])
            mean, sd = posterior.mean[:, 0].numpy(), posterior.variance[:, 0].sqrt().numpy()
        z = (mean - float(y.max())) / sd
        improvement = sd * (z * norm.cdf(z) + norm.pdf(z))
        chosen = seen.free[np.lexsort((-mean, -improvement))[:considered]]
        rule = qLogExpectedImprovement(
            model, float(y.max()), sampler=SobolQMCNormalSampler(torch.Size([64]), seed=seen.seed)
        )
        picks, _ = optimize_acqf_discrete(rule, seen.q, choices=X[chosen], unique=True)
    rows = [int(((X[chosen] - pick) ** 2).sum(dim=1).argmin()) for pick in picks]
    return _filled(seen, chosen[np.array(list(dict.fromkeys(rows)))])


PEERS: dict[str, Peer] = {
    "sklearn-gp": sklearn_gp,
    "random-forest": random_forest,
    "botorch-qlogei": botorch_qlogei,
}


def peer_order(
    peer: Peer,
    X: Floats,
    data: BacktestData,
    seed: int,
    *,
    hull: bool,
    sign: int = 1,
    batch: int = 10,
    start: int = 10,
    budget: int = 200,
) -> list[int]:
    """Return the rows that a peer picks, in order, from the start that ours has."""
    oracle = Oracle(data, "peer", seed)
    rng = np.random.default_rng((seed, 0))
    first = start_picks(data.pool, start, rng, data.given.tolist())
    oracle.record([pick.row for pick in first])
    while len(oracle.picked) < budget:
        known = np.concatenate([data.given, np.array(oracle.picked)])
        seen = Round(
            X=X,
            fractions=data.pool.fractions if hull else None,
            known=known,
            y=sign * oracle.reveal(known),
            free=np.setdiff1d(np.arange(len(data.pool)), known),
            q=min(batch, budget - len(oracle.picked)),
            seed=seed,
        )
        oracle.record(peer(seen).tolist())
    return oracle.picked


def standardised(features: NDArray[np.float32]) -> Floats:
    """Return columns of mean zero and variance one; constant ones are dropped."""
    wide = features.astype(np.float64)
    varying = wide.std(axis=0) > 1e-9
    return np.asarray(
        (wide[:, varying] - wide[:, varying].mean(axis=0)) / wide[:, varying].std(axis=0)
    )


def _best(seen: Round, bound: Floats) -> NDArray[np.int64]:
    return seen.free[np.argsort(bound, kind="stable")[: seen.q]]


def _filled(seen: Round, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return q rows: where equal features hid a pick, the next free row takes its place."""
    rest = np.setdiff1d(seen.free, rows)
    return np.concatenate([rows, rest[: seen.q - len(rows)]])
