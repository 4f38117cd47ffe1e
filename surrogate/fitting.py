"""The hyperparameters of a Gaussian process, by botorch.

`import botorch` changes gpytorch's global settings, so every setting that
decides a number is stated here around the fit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

import botorch
import gpytorch
import numpy as np
import torch
from botorch.exceptions.errors import BotorchError
from botorch.models import SingleTaskGP
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from linear_operator.utils.errors import NanError, NotPSDError
from numpy.typing import NDArray

NOISE_START = 1e-2
SMALLEST_LENGTHSCALE = 1e-2


@dataclass(frozen=True)
class Hyperparameters:
    """Of a process on scaled labels: mean 0 and variance 1 over the training set."""

    lengthscale: float
    outputscale: float
    noise: float
    mean: float


def lengthscale_prior(p: int) -> LogNormalPrior:
    """Return the prior on the lengthscale for p features (Hvarfner et al., ICML 2024)."""
    return LogNormalPrior(math.sqrt(2) + 0.5 * math.log(p), math.sqrt(3))


def prior_mode(p: int, noise_floor: float) -> Hyperparameters:
    """Return the hyperparameters that are most likely before any label, for p features."""
    return Hyperparameters(
        lengthscale=math.exp(math.sqrt(2) + 0.5 * math.log(p) - 3.0),
        outputscale=1.0,
        noise=max(NOISE_START, noise_floor),
        mean=0.0,
    )


def fitted(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    previous: Hyperparameters | None,
    *,
    nu: float,
    noise_floor: float,
    max_iterations: int,
    seed: int,
    device: str = "cpu",
) -> tuple[Hyperparameters, tuple[str, ...]]:
    """Return the hyperparameters for X[n, p] and scaled y[n], and notes on what went wrong."""
    mode = prior_mode(X.shape[1], noise_floor)
    starts = (previous or mode, _scattered(mode, seed))
    notes: list[str] = []
    for start in starts:
        try:
            found = _maximised(X, y, start, nu, noise_floor, max_iterations, device)
        except (BotorchError, NanError, NotPSDError, ValueError, RuntimeError) as error:
            notes.append(f"a fit failed: {type(error).__name__}: {error}")
            continue
        if np.isfinite(astuple(found)).all():
            return found, tuple(notes)
        notes.append("a fit ended at hyperparameters that are not finite")
    kept = "the previous fit" if previous else "the prior's mode"
    return previous or mode, (*notes, f"hyperparameters are those of {kept}")


def _scattered(mode: Hyperparameters, seed: int) -> Hyperparameters:
    factor = float(np.exp(np.random.default_rng(seed).normal(scale=0.5)))
    return Hyperparameters(mode.lengthscale * factor, 1.0, mode.noise, 0.0)


def _maximised(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    start: Hyperparameters,
    nu: float,
    noise_floor: float,
    max_iterations: int,
    device: str,
) -> Hyperparameters:
    with stated_settings(), warnings.catch_warnings():
        # A search that stops at its limit, or adds a jitter on its way, is still the best found;
        # what is used in the end is factorised anew by the model, which notes its own jitter.
        warnings.simplefilter("ignore")
        model = _model(X, y, start, nu, noise_floor).to(device)
        mll = ExactMarginalLogLikelihood(model.likelihood, model)
        fit_gpytorch_mll_scipy(mll, options={"maxiter": max_iterations})
    return Hyperparameters(
        lengthscale=float(model.covar_module.base_kernel.lengthscale.item()),
        outputscale=float(model.covar_module.outputscale.item()),
        noise=float(model.likelihood.noise.item()),
        mean=float(model.mean_module.constant.item()),
    )


def _model(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    start: Hyperparameters,
    nu: float,
    noise_floor: float,
) -> SingleTaskGP:
    base = MaternKernel(
        nu=nu,
        lengthscale_prior=lengthscale_prior(X.shape[1]),
        lengthscale_constraint=GreaterThan(SMALLEST_LENGTHSCALE),
    )
    model = SingleTaskGP(
        torch.from_numpy(X),
        torch.from_numpy(y)[:, None],
        likelihood=GaussianLikelihood(noise_constraint=GreaterThan(noise_floor)),
        covar_module=ScaleKernel(base),
        outcome_transform=None,
    ).double()
    base.lengthscale = max(start.lengthscale, 2 * SMALLEST_LENGTHSCALE)
    model.covar_module.outputscale = start.outputscale
    model.likelihood.noise = max(start.noise, 2 * noise_floor)
    model.mean_module.constant.data.fill_(start.mean)
    return model


@contextmanager
def stated_settings() -> Iterator[None]:
    """Exact Cholesky algebra in double precision, whatever the global settings are."""
    with (
        gpytorch.settings.fast_computations(False, False, False),
        gpytorch.settings.max_cholesky_size(100_000),
        gpytorch.settings.max_eager_kernel_size(100_000),
        gpytorch.settings.cholesky_max_tries(6),
        botorch.settings.validate_input_scaling(False),
    ):
        yield
