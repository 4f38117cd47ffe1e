from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from leadline.surrogate.acquisition import Context, HullGoal, PropertyGoal, sampled_finds
from leadline.surrogate.aim import Aim
from leadline.surrogate.hull import Hull
from leadline.surrogate.missed import Missed, Rest, kept, missed
from leadline.surrogate.posterior import Posterior
from leadline.surrogate.spread import AS_STATED

Floats = NDArray[np.float64]
NONE = np.empty(0)
SD = 0.3
TWICE = np.full(1, 2.0)


def belief(mean: list[float], correlation: float = 0.0, samples: int = 4000) -> Context:
    """A property to minimise below zero, of candidates with one deviation and correlation."""
    n = len(mean)
    covariance = SD**2 * (correlation + (1 - correlation) * np.eye(n))
    rng = np.random.default_rng(1)
    posterior = Posterior.draw(np.array(mean), covariance, 1e-12, samples=samples, rng=rng)
    return Context(posterior, PropertyGoal(Aim(), 0.0), np.zeros(n))


def told(
    context: Context, mean: Floats = NONE, sd: Floats = NONE, stretch: Floats = AS_STATED
) -> Missed:
    by = np.broadcast_to(stretch, len(context.posterior.samples))
    context = replace(context, posterior=context.posterior.stretched(by))
    finds = sampled_finds(context)
    goal = context.goal
    if isinstance(goal, HullGoal):
        goal = replace(goal, fractions=goal.fractions[:0])
    return missed(context, finds, finds.mean(axis=0), Rest(goal, mean, sd), by)


def test_independent_candidates_are_missed_by_the_product_of_their_chances() -> None:
    found = told(belief([0.0, SD, -SD]))
    assert found.expected == pytest.approx(0.5 + 0.1587 + 0.8413, abs=0.03)
    assert found.none == pytest.approx(0.5 * 0.8413 * 0.1587, abs=0.02)
    assert found.agreement is None


def test_candidates_that_rise_and_fall_together_are_missed_together() -> None:
    apart, together = told(belief([SD] * 8)), told(belief([SD] * 8, correlation=0.999))
    assert together.expected == pytest.approx(apart.expected, rel=0.1)
    assert apart.none == pytest.approx(0.8413**8, abs=0.03)
    assert together.none == pytest.approx(0.8413, abs=0.03)


def test_a_tail_of_many_unlikely_candidates_counts() -> None:
    few = told(belief([9.0]))
    many = told(belief([9.0]), mean=np.full(1000, 3 * SD), sd=np.full(1000, SD))
    assert (few.expected, few.none) == (0.0, 1.0)
    assert few.largest_improvement == pytest.approx(0.0, abs=1e-9)
    assert many.expected == pytest.approx(1.35, abs=0.01)
    assert many.none == pytest.approx(np.exp(-1.35), abs=0.01)


def test_a_stretched_belief_expects_more_of_what_is_unlikely() -> None:
    rest = {"mean": np.full(3, 2 * SD), "sd": np.full(3, SD)}
    stated, twice = told(belief([2 * SD]), **rest), told(belief([2 * SD]), **rest, stretch=TWICE)
    assert stated.expected == pytest.approx(4 * 0.0228, abs=0.01)
    assert twice.expected == pytest.approx(4 * 0.1587, abs=0.02)
    assert twice.none == pytest.approx(0.8413**4, abs=0.02)


def test_what_samples_stretch_together_is_missed_together() -> None:
    rest = {"mean": np.full(9, 2 * SD), "sd": np.full(9, SD)}
    mixed = told(belief([9.0], samples=2), **rest, stretch=np.array([1e-3, 4.0]))
    assert mixed.expected == pytest.approx(9 * 0.3085 / 2, abs=0.01)
    assert mixed.none == pytest.approx((1 + 0.6915**9) / 2, abs=0.01)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_improvement_is_that_of_the_best_anywhere(sign: int) -> None:
    context = belief([0.0, SD])
    turned = replace(
        context,
        posterior=replace(
            context.posterior,
            mean=sign * context.posterior.mean,
            samples=sign * context.posterior.samples,
        ),
        goal=PropertyGoal(Aim(1 if sign > 0 else -1), 0.0),
    )
    assert told(turned).largest_improvement == pytest.approx(SD / np.sqrt(2 * np.pi))
    sure = told(turned, mean=sign * np.array([-0.5]), sd=np.array([1e-9]))
    assert sure.largest_improvement == pytest.approx(0.5)


def test_what_a_round_keeps_is_read_again() -> None:
    found = told(belief([0.0, SD]))
    assert Missed.of(kept(found)) == found
    assert Missed.of({"expected_missed": None, "count": 0}) is None


def test_hulls_agree_where_no_sample_is_below_the_known_one() -> None:
    hull = Hull.from_energies(np.array([[1, 0], [0, 1], [0.5, 0.5]]), np.array([0, 0, -0.1]))
    fractions = np.array([[0.5, 0.5], [0.75, 0.25]])
    samples = np.array([[-0.09, -0.02], [-0.12, -0.02], [-0.05, -0.06], [0.1, -0.049]])
    posterior = Posterior(samples.mean(axis=0), np.eye(2), 0.0, samples)
    context = Context(posterior, HullGoal(hull, fractions, 0.0), np.zeros(2))
    found = told(context)
    assert found.agreement == 0.5
    assert found.expected == pytest.approx(0.5)
    assert found.none == pytest.approx(0.5)
