from __future__ import annotations

import numpy as np
import pytest

from leadline.surrogate.chance import expected_random_draws


@pytest.mark.parametrize(("targets", "found"), [(5, 1), (5, 3), (5, 5), (1, 1)])
def test_random_draws_need_on_average_what_shuffled_pools_need(targets: int, found: int) -> None:
    rng = np.random.default_rng(0)
    places = np.array([np.sort(rng.permutation(40)[:targets])[found - 1] + 1 for _ in range(8000)])
    assert expected_random_draws(40, targets, found) == pytest.approx(places.mean(), rel=0.02)


def test_finding_nothing_needs_nothing() -> None:
    assert expected_random_draws(40, 0, 0) == 0.0


@pytest.mark.parametrize(("pool", "targets", "found"), [(4, 5, 1), (10, 2, 3), (10, 2, -1)])
def test_impossible_counts_are_refused(pool: int, targets: int, found: int) -> None:
    with pytest.raises(ValueError, match="found <= targets <= pool"):
        expected_random_draws(pool, targets, found)
