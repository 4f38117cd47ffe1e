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

from leadline.surrogate.kernel import covariance, variance
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
        self.model = model
        inverse = scipy.linalg.lapack.dtrtri(model.factor, lower=1)[0]
        self._whitening = np.asfortranarray(inverse)

    def predict_blocks(self, X: NDArray[Any], block: int = BLOCK) -> tuple[Array, Array]:
        """Return posterior mean[n] and standard deviation[n] at X[n, p], in units of y.

        X may be a memory map: `block` rows of it are in memory at a time.
        """
        mean, left = np.empty(len(X)), np.empty(len(X))
        for start in range(0, len(X), block):
            rows = slice(start, start + block)
            mean[rows], left[rows] = self._moments(np.asarray(X[rows], dtype=float))
        return self.model.offset + self.model.scale * mean, self.model.scale * np.sqrt(left)

    def _moments(self, X: Array) -> tuple[Array, Array]:
        """Posterior mean and variance of scaled y."""
        parameters = self.model.hyperparameters
        cross = covariance(X, self.model.X, parameters, self.model.settings.nu)
        mean = parameters.mean + cross @ self.model.weights
        whitened = scipy.linalg.blas.dtrmm(1.0, self._whitening, cross.T, lower=1, overwrite_b=1)
        left = variance(X, parameters) - np.einsum("ij,ij->j", whitened, whitened)
        return mean, np.maximum(left, 0.0)
