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


@pytest.mark.parametrize("name", ["log-expected-improvement", "uncertainty"])
def test_what_may_fail_or_costs_more_waits(name: str) -> None:
    rule, plain = ACQUISITIONS[name], choose(context(), X, ACQUISITIONS[name], ("exploit",), FREE)
    first = plain[0].row
    doomed = np.where(np.arange(8) == first, 1e-6, 1.0)
    assert choose(context(), X, rule, ("exploit",), FREE, success=doomed)[0].row != first
    assert choose(context(), X, rule, ("exploit",), FREE, cost=1 / doomed)[0].row != first
    alone = np.arange(8) == first
    assert choose(context(), X, rule, ("exploit",), alone, success=doomed)[0].row == first


def test_a_logarithm_is_set_against_chance_and_cost_as_its_value_is() -> None:
    scores, success, cost = np.array([0.2, 3.0]), np.array([0.5, 0.1]), np.array([2.0, 7.0])
    value = ACQUISITIONS["hull-improvement"].per_cost(scores, success, cost)
    logarithm = ACQUISITIONS["log-expected-improvement"].per_cost(np.log(scores), success, cost)
    np.testing.assert_allclose(value, [0.05, 3 / 70])
    np.testing.assert_allclose(np.exp(logarithm), value)


def test_auto_is_what_it_stands_for_when_it_is_set_against_a_cost() -> None:
    cost = np.linspace(1.0, 5.0, 8)
    names = ("auto", "log-expected-improvement")
    one, other = (
        choose(context(), X, ACQUISITIONS[name], ("exploit",) * 3, FREE, cost=cost)
        for name in names
    )
    assert one == other
