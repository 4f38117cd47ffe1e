"""Laws that every acquisition in the table obeys, for every goal that it serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leadline.surrogate.acquisition import (
    ACQUISITIONS,
    Acquisition,
    Context,
    HullGoal,
    PropertyGoal,
)
from leadline.surrogate.aim import Aim
from leadline.surrogate.hull import Hull
from leadline.surrogate.posterior import Posterior

N = 12
CASES = [
    pytest.param(rule, goal, id=f"{rule.name}-{goal}")
    for rule in ACQUISITIONS.values()
    for goal in sorted(rule.goals | ({"best", "target"} if "property" in rule.goals else set()))
]
DRAWN = [case for case in CASES if case.values[0].name not in ("random", "uncertainty")]  # type: ignore[union-attr]
X = np.random.default_rng(5).normal(size=(N, 3)).astype(np.float32)


def context(goal: str, lowered: int | None = None) -> Context:
    """A belief about twelve ternary candidates; ``lowered`` is predicted far better."""
    rng = np.random.default_rng(2)
    fractions = rng.dirichlet(np.ones(3), size=N)
    root = rng.normal(0, 0.03, (N, N))
    mean = rng.normal(0.02, 0.05, N)
    if lowered is not None:
        mean[lowered] -= 0.5
    posterior = Posterior.draw(mean, root @ root.T, 1e-6, samples=64, rng=rng)
    hull = Hull.from_energies(np.vstack([np.eye(3), [[0.3, 0.3, 0.4]]]), [0.0, 0.0, 0.0, -0.02])
    goals: dict[str, HullGoal | PropertyGoal] = {
        "hull": HullGoal(hull, fractions, 0.001),
        "property": PropertyGoal(Aim(), 0.0),
        "target": PropertyGoal(Aim(target=-0.5), 0.03),
        "best": PropertyGoal(Aim(), 0.0, best=4, rivals=np.array([-0.1, 0.05, 0.3])),
    }
    return Context(posterior, goals[goal], rng.random(N))


def reordered(old: Context, order: np.ndarray) -> Context:
    posterior = old.posterior
    goal = old.goal
    if isinstance(goal, HullGoal):
        goal = HullGoal(goal.hull, goal.fractions[order], goal.tolerance)
    return Context(
        Posterior(
            posterior.mean[order],
            posterior.covariance[np.ix_(order, order)],
            posterior.noise,
            posterior.samples[:, order],
        ),
        goal,
        old.chance[order],
    )


@pytest.mark.parametrize(("rule", "goal"), CASES)
def test_scores_are_finite_and_one_for_each_candidate(rule: Acquisition, goal: str) -> None:
    scores = rule(context(goal), X)
    assert scores.shape == (N,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(("rule", "goal"), CASES)
def test_a_score_that_is_a_value_is_not_below_zero(rule: Acquisition, goal: str) -> None:
    if rule.scale != "value":
        pytest.skip("its scores are no values")
    assert (rule(context(goal), X) >= 0).all()


@pytest.mark.parametrize(("rule", "goal"), CASES)
def test_the_same_belief_gives_the_same_scores(rule: Acquisition, goal: str) -> None:
    np.testing.assert_array_equal(rule(context(goal), X), rule(context(goal), X))


@pytest.mark.parametrize(("rule", "goal"), CASES)
def test_the_order_of_candidates_does_not_matter(rule: Acquisition, goal: str) -> None:
    order = np.random.default_rng(0).permutation(N)
    before, after = context(goal), reordered(context(goal), order)
    np.testing.assert_allclose(rule(after, X[order]), rule(before, X)[order], atol=1e-12)


@pytest.mark.parametrize(("rule", "goal"), DRAWN)
@pytest.mark.parametrize("row", [0, 7])
def test_a_candidate_that_is_predicted_far_better_scores_highest(
    rule: Acquisition, goal: str, row: int
) -> None:
    assert rule(context(goal, lowered=row), X).argmax() == row


@pytest.mark.parametrize(("rule", "goal"), CASES)
def test_a_certain_belief_is_scored_too(rule: Acquisition, goal: str) -> None:
    before = context(goal)
    certain = Posterior(
        before.posterior.mean,
        np.zeros((N, N)),
        0.0,
        np.tile(before.posterior.mean, (8, 1)),
    )
    assert np.isfinite(rule(replace(before, posterior=certain), X)).all()
