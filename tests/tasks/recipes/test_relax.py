"""Relaxation by real forces: where it ends, and when it is given up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from leadline.tasks.recipes.recipe import Instrument
from leadline.tasks.recipes.relax import Relax
from leadline.tasks.recipes.relax_static import RelaxStatic


def copper(edge: float = 3.8) -> Atoms:
    atoms = bulk("Cu", cubic=True, a=edge)
    atoms.rattle(0.05, seed=3)
    return atoms


def test_copper_finds_the_minimum_that_a_scan_finds(emt: Instrument, tmp_path: Path) -> None:
    edges = np.linspace(3.5, 3.7, 41)
    energies = []
    for edge in edges:
        cell = bulk("Cu", a=edge)
        cell.calc = EMT()
        energies.append(cell.get_potential_energy())
    curve = np.polynomial.Polynomial.fit(edges, energies, 6)
    roots = np.asarray(curve.deriv().roots(), dtype=complex)
    (best,) = (float(x.real) for x in roots if abs(x.imag) < 1e-9 and 3.5 < x.real < 3.7)
    found = Relax({"fmax": 1e-3}).run(copper(), emt)
    assert found.failure is None
    assert found.atoms.get_volume() == pytest.approx(best**3, rel=1e-4)
    assert found.energy == pytest.approx(4 * float(curve(best)), abs=1e-5)
    assert found.properties["largest_force"] < 1e-3
    assert abs(found.properties["residual_pressure"]) < 0.05
    assert found.steps == len((tmp_path / "relax.log").read_text().splitlines()) - 2


def test_a_pressure_is_held(emt: Instrument) -> None:
    found = Relax({"pressure": 10.0, "fmax": 1e-3}).run(copper(), emt)
    assert found.properties["residual_pressure"] == pytest.approx(10.0, abs=0.05)
    assert found.properties["largest_stress"] < 0.05
    assert found.stress is not None
    assert found.stress[0] / GPa == pytest.approx(-10.0, abs=0.05)


def test_positions_alone_relax_where_the_cell_is_fixed(emt: Instrument) -> None:
    found = Relax({"cell": False}).run(copper(), emt)
    assert found.failure is None
    assert found.properties["largest_force"] < 0.02
    assert abs(found.properties["residual_pressure"]) > 5


def test_what_did_not_converge_is_never_good(emt: Instrument) -> None:
    found = Relax({"max_steps": 1}).run(copper(), emt)
    assert found.failure is not None
    assert (found.failure.kind, found.failure.reason) == ("physics", "not-relaxed")
    assert "after 1 steps the largest force is" in found.failure.message


def test_what_is_relaxed_already_takes_no_step(emt: Instrument) -> None:
    first = Relax({}).run(copper(), emt)
    again = Relax({}).run(first.atoms.copy(), emt)
    assert again.steps == 0
    assert again.failure is None


def test_a_cell_that_falls_apart_is_given_up(emt: Instrument) -> None:
    torn = Relax({"pressure": -60.0}).run(copper(), emt)
    assert torn.failure is not None
    assert (torn.failure.kind, torn.failure.reason) == ("physics", "cell-fell-apart")


@pytest.mark.parametrize("symbols", ["CuAu", "CuPd", "NiAl", "AgPt"])
def test_an_ordered_phase_relaxes_in_few_steps(symbols: str, emt: Instrument) -> None:
    cell = Atoms(
        symbols, scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.8, 2.8, 3.9], pbc=1
    )
    found = Relax({}).run(cell, emt)
    assert found.failure is None
    assert found.steps < 40


def test_the_final_cell_is_computed_afresh_with_a_calculator_made_for_it(tmp_path: Path) -> None:
    volumes = []

    def made(atoms: Atoms) -> EMT:
        volumes.append(atoms.get_volume())
        return EMT()

    found = RelaxStatic({}).run(copper(), Instrument(made, tmp_path))
    assert found.failure is None
    assert volumes == [pytest.approx(3.8**3), pytest.approx(found.atoms.get_volume())]
    # EMT has no basis that a change of the cell could spoil.
    assert found.properties["fresh_basis_change"] == pytest.approx(0, abs=1e-9)
    assert found.energy == pytest.approx(Relax({}).run(copper(), Instrument(made, tmp_path)).energy)


def test_what_did_not_relax_is_not_computed_afresh(emt: Instrument) -> None:
    found = RelaxStatic({"max_steps": 1}).run(copper(), emt)
    assert found.failure is not None
    assert found.failure.reason == "not-relaxed"
