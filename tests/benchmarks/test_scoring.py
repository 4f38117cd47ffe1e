"""One million candidates scored, beside botorch's batched posterior call.

Small by default; ``LEADLINE_BENCHMARK=full`` scores the whole million.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from numpy.typing import NDArray

from leadline.surrogate.fitting import stated_settings
from leadline.surrogate.kernel import Hyperparameters
from leadline.surrogate.model import GaussianProcess, ModelSettings
from leadline.surrogate.predict import Predictor

LABELS, FEATURES, MILLION = 1_000, 100, 1_000_000
PEER_CANDIDATES = 500
REPEATS = 3
RATIO = 50
AGREEMENT = 1e-4


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def trained() -> GaussianProcess:
    X = np.random.default_rng(0).normal(size=(LABELS, FEATURES))
    y = np.sin(X[:, 0]) + X[:, 1]
    values = Hyperparameters(lengthscale=20.0, outputscale=2.0, noise=1e-3, mean=0.1)
    return GaussianProcess(
        X, (y - y.mean()) / y.std(), values, offset=0.0, scale=1.0, settings=ModelSettings()
    )


def same_in_botorch(model: GaussianProcess) -> SingleTaskGP:
    peer = SingleTaskGP(
        torch.from_numpy(model.X),
        torch.from_numpy(model.y)[:, None],
        likelihood=GaussianLikelihood(),
        covar_module=ScaleKernel(MaternKernel(nu=2.5)),
        outcome_transform=None,
    ).double()
    peer.covar_module.base_kernel.lengthscale = model.hyperparameters.lengthscale
    peer.covar_module.outputscale = model.hyperparameters.outputscale
    peer.likelihood.noise = model.hyperparameters.noise
    peer.mean_module.constant.data.fill_(model.hyperparameters.mean)
    return peer.eval()


def batched_posterior(
    peer: SingleTaskGP, X: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with stated_settings(), torch.no_grad():
        posterior = peer.posterior(torch.from_numpy(X.astype(float))[:, None, :])
        return posterior.mean.flatten().numpy(), posterior.variance.sqrt().flatten().numpy()


@pytest.mark.benchmark
@pytest.mark.filterwarnings("ignore::botorch.exceptions.warnings.InputDataWarning")
def test_scoring_is_fifty_times_faster_than_batched_posteriors(tmp_path: Path) -> None:
    full = os.environ.get("LEADLINE_BENCHMARK") == "full"
    candidates = MILLION if full else MILLION // 50
    pool = np.lib.format.open_memmap(
        tmp_path / "pool.npy", mode="w+", dtype=np.float32, shape=(candidates, FEATURES)
    )
    rng = np.random.default_rng(1)
    for start in range(0, candidates, 10_000):
        pool[start : start + 10_000] = rng.normal(size=(10_000, FEATURES))
    model = trained()
    sample = np.vstack([pool[: PEER_CANDIDATES - 50], model.X[:50]]).astype(np.float32)
    peer = same_in_botorch(model)
    mean, sd = Predictor(model).predict_blocks(sample)
    peer_mean, peer_sd = batched_posterior(peer, sample)
    deviation = max(np.abs(mean - peer_mean).max(), np.abs(sd - peer_sd).max()) / model.y.std()

    peer_seconds = min(cpu_seconds(lambda: batched_posterior(peer, sample)) for _ in range(REPEATS))
    repeats = 1 if full else REPEATS
    seconds = min(
        cpu_seconds(lambda: Predictor(model).predict_blocks(pool)) for _ in range(repeats)
    )
    million, peer_million = (
        MILLION * seconds / candidates,
        MILLION * peer_seconds / PEER_CANDIDATES,
    )
    print(
        f"\n{MILLION} candidates, {LABELS} labels, {FEATURES} features, CPU: "
        f"leadline {million:.1f} s (timed on {candidates}), "
        f"botorch batched {peer_million:.0f} s (timed on {PEER_CANDIDATES}), "
        f"ratio {peer_million / million:.0f}; they differ by {deviation:.1e} sd(y)"
    )
    assert deviation < AGREEMENT
    assert peer_million / million > RATIO
