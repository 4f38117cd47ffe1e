"""Ladders of settings: where they begin, how they climb, and when one is high enough."""

from __future__ import annotations

import pytest
from ase.build import bulk

from leadline.tasks.convergence import (
    Ladder,
    Rung,
    coarser,
    finer,
    formation_energy,
    setting,
    with_setting,
)
from leadline.tasks.engines.engine import Knob
from leadline.tasks.engines.k_mesh import k_mesh

CUTOFF = Knob("ecutwfc", "Ry", "cutoff")
MESH = Knob("kspacing", "1/Å", "mesh")


def ladder(*energies: float, error: float = 1e-3) -> Ladder:
    rungs = (Rung(10.0 * i, energy, 0.1 * i, 2.0) for i, energy in enumerate(energies, 1))
    return Ladder(CUTOFF, tuple(rungs), error)


def test_the_coarsest_rung_is_taken_that_all_finer_ones_agree_with() -> None:
    climbed = ladder(-1.0, -1.1, -1.1004, -1.1008, -1.1001)
    assert climbed.converged is climbed.rungs[1]
    assert climbed.spread_from(climbed.rungs[1]) == pytest.approx(8e-4)


def test_one_that_agrees_by_chance_is_not_enough() -> None:
    assert ladder(-1.0, -1.0001).converged is None
    assert ladder(-1.0, -1.0001, -1.05).converged is None


def test_what_goes_up_and_down_is_not_converged() -> None:
    assert ladder(-1.0, -1.002, -1.0, -1.002, -1.0).converged is None
    # The first lies between the others, which differ by more than the error.
    assert ladder(-1.0, -1.0006, -0.9994).converged is None
    assert ladder(-1.0, -1.002, -1.0, -1.002, -1.0, error=3e-3).converged is not None


def test_a_table_counts_changes_from_the_finest() -> None:
    head, first, _, last = ladder(-1.0, -1.0005, -1.001).table().splitlines()
    assert "ecutwfc (Ry)" in head
    assert first.split() == ["10", "+1.00", "-0.20", "2.0"]
    assert last.split() == ["30", "+0.00", "+0.00", "2.0"]


def test_a_setting_in_a_setting_is_named_with_a_dot() -> None:
    settings = {"kspacing": 0.3, "user_incar_settings": {"ENCUT": 400, "SIGMA": 0.1}}
    assert setting(settings, "user_incar_settings.ENCUT") == 400
    assert setting(settings, "kspacing") == 0.3
    assert setting(settings, "kspacing.ENCUT") is None
    assert setting({}, "user_incar_settings.ENCUT") is None
    finer_one = with_setting(settings, "user_incar_settings.ENCUT", 500)
    assert finer_one == {**settings, "user_incar_settings": {"ENCUT": 500, "SIGMA": 0.1}}
    assert with_setting({}, "user_incar_settings.ENCUT", 500) == {
        "user_incar_settings": {"ENCUT": 500}
    }
    assert Knob("user_incar_settings.ENCUT", "eV", "cutoff").label == "ENCUT"


def test_cutoffs_grow_by_a_factor_to_round_numbers() -> None:
    silicon = bulk("Si")
    assert coarser(CUTOFF, 20, silicon) == 16
    assert finer(CUTOFF, 20, silicon) == 25
    assert finer(Knob("ecut", "Ha", "cutoff", 1.2), 2.0, silicon) == 2.4


@pytest.mark.parametrize("cell", [bulk("Si"), bulk("Cu"), bulk("Mg"), bulk("Cu", cubic=True)])
def test_each_spacing_gives_another_mesh(cell: object) -> None:
    value, meshes = 0.6, []
    for _ in range(6):
        value = finer(MESH, value, cell)  # type: ignore[arg-type]
        meshes.append(max(k_mesh(cell, value)))  # type: ignore[arg-type]
    assert meshes == list(range(meshes[0], meshes[0] + 6))


def test_a_ladder_of_meshes_begins_no_finer_than_asked_for() -> None:
    silicon = bulk("Si")
    assert coarser(MESH, 0.3, silicon) > 0.3
    assert max(k_mesh(silicon, coarser(MESH, 0.3, silicon))) == max(k_mesh(silicon, 0.3)) - 1
    assert coarser(MESH, 9.0, silicon) == 9.0


def test_formation_energies_take_each_element_by_its_share() -> None:
    assert formation_energy(-3.0, [(0.25, -2.0), (0.75, -3.0)]) == pytest.approx(-0.25)
    assert formation_energy(-3.0, []) == -3.0
