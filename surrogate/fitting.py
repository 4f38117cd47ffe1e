"""The hyperparameters of a Gaussian process, by botorch.

`import botorch` changes gpytorch's global settings, so every setting that
decides a number is stated here around the fit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import botorch
import gpytorch
import numpy as np
import torch
from botorch.exceptions.errors import BotorchError
from botorch.models import SingleTaskGP
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import AdditiveKernel, Kernel, LinearKernel, MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from linear_operator.utils.errors import NanError, NotPSDError
from numpy.typing import NDArray

from leadline.surrogate.kernel import Form, Hyperparameters

NOISE_START = 1e-2
SMALLEST_LENGTHSCALE = 1e-2
SLOPE_START = 0.3


def lengthscale_prior(p: int) -> LogNormalPrior:
    """Return the prior on the lengthscale for p features (Hvarfner et al., ICML 2024)."""
    return LogNormalPrior(math.sqrt(2) + 0.5 * math.log(p), math.sqrt(3))


def slope_prior(p: int) -> LogNormalPrior:
    """Return the prior on the variance of the linear part for one of p features."""
    return LogNormalPrior(math.log(SLOPE_START / p) + 1.0, 1.0)


def prior_mode(p: int, noise_floor: float, form: Form = "isotropic") -> Hyperparameters:
    """Return the hyperparameters that are most likely before any label, for p features."""
    lengthscale = math.exp(math.sqrt(2) + 0.5 * math.log(p) - 3.0)
    return Hyperparameters(
        lengthscale=(lengthscale,) * p if form == "ard" else lengthscale,
        outputscale=1.0,
        noise=max(NOISE_START, noise_floor),
        mean=0.0,
        slope=SLOPE_START if form == "isotropic+linear" else 0.0,
    )


def fitted(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    previous: Hyperparameters | None,
    *,
    form: Form,
    nu: float,
    noise_floor: float,
    max_iterations: int,
    seed: int,
    device: str = "cpu",
) -> tuple[Hyperparameters, tuple[str, ...]]:
    """Return the hyperparameters for X[n, p] and scaled y[n], and notes on what went wrong.

    ``previous`` ones are begun with where they are of the same form.
    """
    mode = prior_mode(X.shape[1], noise_floor, form)
    previous = previous if previous and previous.form == form else None
    starts = (previous or mode, _scattered(mode, seed))
    notes: list[str] = []
    for start in starts:
        try:
            found = _maximised(X, y, start, nu, noise_floor, max_iterations, device)
        except (BotorchError, NanError, NotPSDError, ValueError, RuntimeError) as error:
            notes.append(f"a fit failed: {type(error).__name__}: {error}")
            continue
        if _finite(found):
            return found, tuple(notes)
        notes.append("a fit ended at hyperparameters that are not finite")
    kept = "the previous fit" if previous else "the prior's mode"
    return previous or mode, (*notes, f"hyperparameters are those of {kept}")


def _scattered(mode: Hyperparameters, seed: int) -> Hyperparameters:
    factor = float(np.exp(np.random.default_rng(seed).normal(scale=0.5)))
    lengthscale = np.asarray(mode.lengthscale) * factor
    return replace(mode, lengthscale=_plain(lengthscale))


def _plain(lengthscale: NDArray[np.float64]) -> float | tuple[float, ...]:
    return tuple(lengthscale.tolist()) if lengthscale.ndim else float(lengthscale)


def _finite(found: Hyperparameters) -> bool:
    numbers = [np.ravel(found.lengthscale), [found.outputscale, found.noise, found.mean]]
    return bool(np.isfinite(np.concatenate([*numbers, [found.slope]])).all())


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
        matern, linear = _matern(X.shape[1], start, nu), _linear(X.shape[1], start)
        kernel = AdditiveKernel(matern, linear) if linear else matern
        model = _model(X, y, start, kernel, noise_floor).to(device)
        mll = ExactMarginalLogLikelihood(model.likelihood, model)
        fit_gpytorch_mll_scipy(mll, options={"maxiter": max_iterations})
    lengthscale = matern.base_kernel.lengthscale.detach().cpu().numpy().ravel()
    ard = start.form == "ard"
    return Hyperparameters(
        lengthscale=_plain(lengthscale if ard else lengthscale[0]),
        outputscale=float(matern.outputscale.item()),
        noise=float(model.likelihood.noise.item()),
        mean=float(model.mean_module.constant.item()),
        slope=float(linear.variance.item()) * X.shape[1] if linear else 0.0,
    )


def _matern(p: int, start: Hyperparameters, nu: float) -> ScaleKernel:
    base = MaternKernel(
        nu=nu,
        ard_num_dims=p if start.form == "ard" else None,
        lengthscale_prior=lengthscale_prior(p),
        lengthscale_constraint=GreaterThan(SMALLEST_LENGTHSCALE),
    )
    kernel = ScaleKernel(base).double()
    smallest = np.maximum(start.lengthscale, 2 * SMALLEST_LENGTHSCALE)
    base.lengthscale = torch.as_tensor(smallest, dtype=torch.float64)
    kernel.outputscale = start.outputscale
    return kernel


def _linear(p: int, start: Hyperparameters) -> LinearKernel | None:
    if not start.slope:
        return None
    kernel = LinearKernel(variance_prior=slope_prior(p)).double()
    kernel.variance = start.slope / p
    return kernel


def _model(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    start: Hyperparameters,
    kernel: Kernel,
    noise_floor: float,
) -> SingleTaskGP:
    model = SingleTaskGP(
        torch.from_numpy(X),
        torch.from_numpy(y)[:, None],
        likelihood=GaussianLikelihood(noise_constraint=GreaterThan(noise_floor)),
        covar_module=kernel,
        outcome_transform=None,
    ).double()
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
