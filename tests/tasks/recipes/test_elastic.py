"""Elastic constants by stress, against the energy and against textbook relations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.units import GPa

from leadline.tasks.errors import ConfigurationError
from leadline.tasks.recipes.elastic import Elastic, moduli
from leadline.tasks.recipes.equation_of_state import EquationOfState
from leadline.tasks.recipes.recipe import Instrument


class Stressless(EMT):
    def get_stress(self, *_: Any, **__: Any) -> Any:
        raise PropertyNotImplementedError("no stress")


def curvature(atoms: Atoms, strain: np.ndarray) -> float:
    """Return the second derivative of the energy density by the amount of a strain, GPa."""
    energies = []
    for amount in (-0.002, 0.0, 0.002):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + amount * strain), scale_atoms=True)
        strained.calc = EMT()
        energies.append(strained.get_potential_energy())
    return float(
        (energies[0] - 2 * energies[1] + energies[2]) / 0.002**2 / atoms.get_volume() / GPa
    )


def test_the_constants_of_copper_are_the_curvatures_of_its_energy(emt: Instrument) -> None:
    found = Elastic({}).run(bulk("Cu", cubic=True, a=3.6), emt)
    assert found.failure is None
    c = found.properties
    stretch = np.diag([1.0, 0, 0])
    shear = np.array([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]])
    assert c["c11"] == pytest.approx(curvature(found.atoms, stretch), rel=0.02)
    assert c["c44"] == pytest.approx(curvature(found.atoms, shear), rel=0.02)
    assert c["bulk_modulus"] == pytest.approx((c["c11"] + 2 * c["c12"]) / 3)
    assert c["mechanically_stable"] == 1
    assert c["softest_stiffness"] == pytest.approx(min(c["c11"] - c["c12"], c["c44"]), rel=1e-3)


def test_stress_and_energy_agree_on_the_bulk_modulus(emt: Instrument) -> None:
    by_stress = Elastic({}).run(bulk("Cu", a=3.6), emt).properties["bulk_modulus"]
    by_energy = EquationOfState({}).run(bulk("Cu", a=3.6), emt).properties["bulk_modulus"]
    assert by_stress == pytest.approx(by_energy, rel=0.01)


def test_a_tetragonal_crystal_has_the_constants_of_its_axes(emt: Instrument) -> None:
    layered = Atoms(
        "CuAu", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.75, 2.75, 3.7], pbc=1
    )
    found = Elastic({}).run(layered, emt)
    c = found.properties
    assert c["c11"] == pytest.approx(c["c22"], rel=1e-3)
    assert c["c44"] == pytest.approx(c["c55"], rel=1e-3)
    assert abs(c["c11"] - c["c33"]) > 5
    for row, constant in ((0, "c11"), (2, "c33")):
        stretch = np.zeros((3, 3))
        stretch[row, row] = 1
        assert c[constant] == pytest.approx(curvature(found.atoms, stretch), rel=0.02)


def test_a_crystal_that_gives_way_is_an_answer_and_called_unstable(emt: Instrument) -> None:
    found = Elastic({"relax": False}).run(bulk("Cu", "bcc", a=2.85), emt)
    assert found.failure is None
    assert found.properties["mechanically_stable"] == 0
    assert found.properties["softest_stiffness"] < 0


def test_symmetry_spares_calculations(tmp_path: Path) -> None:
    made = []

    class Counting(EMT):
        def calculate(self, *given: Any, **named: Any) -> None:
            made.append(1)
            super().calculate(*given, **named)  # type: ignore[no-untyped-call]  # ASE's

    counting = Counting()  # type: ignore[no-untyped-call]  # ASE's
    Elastic({"relax": False}).run(bulk("Cu", a=3.59), Instrument(lambda _: counting, tmp_path))
    assert len(made) <= 9


def test_an_engine_without_stresses_is_refused(tmp_path: Path) -> None:
    stressless = Stressless()  # type: ignore[no-untyped-call]  # ASE's
    deaf = Instrument(lambda _: stressless, tmp_path)
    with pytest.raises(ConfigurationError, match="needs stresses"):
        Elastic({"relax": False}).run(bulk("Cu"), deaf)


def test_an_isotropic_tensor_has_the_moduli_of_the_textbook() -> None:
    bulk_modulus, shear = 100.0, 40.0
    c = np.zeros((6, 6))
    c[:3, :3] = bulk_modulus - 2 * shear / 3
    c += np.diag([2 * shear] * 3 + [shear] * 3)
    found = moduli(c)
    for bound in ("", "_voigt", "_reuss"):
        assert found[f"bulk_modulus{bound}"] == pytest.approx(bulk_modulus)
        assert found[f"shear_modulus{bound}"] == pytest.approx(shear)
    assert found["young_modulus"] == pytest.approx(9 * bulk_modulus * shear / 340)
    assert found["poisson_ratio"] == pytest.approx((300 - 80) / (600 + 80))
    assert found["c12"] == pytest.approx(bulk_modulus - 2 * shear / 3)


def test_the_moduli_of_a_liquid_are_left_out() -> None:
    assert set(moduli(np.zeros((6, 6)))) & {"bulk_modulus", "young_modulus"} == set()
