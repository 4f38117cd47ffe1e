from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from leadline.surrogate.posterior import Posterior

Floats = NDArray[np.float64]


def belief(n: int = 6, samples: int = 0, noise: float = 0.1) -> tuple[Posterior, Floats]:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(n, n))
    covariance = root @ root.T
    return Posterior.draw(
        rng.normal(size=n), covariance, noise, samples=samples, rng=rng
    ), covariance


def test_a_pick_leaves_the_covariance_of_exact_conditioning() -> None:
    posterior, covariance = belief()
    known = [1, 4]
    gram = covariance[np.ix_(known, known)] + 0.1 * np.eye(2)
    cross = covariance[:, known]
    exact = covariance - cross @ np.linalg.solve(gram, cross.T)
    narrowed = posterior.given(1).given(4)
    np.testing.assert_allclose(narrowed.covariance, exact, atol=1e-10)
    np.testing.assert_array_equal(narrowed.mean, posterior.mean)


def test_the_order_of_pending_calculations_does_not_matter() -> None:
    posterior, _ = belief(samples=5)
    one, other = posterior.given(1).given(4), posterior.given(4).given(1)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-10)


def test_samples_have_the_mean_and_covariance_of_the_labels() -> None:
    posterior, covariance = belief(samples=200_000)
    np.testing.assert_allclose(posterior.samples.mean(axis=0), posterior.mean, atol=0.05)
    np.testing.assert_allclose(
        np.cov(posterior.samples.T), covariance + 0.1 * np.eye(6), rtol=0.05, atol=0.1
    )


def test_stretched_samples_lie_further_from_the_same_mean() -> None:
    posterior, _ = belief(samples=2)
    found = posterior.stretched(np.array([1.0, 3.0]))
    np.testing.assert_allclose(found.samples[0], posterior.samples[0])
    np.testing.assert_allclose(
        found.samples[1] - found.mean, 3 * (posterior.samples[1] - posterior.mean)
    )


def test_samples_given_a_pick_are_those_of_the_narrowed_belief() -> None:
    posterior, _ = belief(samples=200_000, noise=0.5)
    narrowed = posterior.given(2)
    others = [0, 1, 3, 4, 5]
    expected = narrowed.covariance + 0.5 * np.eye(6)
    np.testing.assert_allclose(
        np.cov(narrowed.samples[:, others].T), expected[np.ix_(others, others)], rtol=0.05, atol=0.1
    )
    np.testing.assert_array_equal(narrowed.samples[:, 2], np.full(200_000, posterior.mean[2]))


@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_duplicates_are_one_candidate_to_the_belief(noise: float) -> None:
    posterior = Posterior.draw(
        np.zeros(3), np.ones((3, 3)), noise, samples=50, rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(posterior.samples[:, 0], posterior.samples[:, 2], atol=1e-4)
    np.testing.assert_allclose(posterior.given(0).covariance, 0.0, atol=1e-9)
