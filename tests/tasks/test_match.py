"""What a relaxation made of a structure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import BFGS
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from leadline.tasks.candidates.orderings import OrderingsSource
from leadline.tasks.candidates.readers import structure_from_atoms
from leadline.tasks.crystals import Crystals
from leadline.tasks.match import left_prototype, strain_at_constant_volume

CENTRED = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]


def orderings(max_atoms: int) -> list[Structure]:
    source = OrderingsSource(
        {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": max_atoms}, Path()
    )
    found = [candidate.material for candidate in source.generate(np.random.default_rng(0))]
    return [structure for structure in found if isinstance(structure, Structure)]


def relaxed(structure: Structure) -> Structure:
    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.calc = EMT()
    cell: Any = FrechetCellFilter(atoms)
    BFGS(cell, logfile=None).run(fmax=0.02, steps=200)
    return structure_from_atoms(atoms, "relaxed")


def tetragonal(ratio: float, volume: float = 28.0) -> Structure:
    """Cu-Au as L1_0 at ratio 1 (c over the fcc edge), as B2 at 2**-0.5."""
    edge = (volume * 2 / ratio) ** (1 / 3)
    lattice = Lattice.tetragonal(edge / 2**0.5, edge * ratio)
    return Structure(lattice, ["Cu", "Au"], CENTRED)


def test_orderings_relaxed_by_emt_stay_what_they_are_and_apart() -> None:
    initial = orderings(3)
    final = [relaxed(structure) for structure in initial]
    assert [left_prototype(a, b) for a, b in zip(initial, final, strict=True)] == [None] * 10
    phases = Crystals[int](scale=False, structure_at=final.__getitem__)
    for number, structure in enumerate(final):
        assert phases.find(structure) is None
        phases.keep(structure, number)
    assert [phases.find(structure * (2, 1, 1)) for structure in final] == list(range(10))


def test_tetragonal_distortion_by_order_is_not_another_prototype() -> None:
    assert left_prototype(tetragonal(1.0), tetragonal(0.92)) is None
    assert left_prototype(tetragonal(1.0), tetragonal(0.92, volume=34)) is None


def test_from_fcc_to_bcc_is_another_prototype() -> None:
    reason = left_prototype(tetragonal(1.0), tetragonal(2**-0.5))
    assert reason is not None
    assert reason.startswith("the cell is strained by 0.2")


def test_an_atom_that_moved_far_left_its_place() -> None:
    moved = tetragonal(1.0) * (2, 2, 2)
    moved.translate_sites([3], [1.2, 0, 0], frac_coords=False)
    reason = left_prototype(tetragonal(1.0) * (2, 2, 2), moved)
    assert reason is not None
    assert "an atom moved by 1." in reason


def test_a_drift_of_all_atoms_is_no_displacement() -> None:
    cell = tetragonal(1.0) * (2, 1, 1)
    drifted = cell.copy()
    drifted.translate_sites(list(range(len(cell))), [0.45, 0.55, 0.999])
    assert left_prototype(cell, drifted) is None


def test_broken_symmetry_is_another_prototype() -> None:
    cell = tetragonal(1.0)
    shifted = cell.copy()
    shifted.translate_sites([1], [0.0, 0.0, 0.05])
    reason = left_prototype(cell, shifted)
    assert reason is not None
    assert "the space group changed from P4/mmm (123) to" in reason


def test_other_species_cannot_be_a_relaxation() -> None:
    other = Structure(Lattice.cubic(3), ["Cu", "Cu"], CENTRED)
    with pytest.raises(ValueError, match="cannot have relaxed to"):
        left_prototype(tetragonal(1.0), other)


@given(
    scale=st.floats(0.8, 1.2),
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    stretch=st.floats(-0.05, 0.05),
)
@settings(deadline=None, max_examples=50)
def test_strain_sees_neither_rotation_nor_volume(
    scale: float, angles: tuple[float, float, float], stretch: float
) -> None:
    cell = tetragonal(1.0)
    turn = np.linalg.qr(np.eye(3) + np.array([[0, *angles[:2]], [0, 0, angles[2]], [0, 0, 0]]))[0]
    stretched = np.diag([1 + stretch, (1 + stretch) ** -0.5, (1 + stretch) ** -0.5])
    changed = Lattice(cell.lattice.matrix @ (scale * stretched) @ turn)
    found = strain_at_constant_volume(cell, Structure(changed, cell.species, cell.frac_coords))
    expected = max(abs(stretch), abs((1 + stretch) ** -0.5 - 1))
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@pytest.mark.skipif("LEADLINE_DATA" not in os.environ, reason="LEADLINE_DATA names no data")
def test_few_dft_relaxations_of_fcc_orderings_leave_fcc() -> None:
    folder = Path(os.environ["LEADLINE_DATA"]) / "cuagau_fcc"
    final = {a.info["name"]: a for a in read(folder / "relaxed.extxyz.gz", ":")}
    strained = 0
    for atoms in read(folder / "dataset.extxyz.gz", ":"):
        pair = [structure_from_atoms(a, "") for a in (atoms, final[atoms.info["id"]])]
        strained += strain_at_constant_volume(*pair) > 0.10
    assert 10 <= strained <= 40
