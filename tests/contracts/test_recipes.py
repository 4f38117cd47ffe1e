"""Laws that every recipe obeys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from leadline.tasks.errors import SpecError
from leadline.tasks.recipes.recipe import Instrument
from leadline.tasks.recipes.table import RECIPES, recipe

OTHER_SETTINGS: dict[str, dict[str, Any]] = {
    "static": {},
    "relax": {"fmax": 0.05, "max_steps": 50, "cell": False, "pressure": 1.0},
}


class Liar(Calculator):
    """A calculator that gives one energy, and forces of the same kind, whatever is asked."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  # as ASE has it

    def __init__(self, energy: float, force: float = 0.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's
        self.energy, self.force = energy, force

    def calculate(
        self, atoms: Any = None, properties: Any = None, changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, changes)  # type: ignore[no-untyped-call]  # ASE's
        forces = np.full((len(atoms), 3), self.force)
        self.results = {"energy": self.energy, "forces": forces, "stress": np.zeros(6)}


def _crystal() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "Au"
    return atoms


def _emt(directory: Path) -> Instrument:
    return Instrument(lambda _: EMT(), directory)


@pytest.fixture(params=sorted(RECIPES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_unknown_setting_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"recipe\.no_such_key: unknown key; allowed here"):
        recipe(name, {"no_such_key": 1})


def test_the_id_tells_every_setting_apart(name: str) -> None:
    assert set(OTHER_SETTINGS[name]) == set(type(recipe(name, {}).settings).model_fields)
    ids = {recipe(name, {key: value}).id for key, value in OTHER_SETTINGS[name].items()}
    assert len(ids | {recipe(name, {}).id}) == len(OTHER_SETTINGS[name]) + 1


def test_the_id_is_the_same_however_the_settings_are_written(name: str) -> None:
    written = recipe(name, {}).settings.model_dump(mode="json")
    assert recipe(name, written).id == recipe(name, {}).id
    assert recipe(name, {}).id.startswith(name + "-")


def test_numbers_come_with_the_units_of_the_schema(name: str, tmp_path: Path) -> None:
    found = recipe(name, {}).run(_crystal(), _emt(tmp_path))
    assert found.failure is None
    assert found.energy is not None
    assert set(found.properties) == {
        "energy_per_atom",
        "volume_per_atom",
        "largest_force",
        "residual_pressure",
        "largest_stress",
    }
    assert found.properties["energy_per_atom"] == pytest.approx(found.energy / 4)
    assert np.array(found.forces).shape == (4, 3)
    assert np.array(found.stress).shape == (6,)


@pytest.mark.parametrize(
    ("energy", "reason"),
    [(float("nan"), "not-finite"), (float("inf"), "not-finite"), (5e3, "absurd-energy"),
     (-1e9, "absurd-energy")],
)  # fmt: skip
def test_an_absurd_energy_is_a_failure_of_physics(
    name: str, energy: float, reason: str, tmp_path: Path
) -> None:
    found = recipe(name, {}).run(_crystal(), Instrument(lambda _: Liar(energy), tmp_path))
    assert found.failure is not None
    assert (found.failure.kind, found.failure.reason) == ("physics", reason)


def test_a_nan_force_is_never_good(name: str, tmp_path: Path) -> None:
    found = recipe(name, {}).run(
        _crystal(), Instrument(lambda _: Liar(-1.0, force=float("nan")), tmp_path)
    )
    assert found.failure is not None
    assert (found.failure.kind, found.failure.reason) == ("physics", "not-finite")


def test_the_cell_moves_only_where_the_recipe_says_so(name: str, tmp_path: Path) -> None:
    for settings in ({}, {"cell": False}) if name == "relax" else ({},):
        steps = recipe(name, settings)
        atoms = _crystal()
        before = atoms.cell.array.copy()
        steps.run(atoms, _emt(tmp_path))
        assert np.allclose(before, atoms.cell.array) != steps.relaxes_cell
