"""Which form of the kernel the labels speak for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from leadline.surrogate.calibration import leave_one_out
from leadline.surrogate.kernel import FORMS, Form
from leadline.surrogate.model import GaussianProcess, ModelSettings

Array = NDArray[np.float64]

Choice = Form | Literal["auto"]
CHOICES: tuple[Choice, ...] = ("auto", *FORMS)

ENOUGH_TO_COMPARE = 10
"""Labels below which the isotropic kernel is taken without a comparison."""
LABELS_A_LENGTHSCALE = 4
"""Labels for each feature from which every feature may have a lengthscale of its own."""
SURE = 2.0
"""Standard errors by which another form must be better than the isotropic one."""


def fit_chosen(
    X: ArrayLike,
    y: ArrayLike,
    warm: GaussianProcess | None = None,
    settings: ModelSettings | None = None,
    choice: Choice = "auto",
    device: str = "cpu",
) -> GaussianProcess:
    """Fit the form asked for, or the one that left-out labels speak for.

    Forms are compared by the logarithm of the density of each label given all others, less
    its share of one for each hyperparameter, since those were fitted to the same labels.
    Another form than the isotropic one must be better by two standard errors of the paired
    difference: what flatters a flexible kernel by chance predicts worse. The ``notes`` of the
    winner hold the comparison.

    Raises
    ------
    FitError
        As in :meth:`GaussianProcess.fit`.
    """
    settings = settings or ModelSettings()
    features = np.asarray(X)
    forms = _candidates(*features.shape) if choice == "auto" else (choice,)
    fits = [
        GaussianProcess.fit(X, y, warm=warm, settings=replace(settings, form=form), device=device)
        for form in forms
    ]
    if len(fits) == 1:
        return fits[0]
    return _compared(fits[0], fits[1:])


def scores(model: GaussianProcess) -> Array:
    """Return the log density of each label left out, less its share of the hyperparameters.

    Of labels scaled to the variance one, so that it has no unit; float64[n].
    """
    mean, sd = leave_one_out(model)
    density = norm.logpdf(model.y, mean, sd) + np.log(model.scale)
    return np.asarray(density - model.hyperparameters.count / model.training_size)


def _candidates(n: int, p: int) -> tuple[Form, ...]:
    """Return the forms to compare, the isotropic one first."""
    if n < ENOUGH_TO_COMPARE:
        return FORMS[:1]
    return tuple(form for form in FORMS if form != "ard" or 1 < p <= n / LABELS_A_LENGTHSCALE)


def _compared(plain: GaussianProcess, others: Sequence[GaussianProcess]) -> GaussianProcess:
    gains = {fit.settings.form: scores(fit) - scores(plain) for fit in others}
    best, sure = plain, 0.0
    for fit in others:
        gain = gains[fit.settings.form]
        bound = gain.mean() - SURE * gain.std(ddof=1) / np.sqrt(len(gain))
        if bound > sure:
            best, sure = fit, bound
    told = ", ".join(
        f"{form} {gain.mean():+.2f} ± {gain.std(ddof=1) / np.sqrt(len(gain)):.2f}"
        for form, gain in gains.items()
    )
    return best.noted(
        f"the kernel is {best.settings.form}; log density of a left-out label against "
        f"isotropic: {told}"
    )
