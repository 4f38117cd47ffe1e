from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from leadline.surrogate.failures import FailureModel

RNG = np.random.default_rng(3)
APART = np.array([6.0, 0.0, 0.0])
X = np.vstack([RNG.normal(size=(60, 3)), RNG.normal(size=(20, 3)) + APART]).astype(np.float32)
NEW = np.vstack([RNG.normal(size=(60, 3)), RNG.normal(size=(20, 3)) + APART]).astype(np.float32)


def shares(failed: NDArray[np.bool_]) -> tuple[float, float]:
    """What is said of new points of the many and of those apart, in the mean."""
    said = FailureModel.fit(X, failed).probability(NEW)
    assert ((said > 0) & (said < 1)).all()
    return float(said[:60].mean()), float(said[60:].mean())


def test_what_is_like_failures_is_likelier_to_fail() -> None:
    many, apart = shares((np.arange(80) >= 60) & (RNG.random(80) < 0.8))
    assert many < 0.06
    assert apart > 0.6


def test_failures_without_a_pattern_make_nothing_look_worse_than_the_rest() -> None:
    failed = RNG.random(80) < 0.2
    many, apart = shares(failed)
    assert many == pytest.approx(failed.mean(), abs=0.06)
    assert apart == pytest.approx(failed.mean(), abs=0.1)


def test_one_failure_of_many_condemns_nothing_but_what_is_as_it_is() -> None:
    failed = np.arange(80) == 3
    assert shares(failed)[0] < 0.05
    assert FailureModel.fit(X, failed).probability(X[3:4]) > 0.3


def test_a_first_failure_or_a_double_of_it_is_no_error() -> None:
    one = np.zeros((1, 3), dtype=np.float32)
    assert FailureModel.fit(one, np.array([True])).probability(one) == pytest.approx(0.75)
    twins = FailureModel.fit(np.zeros((4, 3), dtype=np.float32), np.array([True, False] * 2))
    assert twins.probability(one) == pytest.approx(0.5)
