"""Mean and standard deviation over a pool by torch, on a GPU or on as many cores as it is given.

The same numbers as :class:`Predictor` within rounding, all in double precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gpytorch.kernels import MaternKernel
from numpy.typing import NDArray

from leadline.surrogate.fitting import stated_settings
from leadline.surrogate.model import GaussianProcess

Array = NDArray[np.float64]

BLOCK = 8192
"""Candidates at a time: as many kernel rows are in the device's memory."""


def best_device() -> str:
    """Return the device of torch that is fastest here: a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class TorchPredictor:
    """Predicts by blocks what :meth:`GaussianProcess.predict` predicts at once.

    Parameters
    ----------
    model
        A model of n labels; the predictor keeps n × n numbers more on its device.
    device
        Of torch, e.g. ``cuda`` or ``cpu``.
    """

    def __init__(self, model: GaussianProcess, device: str) -> None:
        parameters = model.hyperparameters
        self.model = model
        self._device = torch.device(device)
        self._kernel = MaternKernel(nu=model.settings.nu).double().to(self._device)
        self._kernel.lengthscale = 1.0
        self._lengthscale = self._on_device(np.asarray(parameters.lengthscale))
        self._X = self._on_device(model.X)
        self._weights = self._on_device(model.weights)
        self._factor = self._on_device(model.factor)

    def predict_blocks(self, X: NDArray[Any], block: int = BLOCK) -> tuple[Array, Array]:
        """Return posterior mean[n] and standard deviation[n] at X[n, p], in units of y.

        X may be a memory map: `block` rows of it are in memory at a time.
        """
        mean, variance = np.empty(len(X)), np.empty(len(X))
        with torch.no_grad(), stated_settings():
            for start in range(0, len(X), block):
                rows = slice(start, start + block)
                mean[rows], variance[rows] = self._moments(self._on_device(X[rows]))
        return self.model.offset + self.model.scale * mean, self.model.scale * np.sqrt(variance)

    def _moments(self, X: torch.Tensor) -> tuple[Array, Array]:
        """Posterior mean and variance of scaled y."""
        parameters = self.model.hyperparameters
        slope = parameters.slope / X.shape[1]
        near = self._kernel(self._X / self._lengthscale, X / self._lengthscale).to_dense()
        cross = parameters.outputscale * near + slope * (self._X @ X.T)
        mean = parameters.mean + cross.T @ self._weights
        whitened = torch.linalg.solve_triangular(self._factor, cross, upper=False)
        prior = parameters.outputscale + slope * (X * X).sum(dim=1)
        variance = prior - (whitened * whitened).sum(dim=0)
        return mean.cpu().numpy(), variance.clamp(min=0.0).cpu().numpy()

    def _on_device(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.array(array, dtype=float)).to(self._device)
