"""Mean and standard deviation for pools of millions, in memory bounded by the block.

The inverse of the training set's Cholesky factor is kept, so that a block of
candidates costs one kernel and one triangular product. It is all in double
precision: the variance is a small difference of large numbers close to the
training points, and single precision saves a third of the time only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from leadline.surrogate.kernel import matern
from leadline.surrogate.model import GaussianProcess

Array = NDArray[np.float64]

BLOCK = 512


class Predictor:
    """Predicts by blocks what :meth:`GaussianProcess.predict` predicts at once.

    Parameters
    ----------
    model
        A model of n labels; the predictor keeps n × n numbers more.
    """

    def __init__(self, model: GaussianProcess) -> None:
        parameters = model.hyperparameters
        self.model = model
        self._lengthscale = parameters["lengthscale"]
        self._X = model.X / self._lengthscale
        self._prior_mean = parameters["mean"]
        self._outputscale = parameters["outputscale"]
        inverse = scipy.linalg.lapack.dtrtri(model.factor, lower=1)[0]
        self._whitening = np.asfortranarray(self._outputscale * inverse)

    def predict_blocks(self, X: NDArray[Any], block: int = BLOCK) -> tuple[Array, Array]:
        """Return posterior mean[n] and standard deviation[n] at X[n, p], in units of y.

        X may be a memory map: `block` rows of it are in memory at a time.
        """
        mean, variance = np.empty(len(X)), np.empty(len(X))
        for start in range(0, len(X), block):
            rows = slice(start, start + block)
            mean[rows], variance[rows] = self._moments(X[rows])
        return self.model.offset + self.model.scale * mean, self.model.scale * np.sqrt(variance)

    def _moments(self, X: NDArray[Any]) -> tuple[Array, Array]:
        """Posterior mean and variance of scaled y."""
        scaled = np.asarray(X, dtype=float) / self._lengthscale
        cross = matern(scaled, self._X, self.model.settings.nu)
        mean = self._prior_mean + self._outputscale * (cross @ self.model.weights)
        whitened = scipy.linalg.blas.dtrmm(1.0, self._whitening, cross.T, lower=1, overwrite_b=1)
        variance = self._outputscale - np.einsum("ij,ij->j", whitened, whitened)
        return mean, np.maximum(variance, 0.0)
