from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leadline.surrogate.errors import DescriptorError
from leadline.surrogate.prepare import CLIP, Preparation


def features(n: int = 60, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 7)) * np.geomspace(0.1, 10, 7)
    return np.hstack([mixed, np.full((n, 2), 3.5)]).astype(np.float32)


BLOCKS = {"varying": slice(0, 7), "constant": slice(7, 9)}


def test_prepared_features_have_one_global_standard_deviation_of_one() -> None:
    raw = features()
    prepared = Preparation.fit(raw, BLOCKS).transform(raw)
    assert prepared.dtype == np.float32
    assert np.sqrt((prepared.astype(float) ** 2).mean()) == pytest.approx(1.0, rel=1e-4)


def test_columns_come_in_order_of_their_spread_and_are_not_whitened() -> None:
    raw = features()
    spread = Preparation.fit(raw, BLOCKS).transform(raw).std(axis=0)
    assert np.all(np.diff(spread) <= 1e-6)
    assert spread[0] > 1.5 * spread[-1]


def test_no_more_directions_are_kept_than_the_data_have() -> None:
    assert Preparation.fit(features(), BLOCKS).transform(features()).shape == (60, 4)


def test_distances_are_those_of_the_standardised_features_up_to_one_factor() -> None:
    raw = features()
    standard = (raw[:, :7] - raw[:, :7].mean(axis=0)) / raw[:, :7].std(axis=0)
    prepared = Preparation.fit(raw, BLOCKS).transform(raw)
    before = np.linalg.norm(standard[1:] - standard[0], axis=1)
    after = np.linalg.norm(prepared[1:] - prepared[0], axis=1)
    np.testing.assert_allclose(after / before, (after / before).mean(), rtol=2e-3)


def test_units_of_a_column_do_not_matter() -> None:
    raw = features()
    other = raw * np.geomspace(0.1, 10, 9).astype(np.float32)
    first = Preparation.fit(raw, BLOCKS).transform(raw)
    second = Preparation.fit(other, BLOCKS).transform(other)
    np.testing.assert_allclose(first, second, atol=2e-4)


def test_more_columns_than_rows_give_the_same_distances() -> None:
    raw = np.random.default_rng(1).normal(size=(12, 40)).astype(np.float32)
    prepared = Preparation.fit(raw, {"all": slice(0, 40)}).transform(raw)
    standard = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    assert prepared.shape[1] < 12
    ratio = np.linalg.norm(prepared[1:] - prepared[0], axis=1) / np.linalg.norm(
        standard[1:] - standard[0], axis=1
    )
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_the_rounding_of_a_constant_column_is_not_a_feature() -> None:
    rng = np.random.default_rng(0)
    noise = (1.0 + 1e-7 * rng.normal(size=(50, 1))).astype(np.float32)
    tiny = (1e-9 * rng.normal(size=(50, 1))).astype(np.float32)
    raw = np.hstack([rng.normal(size=(50, 1)).astype(np.float32), noise, tiny])
    kept = Preparation.fit(raw, {"all": slice(0, 3)}).kept
    assert kept.tolist() == [True, False, False]


def test_a_candidate_far_from_the_pool_is_clipped() -> None:
    raw = features()
    preparation = Preparation.fit(raw, BLOCKS)
    far = preparation.transform(raw[:1] + 1e6)
    farther = preparation.transform(raw[:1] + 1e8)
    np.testing.assert_array_equal(far, farther)
    assert np.abs(far).max() < CLIP * np.abs(preparation.components).sum(axis=0).max() + 1e-3


def test_what_is_saved_is_loaded_with_the_same_numbers(tmp_path: Path) -> None:
    preparation = Preparation.fit(features(), BLOCKS)
    preparation.save(tmp_path / "preparation.npz")
    loaded = Preparation.load(tmp_path / "preparation.npz")
    np.testing.assert_array_equal(
        loaded.transform(features(seed=1)), preparation.transform(features(seed=1))
    )
    assert loaded.blocks == BLOCKS


def test_a_large_pool_is_prepared_as_its_sample() -> None:
    rng = np.random.default_rng(2)
    raw = rng.normal(size=(50_001, 3)).astype(np.float32)
    prepared = Preparation.fit(raw, {"all": slice(0, 3)}).transform(raw)
    assert np.sqrt((prepared.astype(float) ** 2).mean()) == pytest.approx(1.0, abs=0.02)


def test_a_single_candidate_gets_a_feature() -> None:
    raw = features(1)
    np.testing.assert_array_equal(Preparation.fit(raw, BLOCKS).transform(raw), [[0.0]])


def test_candidates_that_no_feature_tells_apart_are_refused() -> None:
    with pytest.raises(DescriptorError, match="no feature differs between the 5 candidates"):
        Preparation.fit(np.ones((5, 3), np.float32), {"fractions": slice(0, 3)})


def test_an_empty_pool_is_refused() -> None:
    with pytest.raises(DescriptorError, match="check that the pool is not empty"):
        Preparation.fit(np.empty((0, 3), np.float32), {})


def test_other_columns_than_the_fitted_ones_are_refused() -> None:
    with pytest.raises(DescriptorError, match="fitted on 9 columns"):
        Preparation.fit(features(), BLOCKS).transform(features()[:, :5])


@given(st.integers(0, 59), st.sampled_from([np.nan, np.inf, -np.inf]))
@settings(max_examples=10, deadline=None)
def test_a_feature_that_is_not_finite_is_refused_with_its_row(row: int, value: float) -> None:
    raw = features()
    raw[row, 2] = value
    with pytest.raises(DescriptorError, match=f"the first at row {row};"):
        Preparation.fit(raw, BLOCKS)
