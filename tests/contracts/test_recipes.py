"""Laws that every recipe obeys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from leadline.tasks.errors import SpecError
from leadline.tasks.recipes.recipe import UNITS, Instrument
from leadline.tasks.recipes.table import RECIPES, recipe
from leadline.tasks.recipes.trail import Trail

PRERELAX = {"engine": {"name": "emt"}}
OTHER_SETTINGS: dict[str, dict[str, Any]] = {
    "static": {},
    "relax": {"fmax": 0.05, "max_steps": 50, "cell": False, "pressure": 1.0, "prerelax": PRERELAX},
    "relax+static": {
        "fmax": 0.05,
        "max_steps": 50,
        "cell": False,
        "pressure": 1.0,
        "prerelax": PRERELAX,
    },
    "equation_of_state": {
        "relax": False,
        "fmax": 0.05,
        "max_steps": 50,
        "span": 0.05,
        "points": 9,
        "prerelax": PRERELAX,
    },
    "elastic": {
        "relax": False,
        "fmax": 0.05,
        "max_steps": 50,
        "strain": 0.005,
        "prerelax": PRERELAX,
    },
    "band_gap": {},
}
FIXED_CELL: dict[str, dict[str, Any]] = {
    "relax": {"cell": False},
    "relax+static": {"cell": False},
    "equation_of_state": {"relax": False, "span": 0.2},
    "elastic": {"relax": False},
}
EVERYWHERE = {
    "energy_per_atom",
    "volume_per_atom",
    "largest_force",
    "residual_pressure",
    "largest_stress",
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


class Banded(EMT):
    """EMT with two bands of its own invention, and a gap of 1 eV between them."""

    def calculate(self, *given: Any, **named: Any) -> None:
        super().calculate(*given, **named)  # type: ignore[no-untyped-call]  # ASE's
        bands = {"eigenvalues": np.array([[[-1.0, 1.0], [0.0, 2.0]]]), "fermi_level": 0.5}
        self.results = {**self.results, **bands}


def _banded(_: Atoms) -> Banded:
    return Banded()  # type: ignore[no-untyped-call]  # ASE's


def _emt(directory: Path) -> Instrument:
    return Instrument(lambda _: EMT(), directory, bands=_banded)


def _liar(directory: Path, energy: float, force: float = 0.0) -> Instrument:
    return Instrument(lambda _: Liar(energy, force), directory, bands=lambda _: Liar(energy, force))


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
    assert set(found.properties) >= EVERYWHERE
    without = {"bulk_modulus_derivative", "poisson_ratio", "mechanically_stable"}
    assert set(found.properties) - set(UNITS) <= without
    assert all(type(value) is float for value in found.properties.values())
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
    found = recipe(name, {}).run(_crystal(), _liar(tmp_path, energy))
    assert found.failure is not None
    assert (found.failure.kind, found.failure.reason) == ("physics", reason)


def test_a_nan_force_is_never_good(name: str, tmp_path: Path) -> None:
    found = recipe(name, {}).run(_crystal(), _liar(tmp_path, -1.0, float("nan")))
    assert found.failure is not None
    assert (found.failure.kind, found.failure.reason) == ("physics", "not-finite")


def test_the_cell_moves_only_where_the_recipe_says_so(name: str, tmp_path: Path) -> None:
    fixed = FIXED_CELL.get(name)
    for settings in ({},) if fixed is None else ({}, fixed):
        steps = recipe(name, settings)
        atoms = _crystal()
        before = atoms.cell.array.copy()
        found = steps.run(atoms, _emt(tmp_path))
        assert found.failure is None
        assert np.allclose(before, found.atoms.cell.array) != steps.relaxes_cell


def test_going_on_is_left_to_what_relaxes(name: str, tmp_path: Path) -> None:
    for attempt in (1, 2):
        (tmp_path / f"attempt-{attempt}").mkdir()
    cut = _crystal()
    cut.set_cell(cut.cell * 1.01, scale_atoms=True)
    Trail(tmp_path / "attempt-1").mark(cut, 3)
    trail = Trail(tmp_path / "attempt-2")
    first = recipe(name, {}).run(_crystal(), _emt(tmp_path))
    again = recipe(name, {}).run(_crystal(), replace(_emt(tmp_path), trail=trail))
    steps = recipe(name, {})
    assert trail.continued_from == ({"attempt": 1, "step": 3} if steps.relaxes_cell else None)
    assert again.energy == pytest.approx(first.energy, abs=1e-3)
