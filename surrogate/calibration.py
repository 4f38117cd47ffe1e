"""Whether the model's uncertainty can be believed.

Two sources of predictions are scored: leave-one-out over the training set, and
the prequential ones that were recorded before their labels were known. Chosen
labels are not a random sample, so that the second is the honest one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from leadline.surrogate.errors import SurrogateError

if TYPE_CHECKING:  # torch takes seconds to import, and who reads scores needs none
    from leadline.surrogate.model import GaussianProcess

Array = NDArray[np.float64]

LEVELS = np.linspace(0.01, 0.99, 99)
OUTLIER = 4.0


def leave_one_out(model: GaussianProcess) -> tuple[Array, Array]:
    """Return mean[n] and standard deviation[n] for every label from all the others.

    With K the kernel with noise, the mean is yᵢ - [K⁻¹y]ᵢ / [K⁻¹]ᵢᵢ and the
    variance 1 / [K⁻¹]ᵢᵢ (Rasmussen and Williams, eq. 5.12); the standard
    deviation is that of a label, noise included. Hyperparameters stay.
    """
    inverse = scipy.linalg.cho_solve((model.factor, True), np.eye(model.training_size))
    precision = np.diag(inverse)
    return model.y - model.scale * model.weights / precision, model.scale / np.sqrt(precision)


def calibration_metrics(y: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> dict[str, float | None]:
    """Score predictions mean[n] and sd[n] > 0 against labels y[n].

    Returns
    -------
    dict
        ``rmse``, ``mae``, ``sharpness`` (root mean variance) and ``crps``
        (Gneiting and Raftery, JASA 102, 359, 2007, eq. 21) in units of y;
        ``nll`` a label; ``z_std``, the root mean square of z = (y - mean) / sd;
        ``coverage_50`` and ``coverage_95``; ``miscalibration_area`` between
        observed and expected coverage over 99 levels (0 is perfect, 0.5 the
        worst); ``error_sd_rank_correlation`` of Spearman. None where undefined.

    Raises
    ------
    SurrogateError
        If shapes differ, a number is not finite, or a sd is not positive.
    """
    labels, means, sds = _checked(y, mean, sd)
    if not len(labels):
        return dict.fromkeys(METRICS)
    error, z = labels - means, (labels - means) / sds
    inside = np.abs(z)[:, None] <= norm.ppf(0.5 + LEVELS / 2)[None, :]
    scores: dict[str, Any] = {
        "rmse": np.sqrt(np.mean(error**2)),
        "mae": np.mean(np.abs(error)),
        "nll": np.mean(0.5 * z**2 + np.log(sds) + 0.5 * np.log(2 * np.pi)),
        "crps": np.mean(sds * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - np.pi**-0.5)),
        "z_std": np.sqrt(np.mean(z**2)),
        "coverage_50": np.mean(np.abs(z) <= norm.ppf(0.75)),
        "coverage_95": np.mean(np.abs(z) <= norm.ppf(0.975)),
        "miscalibration_area": np.mean(np.abs(inside.mean(axis=0) - LEVELS)),
        "sharpness": np.sqrt(np.mean(sds**2)),
        "error_sd_rank_correlation": _rank_correlation(np.abs(error), sds),
    }
    return {name: None if score is None else float(score) for name, score in scores.items()}


METRICS = (
    "rmse",
    "mae",
    "nll",
    "crps",
    "z_std",
    "coverage_50",
    "coverage_95",
    "miscalibration_area",
    "sharpness",
    "error_sd_rank_correlation",
)


def flag_outliers(
    y: ArrayLike, mean: ArrayLike, sd: ArrayLike, limit: float = OUTLIER
) -> NDArray[np.bool_]:
    """Return which labels lie further than `limit` standard deviations off, bool[n].

    For a second look and a calculation anew, never for silent removal.

    Raises
    ------
    SurrogateError
        As in :func:`calibration_metrics`.
    """
    labels, means, sds = _checked(y, mean, sd)
    return np.asarray(np.abs(labels - means) > limit * sds)


def _rank_correlation(a: Array, b: Array) -> float | None:
    ranks = np.array([rankdata(a), rankdata(b)])
    if np.any(np.ptp(ranks, axis=1) == 0):
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _checked(y: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> tuple[Array, Array, Array]:
    labels, means, sds = (np.asarray(values, dtype=float) for values in (y, mean, sd))
    if not labels.ndim == 1 or not labels.shape == means.shape == sds.shape:
        raise SurrogateError(
            f"labels have shape {labels.shape}, means {means.shape} and deviations {sds.shape}; "
            "three rows of one length are needed"
        )
    finite = np.isfinite(labels) & np.isfinite(means) & np.isfinite(sds) & (sds > 0)
    if not finite.all():
        raise SurrogateError(
            f"{np.count_nonzero(~finite)} of {len(labels)} predictions have a number that is not "
            "finite or a standard deviation that is not positive; leave them out"
        )
    return labels, means, sds
