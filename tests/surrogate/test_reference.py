from __future__ import annotations

import numpy as np
import pytest

from leadline.surrogate.errors import FitError
from leadline.surrogate.reference import fitted_references, formation_energies

FRACTIONS = np.array([[1, 0], [0, 1], [0.5, 0.5], [0.25, 0.75]])


def test_a_formation_energy_is_what_an_alloy_gains_over_its_elements() -> None:
    energies = np.array([-3.72, -3.27, -3.595, -3.4])
    found = formation_energies(energies, FRACTIONS, [-3.72, -3.27])
    np.testing.assert_allclose(found, [0.0, 0.0, -0.1, -0.0175], atol=1e-12)


def test_fitted_references_recover_the_elements_of_an_ideal_mixture() -> None:
    energies = FRACTIONS @ [-3.72, -9.27]
    np.testing.assert_allclose(fitted_references(energies, FRACTIONS), [-3.72, -9.27], atol=1e-4)


def test_fitted_references_solve_the_ridge_problem() -> None:
    rng = np.random.default_rng(0)
    fractions = rng.dirichlet(np.ones(3), size=20)
    energies = rng.normal(size=20) - 5
    found = fitted_references(energies, fractions)
    stacked = np.vstack([fractions, np.sqrt(1e-6) * np.eye(3)])
    target = np.concatenate([energies - energies.mean(), np.zeros(3)])
    expected = np.linalg.lstsq(stacked, target, rcond=None)[0] + energies.mean()
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_an_element_without_a_label_gets_the_mean_energy() -> None:
    fractions = np.hstack([FRACTIONS, np.zeros((4, 1))])
    energies = np.array([-3.0, -4.0, -3.5, -3.75])
    assert fitted_references(energies, fractions)[2] == pytest.approx(energies.mean())


@pytest.mark.parametrize("reference", [[-3.7], [-3.7, np.nan], [-3.7, -3.2, -1.0]])
def test_a_missing_reference_energy_is_refused(reference: list[float]) -> None:
    with pytest.raises(FitError, match="one finite number an element is needed, 2 in all"):
        formation_energies([-3.0] * 4, FRACTIONS, reference)


def test_an_energy_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(FitError, match="1 of 4 energies are not finite"):
        fitted_references([1.0, np.nan, 0.0, 0.0], FRACTIONS)


def test_energies_and_fractions_of_different_lengths_are_refused() -> None:
    with pytest.raises(FitError, match=r"energies have shape \(3,\)"):
        fitted_references([1.0, 2.0, 0.0], FRACTIONS)
