"""A cheap engine leads the way, and whatever becomes of it the answer is the own engine's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from ase.calculators.emt import EMT
from asked import asked

from leadline.tasks.calculation import Request, Result
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.ended import tidy_after_end
from leadline.tasks.engines.prerelax import VOLUME_CHANGE
from leadline.tasks.recipes.table import RECIPES, recipe, recipe_class

CHEAP = {"name": "emt", "asap_cutoff": True}
"""EMT with another cutoff: what tells it from the campaign's own in these tests."""
Making = Callable[[Atoms], BaseCalculator]


def crystal() -> Atoms:
    """Two layers of copper and two of gold: too large, and their distances are free."""
    places = [[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5], [0.5, 0.5, 0.75]]
    return Atoms("Cu2Au2", scaled_positions=places, cell=[2.9, 2.9, 8.2], pbc=True)


def request(name: str = "relax", attempt: int = 1, **more: Any) -> Request:
    prerelax = {"engine": CHEAP, "fmax": 0.02, **more.pop("prerelax", {})}
    limit = more.pop("time_limit", None)
    steps = {"name": name, "settings": {"fmax": 0.1, "prerelax": prerelax, **more}}
    engine = {"name": "emt", "settings": {}}
    return replace(asked(engine, crystal(), recipe=steps, time_limit=limit), attempt=attempt)


def run(folder: Path, asking: Request) -> Result:
    return compute(asking, folder / f"attempt-{asking.attempt}")


@cache
def without(name: str = "relax") -> Result:
    plain = {"name": name, "settings": {"fmax": 0.1}}
    with TemporaryDirectory() as folder:
        asking = asked({"name": "emt", "settings": {}}, crystal(), recipe=plain)
        return compute(asking, Path(folder))


def evidence(result: Result) -> dict[str, Any]:
    assert result.complete, result.failure
    assert result.prerelaxed is not None
    assert Result.from_json(result.to_json()) == result
    return dict(result.prerelaxed)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> Callable[[Making], None]:
    """Have the cheap engine, and not the other, give what a test makes of it."""
    own = EmtEngine.calculator

    def becomes(make: Making) -> None:
        def calculator(engine: EmtEngine, atoms: Atoms, directory: Path) -> BaseCalculator:
            return make(atoms) if engine.settings.asap_cutoff else own(engine, atoms, directory)

        monkeypatch.setattr(EmtEngine, "calculator", calculator)

    return becomes


