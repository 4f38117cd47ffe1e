"""Laws that every surrogate obeys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leadline.surrogate.kernel import FORMS
from leadline.surrogate.model import GaussianProcess, ModelSettings

Array = NDArray[np.float64]
Fit = Callable[[Array, Array], GaussianProcess]

SURROGATES: dict[str, Fit] = {
    f"Gaussian process, {form}, nu = {nu}": lambda X, y, nu=nu, form=form: GaussianProcess.fit(  # type: ignore[misc]
        X, y, settings=ModelSettings(nu=nu, form=form)
    )
    for nu in (0.5, 1.5, 2.5)
    for form in FORMS
}


@pytest.fixture(params=sorted(SURROGATES))
def fit(request: pytest.FixtureRequest) -> Fit:
    return SURROGATES[request.param]


def data(n: int = 40, seed: int = 0) -> tuple[Array, Array]:
    X = np.random.default_rng(seed).normal(size=(n, 3))
    return X, np.sin(X).sum(axis=1)


def test_the_same_data_give_the_same_numbers(fit: Fit) -> None:
    points = data(20, seed=1)[0]
    for one, other in zip(fit(*data()).predict(points), fit(*data()).predict(points), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_order_of_the_labels_does_not_matter(fit: Fit) -> None:
    X, y = data()
    points = data(20, seed=1)[0]
    mean, sd = fit(X, y).predict(points)
    other_mean, other_sd = fit(X[::-1].copy(), y[::-1].copy()).predict(points)
    np.testing.assert_allclose(other_mean, mean, atol=1e-3)
    np.testing.assert_allclose(other_sd, sd, atol=1e-3)


def test_what_is_saved_is_loaded_with_the_same_numbers(fit: Fit, tmp_path: Path) -> None:
    model = fit(*data())
    model.save(tmp_path / "model.npz")
    loaded = GaussianProcess.load(tmp_path / "model.npz")
    points = data(20, seed=1)[0]
    for one, other in zip(loaded.predict(points), model.predict(points), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded.joint(points)[1], model.joint(points)[1])
    assert loaded.hyperparameters == model.hyperparameters
    assert loaded.notes == model.notes


def test_the_deviation_grows_away_from_the_data(fit: Fit) -> None:
    direction = np.array([[1.0, 0.0, 0.0]])
    _, sd = fit(*data()).predict(np.vstack([step * direction for step in (0, 3, 10, 100)]))
    assert np.all(np.diff(sd) > 0)


def test_a_label_narrows_the_belief_about_its_neighbours(fit: Fit) -> None:
    X, y = data()
    model = fit(X[:30], y[:30])
    before, after = model.predict(X[30:])[1], model.update(X[30:], y[30:]).predict(X[30:])[1]
    assert np.all(after < before)


def test_a_joint_covariance_is_symmetric_and_not_negative(fit: Fit) -> None:
    _, covariance = fit(*data()).joint(data(30, seed=1)[0])
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_the_units_of_the_labels_do_not_matter(fit: Fit) -> None:
    X, y = data()
    points = data(20, seed=1)[0]
    mean, sd = fit(X, y).predict(points)
    other_mean, other_sd = fit(X, 96.485 * y).predict(points)
    np.testing.assert_allclose(other_mean, 96.485 * mean, atol=0.1)
    np.testing.assert_allclose(other_sd, 96.485 * sd, atol=0.1)
