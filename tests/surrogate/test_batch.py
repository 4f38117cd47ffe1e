from __future__ import annotations

import numpy as np
import pytest

from leadline.surrogate.acquisition import ACQUISITIONS, Context, PropertyGoal
from leadline.surrogate.aim import Aim
from leadline.surrogate.batch import Shares, choose
from leadline.surrogate.posterior import Posterior


def context(n: int = 8, lengthscale: float = 2.0) -> Context:
    """A property on a line; neighbours are correlated, the last place promises most."""
    x = np.arange(n, dtype=float)
    covariance = np.exp(-(((x[:, None] - x) / lengthscale) ** 2))
    posterior = Posterior.draw(-0.01 * x, covariance, 1e-6, samples=0, rng=np.random.default_rng(0))
    return Context(posterior, PropertyGoal(Aim(), 0.0), np.linspace(0.9, 0.1, n))


X = np.zeros((8, 1), dtype=np.float32)
FREE = np.ones(8, dtype=bool)
BOUND = ACQUISITIONS["upper-confidence-bound"]


def test_picks_of_one_batch_keep_away_from_each_other() -> None:
    rows = [pick.row for pick in choose(context(), X, BOUND, ("exploit",) * 3, FREE)]
    assert rows[0] == 7
    assert abs(rows[1] - rows[0]) > 2
    assert len(set(rows)) == 3


def test_what_is_not_free_is_never_picked() -> None:
    free = FREE.copy()
    free[[7, 6]] = False
    picks = choose(context(), X, BOUND, ("exploit",) * 8, free)
    assert sorted(pick.row for pick in picks) == [0, 1, 2, 3, 4, 5]


def test_each_share_is_picked_by_its_own_rule() -> None:
    picks = choose(context(), X, ACQUISITIONS["greedy"], ("exploit", "uncertainty", "random"), FREE)
    assert [pick.share for pick in picks] == ["exploit", "uncertainty", "random"]
    assert [pick.row for pick in picks] == [7, 0, 1]


def test_shares_of_a_round_number_are_exact() -> None:
    shares = Shares(0.1, 0.1).split(10, np.random.default_rng(0))
    assert shares == ("exploit",) * 8 + ("uncertainty", "random")


@pytest.mark.parametrize("q", [1, 3, 7])
def test_shares_of_small_batches_hold_over_many_rounds(q: int) -> None:
    rng = np.random.default_rng(0)
    picks = [share for _ in range(4000) for share in Shares(0.1, 0.2).split(q, rng)]
    assert len(picks) == 4000 * q
    assert picks.count("uncertainty") / len(picks) == pytest.approx(0.1, abs=0.015)
    assert picks.count("random") / len(picks) == pytest.approx(0.2, abs=0.02)