class Counting(EMT):
    """EMT that does something at its n-th energy."""

    def __init__(self, count: int, act: Callable[[], Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's
        self.left, self.act = count, act

    def calculate(self, *given: Any, **named: Any) -> None:
        self.left -= 1
        if not self.left:
            self.act()
        super().calculate(*given, **named)  # type: ignore[no-untyped-call]  # ASE's


class Springs(Calculator):
    """Draws the last atom to a place (Å) and the cell to a volume (Å^3)."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  # as ASE has it

    def __init__(self, place: Any, volume: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's
        self.place, self.volume = np.asarray(place, dtype=float), volume

    def calculate(
        self, atoms: Any = None, properties: Any = None, changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, changes)  # type: ignore[no-untyped-call]  # ASE's
        off, swollen = atoms.positions[-1] - self.place, atoms.get_volume() / self.volume - 1
        forces = np.zeros((len(atoms), 3))
        forces[-1] = -10 * off
        self.results = {
            "energy": 5 * off @ off + self.volume * swollen**2 / 2,
            "forces": forces,
            "stress": swollen * np.array([1, 1, 1, 0, 0, 0]),
        }


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"static", "band_gap"}))
def test_the_answer_is_that_of_the_own_engine_and_takes_it_fewer_steps(
    name: str, tmp_path: Path
) -> None:
    alone = without(name)
    found = run(tmp_path, request(name))
    begun = evidence(found)
    assert (begun["engine"], begun["attempt"], begun["end"]) == ("emt", 1, "converged")
    assert begun["steps"] > 2
    assert begun["largest_force"] < 0.02
    assert -0.25 < begun["volume_change"] < -0.1
    assert 0 < begun["seconds"] < found.times["wall"]
    assert found.steps < alone.steps
    assert found.energy == pytest.approx(alone.energy, abs=0.01)
    assert alone.prerelaxed is None


def test_only_a_recipe_that_relaxes_takes_one() -> None:
    takes = {name for name in RECIPES if "prerelax" in recipe_class(name).Settings.model_fields}
    assert takes == {name for name in RECIPES if recipe(name, {}).relaxes_cell}


def test_the_id_holds_what_the_cheap_engine_is_and_not_how_it_is_launched() -> None:
    def id_of(fingerprint: str, **more: Any) -> str:
        settings = {"prerelax": {"engine": {"name": "chgnet", "device": "cpu"}, **more}}
        return recipe("relax", settings).prerelaxed_by(fingerprint).id

    elsewhere = {"engine": {"name": "chgnet", "device": "cuda"}}
    assert id_of("a") == id_of("a", **elsewhere)
    different = {id_of("a"), id_of("b"), id_of("a", fmax=0.2), id_of("a", max_steps=5)}
    assert len({*different, recipe("relax", {}).id}) == 5


def test_the_cell_stays_and_a_pressure_is_held_as_the_recipe_says(tmp_path: Path) -> None:
    fixed = run(tmp_path / "fixed", request(cell=False))
    assert evidence(fixed)["volume_change"] == pytest.approx(0, abs=1e-9)
    free, pressed = (
        evidence(run(tmp_path / str(pressure), request(pressure=pressure)))["volume_change"]
        for pressure in (0.0, 20.0)
    )
    assert pressed < free - 0.05


def test_one_that_ran_out_of_steps_leaves_its_best_geometry(tmp_path: Path) -> None:
    found = run(tmp_path, request(prerelax={"max_steps": 3}))
    begun = evidence(found)
    assert (begun["end"], begun["steps"]) == ("unfinished", 3)
    assert "after 3 steps the largest force is" in begun["why"]
    assert begun["volume_change"] < -0.05


@pytest.mark.parametrize("act", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(3)])
def test_a_crash_of_it_leaves_the_best_geometry(
    act: Callable[[], Any], cheap: Callable[[Making], None], tmp_path: Path
) -> None:
    cheap(lambda _: Counting(4, act))
    begun = evidence(run(tmp_path, request()))
    assert (begun["end"], begun["steps"]) == ("unfinished", 2)
    assert begun["why"].startswith("its process ended with s")


def test_one_that_fails_at_once_leaves_the_start(
    cheap: Callable[[Making], None], tmp_path: Path
) -> None:
    def fails() -> None:
        raise ArithmeticError("the network is out of its depth")

    cheap(lambda _: Counting(1, fails))
    found = run(tmp_path, request())
    begun = evidence(found)
    assert (begun["end"], begun["steps"]) == ("dropped", 0)
    assert "the network is out of its depth" in begun["why"]
    assert found.steps == without().steps


WIDE = crystal().get_volume()


@pytest.mark.parametrize(
    ("place", "volume", "why"),
    [
        (crystal().positions[3], WIDE * (VOLUME_CHANGE + 0.3), "the volume changed"),
        (crystal().positions[3], WIDE * 20, "more than a factor 3"),
        (crystal().positions[2], WIDE, "atoms too close"),
        (crystal().positions[3] + [0.6, 0.9, 0], WIDE, "an atom moved by"),
        (crystal().positions[3] + [0.3, 0, 0], WIDE, "the space group changed"),
    ],
)
def test_one_that_runs_away_is_dropped_with_its_reason(
    place: Any, volume: float, why: str, cheap: Callable[[Making], None], tmp_path: Path
) -> None:
    cheap(lambda _: Springs(place, volume))
    found = run(tmp_path, request())
    begun = evidence(found)
    assert begun["end"] == "dropped"
    assert why in begun["why"]
    assert found.energy == pytest.approx(without().energy, abs=1e-6)


def test_what_had_no_symmetry_may_find_some(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True, a=3.6)
    atoms.rattle(0.1, seed=3)
    asking = request()
    plain = asked({"name": "emt", "settings": {}}, atoms, recipe=asking.recipe)
    assert evidence(run(tmp_path, plain))["end"] == "converged"


@pytest.mark.parametrize("seconds", [2.5, 600])
def test_it_takes_no_more_than_its_share_of_the_time(
    seconds: float, cheap: Callable[[Making], None], tmp_path: Path
) -> None:
    cheap(lambda _: Counting(4, lambda: time.sleep(seconds)))
    begun = evidence(run(tmp_path, request(time_limit=9)))
    # How far it comes in that time is a matter of the machine.
    assert begun["end"] in ("unfinished", "dropped")
    assert "25% of the time" in begun["why"]
    assert 9 / 4 < begun["seconds"] < 300


def test_the_next_attempt_begins_where_the_first_did_and_does_not_relax_again(
    cheap: Callable[[Making], None], tmp_path: Path
) -> None:
    whole = run(tmp_path, request())
    (tmp_path / "attempt-1" / "geometry.json").unlink(missing_ok=True)
    cheap(lambda _: Counting(1, lambda: os._exit(1)))
    again = run(tmp_path, request(attempt=2))
    assert evidence(again) == evidence(whole)
    assert (again.steps, again.continued_from) == (whole.steps, None)


def test_a_fresh_start_is_the_structure_itself_and_what_was_cut_of_it_goes_on_there(
    cheap: Callable[[Making], None], tmp_path: Path
) -> None:
    evidence(run(tmp_path, request()))
    cheap(lambda _: Counting(1, lambda: os._exit(1)))
    afresh = run(tmp_path, replace(request(attempt=2), since=2))
    assert (afresh.prerelaxed, afresh.continued_from) == (None, None)
    assert (afresh.steps, afresh.energy) == (without().steps, without().energy)
    again = run(tmp_path, replace(request(attempt=3), since=2))
    assert again.continued_from is not None
    assert (again.prerelaxed, again.continued_from["attempt"]) == (None, 2)


def test_what_goes_on_from_its_last_geometry_does_not_relax_again(tmp_path: Path) -> None:
    run(tmp_path, request(prerelax={"max_steps": 2}))
    for name in ("begin.json", "geometry.json"):
        assert (tmp_path / "attempt-1" / name).exists()
    (tmp_path / "attempt-1" / "begin.json").write_text('{"prerelaxed": ')
    again = run(tmp_path, request(attempt=2, prerelax={"max_steps": 2}))
    assert again.complete
    assert again.prerelaxed is None
    assert again.continued_from is not None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"fingerprint": "another"}, "has another fingerprint than the campaign"),
        ({"engine": {"name": "ase", "calculator": "tblite", "parameters": {"x": 1}}}, "tblite"),
    ],
)
def test_one_that_is_set_up_wrong_here_stops_the_campaign(
    wrong: dict[str, Any], why: str, tmp_path: Path
) -> None:
    failure = run(tmp_path, request(prerelax=wrong)).failure
    assert failure is not None
    assert failure.kind == "configuration"
    assert failure.message.startswith("recipe.prerelax.engine: ")
    assert why in failure.message


def test_what_it_wrote_for_itself_alone_is_removed_however_it_ended(
    cheap: Callable[[Making], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmtEngine, "scratch", ("waves",))
    own = tmp_path / "attempt-1" / "raw" / "prerelax"

    def writes(_: Atoms) -> BaseCalculator:
        (own / "waves").write_text("large")
        return EMT()

    cheap(writes)
    evidence(run(tmp_path, request()))
    assert (own / "relax.log").exists()
    assert not (own / "waves").exists()
    (own / "waves").write_text("large")
    tidy_after_end(request(), tmp_path / "attempt-1")
    assert not (own / "waves").exists()
