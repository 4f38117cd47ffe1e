"""Effective medium theory: golden energies, and structures as they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.table import engine

NOWHERE = Path("/nowhere")
COHESIVE = {"Al": -3.28, "Cu": -3.51, "Ag": -2.96, "Au": -3.80, "Ni": -4.44, "Pd": -3.90}
"""E0 in Table 1 of Jacobsen, Stoltze and Nørskov: eV of an atom alone, below the fcc crystal."""


def energy(atoms: Atoms) -> float:
    computed = atoms.copy()
    computed.calc = engine("emt", {}, EngineSite()).calculator(atoms, NOWHERE)
    return float(computed.get_potential_energy())


@pytest.mark.parametrize(("symbol", "cohesive"), sorted(COHESIVE.items()))
def test_the_zero_is_the_crystal_and_an_atom_alone_costs_its_cohesion(
    symbol: str, cohesive: float
) -> None:
    lattices = [bulk(symbol, "fcc", a=edge) for edge in np.linspace(3.4, 4.2, 81)]
    lowest = min(energy(lattice) for lattice in lattices)
    alone = energy(Atoms(symbol, cell=[30, 30, 30], pbc=True))
    assert alone - lowest == pytest.approx(-cohesive, abs=0.02)
    assert lowest == pytest.approx(0.0, abs=0.02)


def test_ordered_copper_gold_has_its_golden_energies() -> None:
    # L1_0 and L1_2 unrelaxed, by ASE 3.29's EMT alone with the default cutoff.
    l10 = Atoms("CuAu", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.8, 2.8, 3.7], pbc=1)
    assert energy(l10) == pytest.approx(-0.00633000, abs=1e-6)
    l12 = bulk("Cu", cubic=True, a=3.75)
    l12.symbols[0] = "Au"
    assert energy(l12) == pytest.approx(-0.03638595, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_energy_does_not_depend_on_order_place_or_orientation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[:2] = "Au"
    atoms.rattle(0.1, rng=rng)
    other = atoms[rng.permutation(4)]
    other.rotate(float(rng.uniform(0, 360)), rng.normal(size=3), rotate_cell=True)
    other.translate(rng.normal(size=3))
    other.wrap()
    assert energy(other) == pytest.approx(energy(atoms), abs=1e-8)
