from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from leadline.surrogate.errors import HullError
from leadline.surrogate.hull import Hull, energies_above_hull, stable_in_samples

SYMBOLS = ["Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Al", "Zn"]
Floats = NDArray[np.float64]


def phases(k: int, n: int, seed: int, sites: int = 6) -> tuple[Floats, Floats]:
    """Random phases of k elements with whole numbers of atoms, elements first."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(sites, np.full(k, 1 / k), size=n)
    fractions = np.vstack([np.eye(k), counts / sites])
    energies = np.concatenate([rng.normal(-3, 1, k), np.zeros(n)])
    energies[k:] = fractions[k:] @ energies[:k] + rng.normal(-0.05, 0.1, n)
    return fractions, energies


def by_pymatgen(fractions: Floats, energies: Floats) -> Floats:
    entries = [
        PDEntry(Composition(dict(zip(SYMBOLS, row * 60, strict=False))), energy * 60)
        for row, energy in zip(fractions, energies, strict=True)
    ]
    diagram = PhaseDiagram(entries)
    return np.array([diagram.get_e_above_hull(entry) for entry in entries])


@pytest.mark.parametrize(("k", "n"), [(2, 30), (3, 60), (4, 60), (5, 40), (6, 30)])
def test_energies_above_the_hull_are_those_of_pymatgen(k: int, n: int) -> None:
    fractions, energies = phases(k, n, seed=k)
    np.testing.assert_allclose(
        energies_above_hull(fractions, energies), by_pymatgen(fractions, energies), atol=1e-8
    )


def test_a_system_of_eight_elements_is_decided_by_linear_programming() -> None:
    fractions, energies = phases(8, 12, seed=8, sites=16)
    assert (fractions > 0).sum(axis=1).max() > 6
    np.testing.assert_allclose(
        energies_above_hull(fractions, energies), by_pymatgen(fractions, energies), atol=1e-8
    )


def test_the_hull_of_copper_silver_gold_is_the_published_one() -> None:
    if "LEADLINE_DATA" not in os.environ:
        pytest.skip("LEADLINE_DATA does not name the folder of the data sets")
    frames = read(Path(os.environ["LEADLINE_DATA"]) / "cuagau_fcc" / "dataset.extxyz.gz", ":")
    symbols = [list(frame.symbols) for frame in frames]
    fractions = np.array(
        [[row.count(element) / len(row) for element in ("Ag", "Au", "Cu")] for row in symbols]
    )
    energies = np.array([frame.info["formation_energy"] for frame in frames])
    published = np.array([frame.info["e_above_hull"] for frame in frames])
    np.testing.assert_allclose(energies_above_hull(fractions, energies), published, atol=2e-8)


def test_two_elements_alone_have_a_straight_hull() -> None:
    hull = Hull.from_energies(np.eye(2), [-1.0, -3.0])
    np.testing.assert_allclose(hull.energy_at([[0.5, 0.5], [0.25, 0.75]]), [-2.0, -2.5])
    np.testing.assert_array_equal(hull.vertices, [0, 1])


def test_a_vertex_is_the_lowest_phase_of_its_composition_and_no_mixture_of_others() -> None:
    copper = np.array([1.0, 0.0, 0.5, 0.5, 0.25, 0.75])
    fractions = np.column_stack([copper, 1 - copper])
    hull = Hull.from_energies(fractions, [0.0, 0.0, -0.2, -0.4, -0.2, -0.1])
    np.testing.assert_array_equal(hull.vertices, [0, 1, 3])


def test_a_phase_below_the_hull_has_a_negative_distance() -> None:
    hull = Hull.from_energies(np.eye(3), np.zeros(3))
    np.testing.assert_allclose(hull.above([[1 / 3, 1 / 3, 1 / 3]], [-0.1]), [-0.1])


@pytest.mark.parametrize(
    ("fractions", "energies", "said"),
    [
        ([[1, 0], [0.5, 0.5]], [0.0, -1.0], "pure element in column"),
        ([[1, 0], [0, 1]], [0.0, np.nan], "finite"),
        ([[1, 0], [0, 0.9]], [0.0, 0.0], "sums to one"),
        ([[1, 0], [0, 1]], [0.0], "energies"),
        ([[1, 0], [0, 1], [1.5, -0.5]], [0.0, 0.0, 0.0], "at least zero"),
    ],
)
def test_what_has_no_hull_is_refused(
    fractions: list[list[float]], energies: list[float], said: str
) -> None:
    with pytest.raises(HullError, match=said):
        Hull.from_energies(fractions, energies)


def test_a_composition_of_other_elements_is_refused() -> None:
    with pytest.raises(HullError, match="2 elements"):
        Hull.from_energies(np.eye(2), [0.0, 0.0]).energy_at(np.eye(3))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 5), shift=st.floats(-10, 10))
def test_the_hull_is_below_all_phases_and_follows_a_shift_of_the_references(
    seed: int, k: int, shift: float
) -> None:
    fractions, energies = phases(k, 25, seed)
    above = energies_above_hull(fractions, energies)
    raw = Hull.from_energies(fractions, energies).above(fractions, energies)
    assert raw.min() > -1e-9
    references = shift * np.arange(k)
    moved = energies_above_hull(fractions, energies + fractions @ references)
    np.testing.assert_allclose(moved, above, atol=1e-8)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_stability_counts_the_hulls_of_all_phases_together(k: int) -> None:
    fractions, energies = phases(k, 40, seed=3)
    known = Hull.from_energies(fractions[:15], energies[:15])
    samples = energies[15:] + np.random.default_rng(0).normal(0, 0.05, (20, len(energies) - 15))
    expected = [
        energies_above_hull(fractions, np.concatenate([energies[:15], sample]))[15:] <= 0.01
        for sample in samples
    ]
    np.testing.assert_array_equal(stable_in_samples(known, fractions[15:], samples, 0.01), expected)


@pytest.mark.parametrize("k", [2, 5])
def test_no_compositions_have_no_energies(k: int) -> None:
    hull = Hull.from_energies(np.eye(k), np.zeros(k))
    assert hull.energy_at(np.empty((0, k))).shape == (0,)
