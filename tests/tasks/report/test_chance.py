from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from leadline.tasks.report.chance import expected_calculations, expected_finds, likely_finds


@given(pool=st.integers(1, 60), data=st.data())
def test_the_expectation_is_the_mean_place_of_the_last_find(pool: int, data: st.DataObject) -> None:
    """Count the subsets of the places whose last is n."""
    finds = data.draw(st.integers(1, pool))
    weights = [comb(place - 1, finds - 1) for place in range(finds, pool + 1)]
    mean = sum(n * w for n, w in zip(range(finds, pool + 1), weights, strict=True)) / sum(weights)
    assert expected_calculations(pool, finds) == pytest.approx(mean)


def test_a_search_of_the_whole_pool_finds_everything() -> None:
    assert expected_finds(200, 7, [0, 100, 200, 300]).tolist() == [0.0, 3.5, 7.0, 7.0]
    low, high = likely_finds(200, 7, [0, 200])
    assert low.tolist() == [0.0, 7.0]
    assert high.tolist() == [0.0, 7.0]


def test_nine_random_searches_of_ten_lie_in_the_band() -> None:
    rng = np.random.default_rng(0)
    drawn = [int((rng.permutation(300)[:60] < 20).sum()) for _ in range(2000)]
    low, high = likely_finds(300, 20, [60])
    assert np.mean((drawn >= low) & (drawn <= high)) >= 0.88
    assert np.mean((drawn > low) & (drawn < high)) <= 0.92


@given(pool=st.integers(1, 300), data=st.data())
def test_the_band_is_of_quantiles_of_the_hypergeometric_law(pool: int, data: st.DataObject) -> None:
    finds, drawn = data.draw(st.integers(1, pool)), data.draw(st.integers(0, pool))
    low, high = likely_finds(pool, finds, [drawn], share=0.8)
    law = hypergeom(pool, finds, drawn)
    assert law.cdf(low[0]) >= 0.1 - 1e-9
    assert law.cdf(low[0] - 1) <= 0.1 + 1e-9
    assert law.cdf(high[0]) >= 0.9 - 1e-9
    assert law.cdf(high[0] - 1) <= 0.9 + 1e-9


def test_nothing_found_needs_no_calculation() -> None:
    assert expected_calculations(100, 0) == 0
