from __future__ import annotations

import numpy as np

from leadline.surrogate.likeness import alike


def test_rows_that_are_equal_but_for_rounding_are_found_wherever_they_stand() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(500, 6)).astype(np.float32)
    features[[40, 300]] = features[7] + rng.normal(0, 1e-6, (2, 6)).astype(np.float32)
    features[499] = features[0]
    features[250] = features[120] + np.float32(0.01)
    assert alike(features) == [(0, 499), (7, 40), (40, 7), (300, 7), (499, 0)]


def test_a_pool_of_one_is_like_nothing() -> None:
    assert alike(np.zeros((1, 3), dtype=np.float32)) == []
