from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, t

from leadline.surrogate.spread import stretches

MANY = 20_000
QUANTILES = (np.arange(200) + 0.5) / 200


def drawn(surprises: NDArray[np.float64], samples: int = MANY) -> NDArray[np.float64]:
    return stretches(surprises, samples, np.random.default_rng(0))


def test_a_model_borne_out_is_taken_at_its_word() -> None:
    found = drawn(norm.ppf(QUANTILES))
    assert np.median(found) == pytest.approx(1.0, abs=0.1)
    assert np.quantile(found, 0.95) < 1.5


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_surprises_that_were_larger_stretch_by_as_much(scale: float) -> None:
    assert np.median(drawn(scale * norm.ppf(QUANTILES))) == pytest.approx(scale, rel=0.1)


def test_a_model_that_was_too_cautious_is_not_made_bolder() -> None:
    assert np.median(drawn(0.4 * norm.ppf(QUANTILES))) == pytest.approx(1.0, abs=0.1)


def test_a_few_large_surprises_leave_a_heavy_tail() -> None:
    light, heavy = drawn(norm.ppf(QUANTILES)), drawn(t.ppf(QUANTILES, 2.5))
    assert np.median(heavy) < 1.5
    assert np.quantile(heavy, 0.99) > 2 * np.quantile(light, 0.99)


def test_before_any_answer_doubt_is_larger_than_after_many_good_ones() -> None:
    assert np.quantile(drawn(np.empty(0)), 0.9) > np.quantile(drawn(norm.ppf(QUANTILES)), 0.9)


def test_stretches_are_finite_and_repeat_with_their_seed() -> None:
    surprises = np.array([0.0, 1e3, -1e6])
    found = drawn(surprises, 64)
    assert found.shape == (64,)
    assert np.isfinite(found).all()
    assert (found >= 0.1).all()
    assert np.array_equal(found, drawn(surprises, 64))
