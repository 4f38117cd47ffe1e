from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, spearmanr

from leadline.surrogate.calibration import (
    METRICS,
    calibration_metrics,
    flag_outliers,
    leave_one_out,
)
from leadline.surrogate.errors import SurrogateError
from leadline.surrogate.model import GaussianProcess

RNG = np.random.default_rng(0)
SD = np.asarray(RNG.uniform(0.5, 2.0, size=4000))
MEAN = RNG.normal(size=4000)
Y = MEAN + SD * RNG.normal(size=4000)


def test_leave_one_out_is_what_fits_without_each_label_predict() -> None:
    X = RNG.normal(size=(15, 2))
    y = np.sin(X[:, 0]) + X[:, 1]
    model = GaussianProcess.fit(X, y)
    mean, sd = leave_one_out(model)
    for left_out in range(15):
        kept = np.arange(15) != left_out
        other = GaussianProcess(
            X[kept],
            y[kept],
            model.hyperparameters,
            offset=model.offset,
            scale=model.scale,
            settings=model.settings,
        )
        one_mean, one_sd = other.predict(X[[left_out]])
        assert mean[left_out] == pytest.approx(one_mean[0], abs=1e-8)
        assert sd[left_out] == pytest.approx(np.hypot(one_sd[0], model.noise_sd), abs=1e-8)


def test_an_honest_model_scores_as_theory_says() -> None:
    scores = calibration_metrics(Y, MEAN, SD)
    assert scores["z_std"] == pytest.approx(1.0, abs=0.03)
    assert scores["coverage_50"] == pytest.approx(0.5, abs=0.03)
    assert scores["coverage_95"] == pytest.approx(0.95, abs=0.015)
    assert scores["miscalibration_area"] == pytest.approx(0.0, abs=0.015)
    assert scores["crps"] == pytest.approx(np.mean(SD) / np.sqrt(np.pi), rel=0.05)


@pytest.mark.parametrize(("factor", "area"), [(1e-6, 0.5), (1e6, 0.5)])
def test_boundless_over_and_underconfidence_have_the_largest_miscalibration(
    factor: float, area: float
) -> None:
    scores = calibration_metrics(Y, MEAN, factor * SD)
    assert scores["miscalibration_area"] == pytest.approx(area, abs=0.01)


def test_scores_agree_with_independent_forms() -> None:
    y, mean, sd = Y[:40], MEAN[:40], SD[:40]
    scores = calibration_metrics(y, mean, sd)
    assert scores["nll"] == pytest.approx(-np.mean(norm.logpdf(y, mean, sd)))
    assert scores["error_sd_rank_correlation"] == pytest.approx(
        spearmanr(np.abs(y - mean), sd).statistic
    )
    assert scores["rmse"] == pytest.approx(np.linalg.norm(y - mean) / np.sqrt(40))
    assert scores["sharpness"] == pytest.approx(np.linalg.norm(sd) / np.sqrt(40))


def test_crps_is_the_integral_of_the_squared_distance_of_distributions() -> None:
    y, mean, sd = 0.7, 0.1, 0.4

    def below(t: float) -> float:
        return float(norm.cdf(t, mean, sd) ** 2)

    def above(t: float) -> float:
        return float((1 - norm.cdf(t, mean, sd)) ** 2)

    expected = quad(below, -5, y)[0] + quad(above, y, 5)[0]
    assert calibration_metrics([y], [mean], [sd])["crps"] == pytest.approx(expected, rel=1e-6)


@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_units_change_the_errors_and_not_the_calibration(unit: float, origin: float) -> None:
    before = calibration_metrics(Y[:50], MEAN[:50], SD[:50])
    after = calibration_metrics(unit * Y[:50] + origin, unit * MEAN[:50] + origin, unit * SD[:50])
    for name in ("rmse", "mae", "crps", "sharpness"):
        assert after[name] == pytest.approx(unit * (before[name] or 0), rel=1e-6)
    for name in ("z_std", "coverage_50", "coverage_95", "miscalibration_area"):
        assert after[name] == pytest.approx(before[name], rel=1e-6)


def test_a_rank_correlation_of_equal_deviations_is_undefined() -> None:
    assert calibration_metrics(Y[:9], MEAN[:9], np.ones(9))["error_sd_rank_correlation"] is None


def test_no_predictions_have_no_scores() -> None:
    scores = calibration_metrics([], [], [])
    assert list(scores) == list(METRICS)
    assert set(scores.values()) == {None}


def test_a_label_that_went_wrong_is_flagged_and_no_other() -> None:
    X = np.random.default_rng(3).normal(size=(60, 2))
    y = np.sin(X[:, 0]) + X[:, 1]
    y[17] += 6.0
    flagged = flag_outliers(y, *leave_one_out(GaussianProcess.fit(X, y)))
    assert np.flatnonzero(flagged).tolist() == [17]


@pytest.mark.parametrize("sd", [0.0, -1.0, np.nan, np.inf])
def test_a_deviation_that_is_not_positive_is_refused(sd: float) -> None:
    with pytest.raises(SurrogateError, match="1 of 2 predictions"):
        calibration_metrics([0.0, 0.0], [0.0, 0.0], [1.0, sd])


def test_predictions_of_other_lengths_are_refused() -> None:
    with pytest.raises(SurrogateError, match="three rows of one length"):
        flag_outliers([1.0, 2.0], [1.0], [1.0])
