from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.utils.testing import MockModel, MockPosterior
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm

from leadline.surrogate.acquisition import (
    ACQUISITIONS,
    Context,
    HullGoal,
    PropertyGoal,
    acquisition,
    log_improvement,
)
from leadline.surrogate.aim import Aim
from leadline.surrogate.errors import SurrogateError
from leadline.surrogate.hull import Hull
from leadline.surrogate.posterior import Posterior

Floats = NDArray[np.float64]
NO_FEATURES = np.zeros((4, 1), dtype=np.float32)


def property_context(mean: Floats, sd: Floats, level: float, sign: int = 1) -> Context:
    posterior = Posterior.draw(mean, np.diag(sd**2), 0.0, samples=0, rng=np.random.default_rng(0))
    return Context(
        posterior, PropertyGoal(Aim(1 if sign == 1 else -1), sign * level), np.zeros(len(mean))
    )


def hull_context(samples: int = 4000) -> Context:
    """Two compositions at the middle of a binary whose known hull is -0.1 deep there."""
    hull = Hull.from_energies([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [0.0, 0.0, -0.1])
    fractions = np.array([[0.5, 0.5], [0.5, 0.5], [0.25, 0.75], [0.25, 0.75]])
    posterior = Posterior.draw(
        np.array([-0.11, -0.09, -0.04, 0.3]),
        np.diag([0.02, 0.01, 0.03, 0.01]) ** 2,
        1e-8,
        samples=samples,
        rng=np.random.default_rng(0),
    )
    return Context(posterior, HullGoal(hull, fractions, 0.005), np.arange(4) / 4)


@pytest.mark.parametrize("z", [5.0, 0.3, -0.9999, -1.0001, -5.0, -40.0, -999.0, -1001.0, -1e5])
def test_the_logarithm_of_the_improvement_holds_far_into_the_tail(z: float) -> None:
    # z Phi(z) + phi(z) = phi(z) times the integral of s exp(s z - s^2 / 2), here in s |z|.
    integral, _ = quad(lambda u: u * np.exp(np.sign(z) * u - (u / z) ** 2 / 2), 0, np.inf)
    exact = -(z**2) / 2 - np.log(2 * np.pi) / 2 + np.log(integral) - 2 * np.log(abs(z))
    assert log_improvement(np.array([z]))[0] == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("sign", [1, -1])
def test_log_expected_improvement_is_botorchs(sign: int) -> None:
    mean, sd, level = np.array([0.3, -0.2, 1.5, 9.0]), np.array([0.5, 0.01, 1.0, 0.3]), 0.1
    ours = ACQUISITIONS["log-expected-improvement"](
        property_context(mean, sd, level, sign), NO_FEATURES
    )
    posterior = MockPosterior(
        mean=torch.tensor(mean)[:, None, None], variance=torch.tensor(sd**2)[:, None, None]
    )
    theirs = LogExpectedImprovement(MockModel(posterior), best_f=level, maximize=sign == -1)
    np.testing.assert_allclose(ours, theirs(torch.zeros(4, 1, 1)).numpy(), rtol=1e-6)


def test_hull_improvement_is_the_mean_depth_below_the_tolerated_hull() -> None:
    context = hull_context(samples=200_000)
    depth = np.array([-0.1, -0.1, -0.05, -0.05]) + 0.005 - context.posterior.samples
    np.testing.assert_allclose(
        ACQUISITIONS["hull-improvement"](context, NO_FEATURES),
        np.maximum(depth, 0.0).mean(axis=0),
        rtol=0.02,
        atol=1e-6,
    )


def test_confidence_bounds_and_greed_are_distances_beyond_the_level() -> None:
    context = hull_context()
    gain = np.array([0.015, -0.005, -0.005, -0.345])
    sd = np.sqrt(np.array([0.02, 0.01, 0.03, 0.01]) ** 2 + 1e-8)
    for name, expected in {
        "greedy": gain,
        "lower-confidence-bound": gain + sd,
        "uncertainty": sd,
        "random": np.arange(4) / 4,
    }.items():
        np.testing.assert_allclose(ACQUISITIONS[name](context, NO_FEATURES), expected, atol=1e-12)
    best = property_context(np.array([1.0, 2.0]), np.array([0.1, 0.5]), 1.5, sign=-1)
    np.testing.assert_allclose(
        ACQUISITIONS["upper-confidence-bound"](best, NO_FEATURES[:2]), [-0.3, 1.5]
    )


def test_a_phase_is_less_likely_stable_when_a_rival_may_undercut_it() -> None:
    context = hull_context()
    scores = ACQUISITIONS["stable-probability"](context, NO_FEATURES)
    against_known = (context.posterior.samples[:, 1] <= -0.1 + 0.005).mean()
    assert scores[1] < against_known
    assert scores.argmax() == 0


def test_candidates_that_no_sample_finds_stable_are_still_ordered() -> None:
    context = hull_context(samples=16)
    goal = context.goal
    assert isinstance(goal, HullGoal)
    hopeless = Posterior(
        np.array([0.5, 0.6, 0.7, 0.8]),
        np.diag(np.full(4, 1e-4)),
        0.0,
        np.tile(np.array([0.5, 0.6, 0.7, 0.8]), (16, 1)),
    )
    scores = ACQUISITIONS["stable-probability"](
        Context(hopeless, goal, context.chance), NO_FEATURES
    )
    assert list(np.argsort(-scores)) == [0, 1, 2, 3]
    assert scores.max() < 1 / 16


def test_auto_looks_for_stability_or_improvement_by_the_goal() -> None:
    context = hull_context()
    np.testing.assert_array_equal(
        ACQUISITIONS["auto"](context, NO_FEATURES),
        ACQUISITIONS["stable-probability"](context, NO_FEATURES),
    )
    best = property_context(np.array([1.0, 2.0]), np.array([0.1, 0.5]), 1.5)
    np.testing.assert_array_equal(
        ACQUISITIONS["auto"](best, NO_FEATURES[:2]),
        ACQUISITIONS["log-expected-improvement"](best, NO_FEATURES[:2]),
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("best", [1, 3, 6])
def test_the_best_of_a_sample_are_those_that_a_sorted_list_begins_with(
    best: int, sign: Literal[1, -1]
) -> None:
    rng = np.random.default_rng(1)
    rivals, samples = rng.normal(size=4), rng.normal(size=(50, 7))
    finds = PropertyGoal(Aim(sign), 0.0, best, rivals).finds(samples)
    for sample, found in zip(samples, finds, strict=True):
        order = sorted([*rivals, *sample], key=lambda value: sign * value)
        assert set(sample[found]) == set(order[:best]) & set(sample)


def test_all_are_among_the_best_where_no_more_are_there_than_asked_for() -> None:
    goal = PropertyGoal(Aim(), 0.0, 20, np.zeros(3))
    samples: Floats = np.arange(1.0, 37.0).reshape(2, 18)
    assert goal.finds(samples[:, :17]).all()
    assert goal.finds(samples).sum(axis=1).tolist() == [17, 17]


def test_a_find_is_less_likely_where_many_may_be_as_good() -> None:
    """Two alike in themselves; the first stands or falls with most of the others."""
    mean, together = np.zeros(9), np.full((9, 9), 0.99)
    together[0] = together[:, 0] = 0.0
    np.fill_diagonal(together, 1.0)
    posterior = Posterior.draw(mean, together, 0.0, samples=4000, rng=np.random.default_rng(0))
    context = Context(posterior, PropertyGoal(Aim(), 0.0, 1, np.array([1.0])), np.zeros(9))
    scores = ACQUISITIONS["find-probability"](context, np.zeros((9, 1), dtype=np.float32))
    assert scores[0] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(scores[1:], 0.5 / 8, atol=0.03)


def test_auto_looks_for_several_of_the_best_by_their_probability() -> None:
    one = property_context(np.array([1.0, 2.0]), np.array([0.1, 0.5]), 1.5)
    drawn = replace(one.posterior, samples=np.array([[1.0, 2.0], [1.0, 0.5]]))
    for best, same in ((1, "log-expected-improvement"), (2, "find-probability")):
        context = replace(
            one, posterior=drawn, goal=PropertyGoal(Aim(), 1.5, best, np.array([1.2]))
        )
        np.testing.assert_array_equal(
            ACQUISITIONS["auto"](context, NO_FEATURES[:2]),
            ACQUISITIONS[same](context, NO_FEATURES[:2]),
        )


@pytest.mark.parametrize("far", [0.0, 0.7, 4.0, 30.0])
@pytest.mark.parametrize("reach", [1e-6, 0.01, 0.5, 8.0])
@pytest.mark.parametrize("side", [1, -1])
def test_the_improvement_about_a_target_is_the_area_under_a_tent(
    far: float, reach: float, side: int
) -> None:
    sd, target = 0.4, 2.0
    goal = PropertyGoal(Aim(target=target), reach)
    mean = np.array([target + side * far])

    def tent(u: float) -> float:  # over its height at the edge nearest to the mean
        at = far - max(far - reach, 0.0)
        return float((reach - abs(u)) * np.exp(-((u - far) ** 2 - (at - far) ** 2) / (2 * sd**2)))

    nearest = far - max(far - reach, 0.0)
    area, _ = quad(tent, -reach, reach, points=[0.0, nearest], epsabs=0, epsrel=1e-10, limit=200)
    exact = np.log(area) - (nearest - far) ** 2 / (2 * sd**2) - np.log(np.sqrt(2 * np.pi) * sd)
    assert goal.log_improvement(mean, np.array([sd]))[0] == pytest.approx(exact, abs=1e-4)


def test_the_probability_of_a_window_is_what_lies_between_its_edges() -> None:
    goal = PropertyGoal(Aim(target=2.25), 0.75)
    mean, sd = np.array([1.0, 2.0, 3.4, -30.0]), np.array([0.5, 0.1, 2.0, 1.0])
    between = norm.sf(1.5, mean, sd) - norm.sf(3.0, mean, sd)
    np.testing.assert_allclose(goal.probability(mean, sd), between, rtol=1e-9, atol=1e-300)
    assert goal.finds(np.array([[1.4, 1.6, 2.9, 3.1]])).tolist() == [[False, True, True, False]]


def test_an_unknown_acquisition_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SurrogateError, match=r"'best'; there are .*stable-probability"):
        acquisition("best", "hull")


def test_an_acquisition_that_does_not_serve_the_goal_is_refused() -> None:
    with pytest.raises(SurrogateError, match=r"does not serve a property.*log-expected"):
        acquisition("stable-probability", "property")
