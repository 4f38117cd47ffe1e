"""The kernels of a Gaussian process in plain arrays: Matérn, and a linear part where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Form = Literal["isotropic", "ard", "isotropic+linear"]
"""One lengthscale; one for each feature (automatic relevance determination); one and a slope."""
FORMS: tuple[Form, ...] = get_args(Form)
SMOOTHNESSES = (0.5, 1.5, 2.5)


@dataclass(frozen=True)
class Hyperparameters:
    """Of a process on scaled labels: mean 0 and variance 1 over the training set.

    Parameters
    ----------
    lengthscale
        In prepared features: one number, or p of them.
    outputscale
        Variance of the Matérn part.
    noise
        Variance of a label about the function.
    mean
        Constant mean.
    slope
        Variance that the linear part has where each feature is one; 0 without such a part.
    """

    lengthscale: float | tuple[float, ...]
    outputscale: float
    noise: float
    mean: float
    slope: float = 0.0

    @property
    def form(self) -> Form:
        """Name of the kernel that has these."""
        if isinstance(self.lengthscale, tuple):
            return "ard"
        return "isotropic+linear" if self.slope else "isotropic"

    @property
    def count(self) -> int:
        """How many numbers were fitted."""
        lengthscales = len(self.lengthscale) if isinstance(self.lengthscale, tuple) else 1
        return lengthscales + 3 + (self.slope > 0)


def covariance(A: Array, B: Array, parameters: Hyperparameters, nu: float) -> Array:
    """Return the prior covariance of scaled y between A[a, p] and B[b, p], float64[a, b]."""
    lengthscale = np.asarray(parameters.lengthscale)
    found = matern(A / lengthscale, B / lengthscale, nu)
    found *= parameters.outputscale
    if parameters.slope:
        found += (parameters.slope / A.shape[1]) * (A @ B.T)
    return found


def variance(A: Array, parameters: Hyperparameters) -> Array:
    """Return the prior variance of scaled y at A[a, p], float64[a]: the kernel's diagonal."""
    linear = parameters.slope / A.shape[1] * np.einsum("ij,ij->i", A, A)
    return np.asarray(parameters.outputscale + linear)


def matern(A: Array, B: Array, nu: float) -> Array:
    """Return the Matérn correlation of A[a, p] and B[b, p], already over the lengthscale.

    With r = √(2ν) |a - b|: exp(-r) for ν = 1/2, (1 + r) exp(-r) for 3/2 and
    (1 + r + r²/3) exp(-r) for 5/2 (Rasmussen and Williams, eq. 4.17).
    """
    r: Array = A @ (-2 * B.T)
    r += np.einsum("ij,ij->i", A, A)[:, None]
    r += np.einsum("ij,ij->i", B, B)[None, :]
    np.maximum(r, 0, out=r)
    r *= 2 * nu
    np.sqrt(r, out=r)
    decay: Array = np.exp(-r)
    if nu != 0.5:
        decay *= 1 + r if nu == 1.5 else 1 + r * (1 + r / 3)
    return decay
