from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import gpytorch
import numpy as np
import pytest
import torch
from gpytorch.kernels import MaternKernel
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from leadline.surrogate import fitting
from leadline.surrogate.errors import FitError
from leadline.surrogate.fitting import prior_mode
from leadline.surrogate.kernel import FORMS, Form, Hyperparameters, covariance, matern, variance
from leadline.surrogate.model import GaussianProcess, ModelSettings

Array = NDArray[np.float64]


def data(n: int = 40, p: int = 3, seed: int = 0) -> tuple[Array, Array]:
    X = np.random.default_rng(seed).normal(size=(n, p))
    return X, 5.0 + 2.0 * (np.sin(X[:, 0]) + 0.3 * X[:, 1] ** 2)


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_the_kernel_is_that_of_gpytorch(nu: float) -> None:
    A, B = data(6)[0], data(9, seed=1)[0]
    kernel = MaternKernel(nu=nu).double()
    kernel.lengthscale = torch.tensor(1.0, dtype=torch.float64)
    expected = kernel(torch.from_numpy(A), torch.from_numpy(B)).to_dense().detach().numpy()
    np.testing.assert_allclose(matern(A, B, nu), expected, atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_kernel_is_that_of_its_hyperparameters(form: Form) -> None:
    model = GaussianProcess.fit(*data(), settings=ModelSettings(form=form))
    found = model.hyperparameters
    assert (found.form, found.count) == (form, {"isotropic": 4, "ard": 6}.get(form, 5))
    A = data(5, seed=1)[0]
    np.testing.assert_allclose(
        np.diag(covariance(A, A, found, 2.5)), variance(A, found), atol=1e-12
    )


def test_a_lengthscale_of_its_own_tells_what_a_feature_is_worth() -> None:
    model = GaussianProcess.fit(*data(80), settings=ModelSettings(form="ard"))
    first, second, third = np.ravel(model.hyperparameters.lengthscale)
    assert first < second < third / 5


def test_a_slope_is_learned_beyond_the_data() -> None:
    X = np.linspace(-1, 1, 20)[:, None]
    model = GaussianProcess.fit(X, 3 * X[:, 0], settings=ModelSettings(form="isotropic+linear"))
    assert model.predict(np.array([[4.0]]))[0] == pytest.approx(12.0, rel=0.05)


def test_a_slope_is_the_textbook_linear_kernel() -> None:
    A, B = data(4)[0], data(5, seed=1)[0]
    values = Hyperparameters(lengthscale=(1.0, 2.0, 4.0), outputscale=2.0, noise=0.1, mean=0.0)
    bent = covariance(A, B, values, 1.5)
    np.testing.assert_allclose(bent, 2.0 * matern(A / [1, 2, 4], B / [1, 2, 4], 1.5))
    sloping = covariance(A, B, replace(values, slope=0.6), 1.5)
    np.testing.assert_allclose(sloping - bent, 0.2 * A @ B.T, atol=1e-12)


def test_the_posterior_is_the_textbook_one() -> None:
    X, y = data(12)
    points = data(5, seed=1)[0]
    values = Hyperparameters(lengthscale=1.5, outputscale=2.0, noise=0.1, mean=0.2)
    model = GaussianProcess(X, y, values, offset=4.0, scale=3.0, settings=ModelSettings())
    K = 2.0 * matern(X / 1.5, X / 1.5, 2.5) + 0.1 * np.eye(12)
    k = 2.0 * matern(points / 1.5, X / 1.5, 2.5)
    expected_mean = 4.0 + 3.0 * (0.2 + k @ np.linalg.inv(K) @ ((y - 4.0) / 3.0 - 0.2))
    expected_cov = 9.0 * (
        2.0 * matern(points / 1.5, points / 1.5, 2.5) - k @ np.linalg.inv(K) @ k.T
    )
    mean, covariance = model.joint(points)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-9)
    np.testing.assert_allclose(covariance, expected_cov, atol=1e-9)


def test_predict_joint_and_cross_covariance_agree() -> None:
    model = GaussianProcess.fit(*data())
    points = data(7, seed=1)[0]
    mean, sd = model.predict(points)
    joint_mean, covariance = model.joint(points)
    np.testing.assert_allclose(joint_mean, mean)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), sd, rtol=1e-6)
    np.testing.assert_allclose(
        model.cross_covariance(points[:3], points[3:]), covariance[:3, 3:], atol=1e-12
    )


