"""What may enter a pool."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.data import covalent_radii
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.readers import Unreadable, read_frames


def salt(edge: float = 5.64, cation: str = "Na", anion: str = "Cl") -> Structure:
    lattice = Lattice(np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * edge)
    return Structure(lattice, [cation, anion], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def reason(structure: Structure, checks: Checks | None = None) -> str | None:
    found = (checks or Checks()).problem(structure)
    return found and found[0]


@pytest.mark.parametrize("symbol", ["Cs", "Li", "C", "Si", "Cu", "W", "Pb", "Mg"])
def test_real_elements_pass(symbol: str) -> None:
    assert reason(AseAtomsAdaptor.get_structure(bulk(symbol))) is None


@pytest.mark.skipif("LEADLINE_DATA" not in os.environ, reason="LEADLINE_DATA names no data")
def test_no_ideal_perovskite_of_the_backtest_is_dropped() -> None:
    path = Path(os.environ["LEADLINE_DATA"]) / "perov5" / "dataset.extxyz.gz"
    for frame in read_frames(path):
        assert not isinstance(frame, Unreadable)
        assert reason(frame[0]) is None


@given(fraction=st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=30)
def test_atoms_are_too_close_below_the_factor_and_not_above(fraction: float) -> None:
    assume(abs(fraction - 0.6) > 1e-9)  # coordinates are rounded at the limit itself
    bond = covalent_radii[29] + covalent_radii[79]
    distance = max(fraction, 0.01) * bond
    structure = Structure(Lattice.cubic(8), ["Cu", "Au"], [[0.9, 0, 0], [0.9 + distance / 8, 0, 0]])
    checks = Checks(shortest_distance=0.6)
    assert (reason(structure, checks) == "atoms too close") == (distance < 0.6 * bond)


def test_an_atom_is_not_too_close_to_its_own_image_unnoticed() -> None:
    needle = Structure(Lattice.orthorhombic(0.9, 5, 5), ["Cu"], [[0, 0, 0]])
    assert reason(needle) == "atoms too close"
    skewed = Structure(
        Lattice([[4.0, 0.0, 0.0], [3.5, 0.8, 0.0], [0.0, 0.0, 4.0]]), ["Cu"], [[0, 0, 0]]
    )
    assert reason(skewed) == "atoms too close"


def test_cells_that_no_search_should_see_are_refused() -> None:
    assert reason(Structure(Lattice.orthorhombic(1e-6, 1e3, 1e4), ["Cu"], [[0, 0, 0]])) == (
        "unphysical cell"
    )
    flat = Lattice([[5.0, 0.0, 0.0], [5.0, 1e-3, 0.0], [0.0, 0.0, 5.0]])
    assert reason(Structure(flat, ["Cu"], [[0, 0, 0]])) == "unphysical cell"


def test_volume_per_atom_has_a_window() -> None:
    assert reason(Structure(Lattice.cubic(1.1), ["H"], [[0, 0, 0]])) == "volume per atom"
    assert reason(Structure(Lattice.cubic(7.0), ["Cu"], [[0, 0, 0]])) == "volume per atom"


def test_numbers_must_be_finite() -> None:
    assert reason(Structure(Lattice.cubic(4), ["Cu"], [[0, 0, np.nan]])) == "not finite"


def test_sites_elements_and_charges_are_limited_where_asked() -> None:
    assert reason(salt(), Checks(max_sites=1)) == "too many sites"
    lacking = Checks(elements=frozenset({"Na"})).problem(salt())
    assert lacking == ("element not computed by the engine", "NaCl: Cl")
    balanced = Checks(charge_balance=True)
    assert reason(salt(), balanced) is None
    assert reason(salt(4.2, "Mg", "Cl"), balanced) == "charge not balanced"
    assert reason(AseAtomsAdaptor.get_structure(bulk("Cu")), balanced) is None


@given(
    edges=st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=9, max_size=9),
    places=st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6),
)
@settings(deadline=2000, max_examples=150)
def test_any_cell_gets_an_answer_in_time(edges: list[float], places: list[float]) -> None:
    structure = Structure(Lattice(edges), ["Cu", "O"], np.reshape(places, (2, 3)))
    found = Checks().problem(structure)
    assert found is None or all(found)
