from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from leadline.surrogate.model import GaussianProcess, ModelSettings
from leadline.surrogate.selection import fit_chosen, scores

Array = NDArray[np.float64]


def features(n: int, p: int = 3) -> Array:
    return np.random.default_rng(0).normal(size=(n, p))


def rough(X: Array) -> Array:
    """Depends on the distance from the origin alone."""
    return np.asarray(np.cos(2 * np.linalg.norm(X, axis=1)))


def of_one_feature(X: Array) -> Array:
    return np.asarray(np.sin(4 * X[:, 0]))


def tilted(X: Array) -> Array:
    return np.asarray(X @ [3.0, -2.0, 1.0] + 0.05 * np.random.default_rng(1).normal(size=len(X)))


@pytest.mark.parametrize(("truth", "form"), [(of_one_feature, "ard"), (tilted, "isotropic+linear")])
def test_the_form_that_made_the_labels_is_found(truth: object, form: str) -> None:
    X = features(60)
    found = fit_chosen(X, truth(X))  # type: ignore[operator]
    assert found.settings.form == form
    assert found.notes[-1].startswith(f"the kernel is {form}; log density of a left-out label")


@pytest.mark.parametrize("seed", range(5))
def test_more_hyperparameters_must_be_earned(seed: int) -> None:
    X = features(60)
    y = rough(X) + 0.3 * np.random.default_rng(seed).normal(size=60)
    found = fit_chosen(X, y)
    assert found.settings.form == "isotropic"
    assert "against isotropic: ard " in found.notes[-1]


def test_the_scores_are_the_densities_of_labels_left_out_one_by_one() -> None:
    X = features(12)
    y = 7.0 + 5.0 * rough(X)
    model = GaussianProcess.fit(X, y)
    found = scores(model)
    for out in range(12):
        rest = np.arange(12) != out
        others = GaussianProcess(
            X[rest],
            y[rest],
            model.hyperparameters,
            offset=model.offset,
            scale=model.scale,
            settings=model.settings,
        )
        (mean,), (sd,) = others.predict(X[[out]])
        density = norm.logpdf(y[out], mean, np.hypot(sd, model.noise_sd)) + np.log(model.scale)
        assert found[out] == pytest.approx(density - 4 / 12, abs=1e-6)


def test_the_units_of_the_labels_do_not_decide() -> None:
    X = features(40)
    small, large = fit_chosen(X, rough(X)), fit_chosen(X, 1e4 * rough(X) - 3.0)
    assert small.settings.form == large.settings.form
    np.testing.assert_allclose(scores(small), scores(large), atol=0.1)


@pytest.mark.parametrize(("n", "p"), [(9, 3), (40, 11), (40, 1)])
def test_a_lengthscale_for_each_feature_needs_labels(n: int, p: int) -> None:
    X = features(n, p)
    notes = fit_chosen(X, of_one_feature(X)).notes
    assert not any("ard" in note for note in notes)
    assert bool(notes) is (n >= 10)


def test_a_form_that_is_asked_for_is_not_compared() -> None:
    X = features(40)
    found = fit_chosen(X, tilted(X), settings=ModelSettings(nu=1.5), choice="isotropic")
    assert (found.settings.form, found.settings.nu, found.notes) == ("isotropic", 1.5, ())