def test_a_smooth_function_is_learned_to_a_hundredth_of_its_spread() -> None:
    model = GaussianProcess.fit(*data(150))
    points, truth = data(200, seed=1)
    mean, sd = model.predict(points)
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.05 * truth.std()
    assert np.mean(np.abs(mean - truth) < 1.96 * np.hypot(sd, model.noise_sd)) > 0.9


def test_the_fit_maximises_the_posterior_density() -> None:
    X, y = data()
    model = GaussianProcess.fit(X, y)

    def density(**changed: float) -> float:
        values = asdict(model.hyperparameters) | changed
        other = GaussianProcess(
            X,
            y,
            Hyperparameters(**values),
            offset=model.offset,
            scale=model.scale,
            settings=model.settings,
        )
        log_prior = fitting.lengthscale_prior(3).log_prob(torch.tensor(values["lengthscale"]))
        return float(
            -0.5 * other.residuals @ other.weights
            - np.log(np.diag(other.factor)).sum()
            + float(log_prior)
        )

    best = density()
    for name in ("lengthscale", "outputscale", "mean"):
        for factor in (0.9, 1.1):
            assert density(**{name: factor * getattr(model.hyperparameters, name)}) < best + 1e-3


def test_repeatable_labels_reach_the_floor_of_the_noise() -> None:
    X = np.linspace(-2, 2, 30)[:, None]
    for floor in (1e-6, ModelSettings().noise_floor):
        model = GaussianProcess.fit(X, np.sin(X[:, 0]), settings=ModelSettings(noise_floor=floor))
        assert floor <= model.hyperparameters.noise < 10 * floor
    assert model.noise_sd == pytest.approx(
        np.sin(X[:, 0]).std() * np.sqrt(model.hyperparameters.noise)
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_labels_are_enough(n: int) -> None:
    X, y = data(n)
    model = GaussianProcess.fit(X, y)
    mean, sd = model.predict(X)
    assert np.isfinite(mean).all()
    assert np.all(sd > 0)
    assert model.training_size == n


def test_equal_labels_leave_the_model_uncertain_away_from_them() -> None:
    X, _ = data(10)
    model = GaussianProcess.fit(X, np.full(10, -3.25))
    mean, sd = model.predict(np.vstack([X[:1], X[:1] + 100.0]))
    np.testing.assert_allclose(mean, -3.25)
    assert sd[1] > 5 * sd[0]
    assert "all labels are equal" in model.notes[0]


def test_duplicate_rows_with_different_labels_are_noise() -> None:
    X, y = data(10)
    model = GaussianProcess.fit(np.vstack([X, X]), np.concatenate([y, y + 0.5]))
    assert model.noise_sd > 0.1


@pytest.mark.filterwarnings("error")
def test_exact_duplicates_do_not_break_the_fit() -> None:
    X, y = data(10)
    model = GaussianProcess.fit(np.vstack([X] * 4), np.concatenate([y] * 4))
    assert model.notes == ()
    np.testing.assert_allclose(model.predict(X)[0], y, atol=0.1)


def test_an_update_is_the_posterior_of_all_labels_with_the_same_hyperparameters() -> None:
    X, y = data()
    model = GaussianProcess.fit(X[:30], y[:30])
    updated = model.update(X[30:], y[30:])
    assert updated.hyperparameters == model.hyperparameters
    assert updated.training_size == 40
    assert model.training_size == 30
    assert np.abs(updated.predict(X[30:])[0] - y[30:]).max() < 0.1
    assert np.all(updated.predict(X[30:])[1] < model.predict(X[30:])[1])


def test_a_warm_refit_ends_where_a_cold_one_ends() -> None:
    X, y = data(60)
    warm = GaussianProcess.fit(X, y, warm=GaussianProcess.fit(X[:40], y[:40]))
    cold = GaussianProcess.fit(X, y)
    assert warm.hyperparameters.lengthscale == pytest.approx(
        cold.hyperparameters.lengthscale, rel=0.05
    )


def test_a_shift_of_the_labels_shifts_the_mean_alone() -> None:
    X, y = data()
    points = data(7, seed=1)[0]
    mean, sd = GaussianProcess.fit(X, y).predict(points)
    moved_mean, moved_sd = GaussianProcess.fit(X, 1000 * y - 5e4).predict(points)
    np.testing.assert_allclose(moved_mean, 1000 * mean - 5e4, rtol=1e-4)
    np.testing.assert_allclose(moved_sd, 1000 * sd, rtol=1e-2)


def _fails(*_: object, **__: object) -> Hyperparameters:
    raise RuntimeError("the search broke")


def test_a_failed_fit_keeps_the_previous_hyperparameters_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = data()
    before = GaussianProcess.fit(X[:30], y[:30])
    monkeypatch.setattr(fitting, "_maximised", _fails)
    after = GaussianProcess.fit(X, y, warm=before)
    assert after.hyperparameters == before.hyperparameters
    assert after.notes == (
        "a fit failed: RuntimeError: the search broke",
        "a fit failed: RuntimeError: the search broke",
        "hyperparameters are those of the previous fit",
    )


def test_a_failed_first_fit_takes_the_mode_of_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_maximised", _fails)
    model = GaussianProcess.fit(*data())
    assert model.hyperparameters == prior_mode(3, 1e-6)
    assert model.notes[-1] == "hyperparameters are those of the prior's mode"


def test_a_kernel_that_is_not_positive_definite_gets_a_jitter_and_a_note() -> None:
    X, y = data(20)
    values = Hyperparameters(lengthscale=1e6, outputscale=1.0, noise=0.0, mean=0.0)
    model = GaussianProcess(X, y, values, offset=0.0, scale=1.0, settings=ModelSettings())
    assert model.jitter > 0
    assert "jitter" in model.notes[0]


def test_global_settings_of_gpytorch_do_not_change_the_fit() -> None:
    expected = GaussianProcess.fit(*data()).hyperparameters
    with (
        gpytorch.settings.fast_computations(True, True, True),
        gpytorch.settings.max_cholesky_size(5),
    ):
        assert GaussianProcess.fit(*data()).hyperparameters == expected


def test_a_file_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", about=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FitError, match=r"no checkpoint of a model: .*allow_pickle=False"):
        GaussianProcess.load(tmp_path / "model.npz")


def test_another_number_of_features_is_refused_in_an_update() -> None:
    model = GaussianProcess.fit(*data())
    with pytest.raises(FitError, match="further labels have 2 features, the model has 3"):
        model.update(np.zeros((1, 2)), [0.0])


@pytest.mark.parametrize(
    ("X", "y"), [(np.zeros((0, 3)), []), (np.zeros((3, 2)), [1.0]), (np.zeros(3), [1.0] * 3)]
)
def test_labels_and_features_that_do_not_match_are_refused(X: Array, y: list[float]) -> None:
    with pytest.raises(FitError, match="a fit needs X"):
        GaussianProcess.fit(X, y)


def test_a_label_that_is_not_a_number_is_refused() -> None:
    X, y = data()
    y[3] = np.nan
    with pytest.raises(FitError, match="1 of 40 labels and 0 of 120 features are not finite"):
        GaussianProcess.fit(X, y)


@given(
    arrays(float, (6, 2), elements=st.floats(-8, 8)),
    arrays(float, 6, elements=st.floats(-1e3, 1e3)),
)
@settings(max_examples=25, deadline=None)
def test_any_finite_data_give_finite_predictions(X: Array, y: Array) -> None:
    model = GaussianProcess.fit(X, y)
    mean, sd = model.predict(np.vstack([X, X + 1.0]))
    assert np.isfinite(mean).all()
    assert np.isfinite(sd).all()


def test_a_checkpoint_with_another_number_of_lengthscales_is_refused(tmp_path: Path) -> None:
    model = GaussianProcess.fit(*data(), settings=ModelSettings(form="ard"))
    narrow = GaussianProcess(
        model.X[:, :2],
        model.y,
        replace(model.hyperparameters, lengthscale=(1.0, 1.0)),
        offset=0.0,
        scale=1.0,
        settings=model.settings,
    )
    narrow.X = model.X
    narrow.save(tmp_path / "model.npz")
    with pytest.raises(FitError, match="there are 2 lengthscales for 3 features"):
        GaussianProcess.load(tmp_path / "model.npz")


def test_a_form_that_is_not_known_is_refused() -> None:
    with pytest.raises(FitError, match="form is 'wavy'; choose of isotropic, ard"):
        ModelSettings(form="wavy")  # type: ignore[arg-type]


def test_a_smoothness_that_the_kernel_does_not_have_is_refused() -> None:
    with pytest.raises(FitError, match=r"nu is 2.0; the kernel has 0.5, 1.5 and 2.5"):
        ModelSettings(nu=2.0)
