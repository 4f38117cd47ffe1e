"""Energy against volume: what the fit finds, and when there is nothing to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.units import GPa

from leadline.tasks.recipes.equation_of_state import EquationOfState
from leadline.tasks.recipes.recipe import Instrument


class Murnaghan(Calculator):
    """A crystal whose energy is Birch and Murnaghan's, of known parameters."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  # as ASE has it
    volume, modulus, derivative = 11.5, 140 * GPa, 5.2

    def calculate(
        self, atoms: Any = None, properties: Any = None, changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, changes)  # type: ignore[no-untyped-call]  # ASE's
        v, b, d = self.volume, self.modulus, self.derivative
        x = (v / atoms.get_volume() * len(atoms)) ** (2 / 3)
        energy = 9 * v * b / 16 * ((x - 1) ** 3 * d + (x - 1) ** 2 * (6 - 4 * x))
        forces, stress = np.zeros((len(atoms), 3)), np.zeros(6)
        self.results = {"energy": energy * len(atoms), "forces": forces, "stress": stress}


def test_the_parameters_of_a_known_curve_come_back(tmp_path: Path) -> None:
    crystal = Murnaghan()  # type: ignore[no-untyped-call]  # ASE's
    known = Instrument(lambda _: crystal, tmp_path)
    found = EquationOfState({"relax": False}).run(bulk("Cu", cubic=True, a=3.6), known)
    assert found.failure is None
    assert found.properties["equilibrium_volume"] == pytest.approx(11.5, rel=1e-6)
    assert found.properties["bulk_modulus"] == pytest.approx(140, rel=1e-5)
    assert found.properties["bulk_modulus_derivative"] == pytest.approx(5.2, rel=1e-4)
    assert found.properties["eos_residual"] < 1e-9


def test_the_modulus_is_the_change_of_pressure_with_volume(emt: Instrument) -> None:
    found = EquationOfState({"span": 0.02}).run(bulk("Cu", a=3.6), emt)
    edge = (4 * found.properties["equilibrium_volume"]) ** (1 / 3)
    pressures = []
    for change in (-0.002, 0.002):
        atoms = bulk("Cu", a=edge * (1 + change) ** (1 / 3))
        atoms.calc = EMT()
        pressures.append(-atoms.get_stress()[:3].mean() / GPa)
    assert pressures[0] + pressures[1] == pytest.approx(0, abs=0.02)
    modulus = (pressures[0] - pressures[1]) / 0.004
    assert found.properties["bulk_modulus"] == pytest.approx(modulus, rel=0.01)


def test_the_answer_is_the_relaxed_cell_and_lies_at_the_minimum(emt: Instrument) -> None:
    found = EquationOfState({"fmax": 1e-3}).run(bulk("Cu", a=3.8), emt)
    assert found.properties["volume_per_atom"] == pytest.approx(
        found.properties["equilibrium_volume"], rel=1e-3
    )
    assert found.atoms.get_volume() == pytest.approx(found.properties["volume_per_atom"])
    assert found.steps > 0


@pytest.mark.parametrize("edge", [3.3, 4.0])
def test_a_minimum_outside_of_the_volumes_is_refused(edge: float, emt: Instrument) -> None:
    found = EquationOfState({"relax": False}).run(bulk("Cu", a=edge), emt)
    assert found.failure is not None
    assert (found.failure.kind, found.failure.reason) == ("physics", "no-minimum")
    assert "bulk_modulus" not in found.properties


def test_atoms_relax_at_each_volume(emt: Instrument) -> None:
    atoms = bulk("Cu", cubic=True, a=3.6) * (1, 1, 2)
    del atoms[0]
    found = EquationOfState({"fmax": 0.01}).run(atoms, emt)
    frozen = []
    for scale in (0.98, 1.0, 1.02):
        cell = found.atoms.copy()
        cell.set_cell(cell.cell * scale ** (1 / 3), scale_atoms=True)
        cell.calc = EMT()
        frozen.append(cell.get_potential_energy())
    curvature = (frozen[0] - 2 * frozen[1] + frozen[2]) / (0.02 * found.atoms.get_volume()) ** 2
    clamped = curvature * found.atoms.get_volume() / GPa
    assert found.properties["bulk_modulus"] < clamped
