"""From a request to a result, with whatever goes wrong on the way."""

from __future__ import annotations

import errno
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from leadline.tasks.calculation import Request, Result
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.requested import requested_engine
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.structures import from_plain

CELL = bulk("Cu", a=3.7).cell.array.tolist()
COPPER = Request(
    calculation="abc",
    attempt=2,
    structure_id="s",
    structure={"lattice": CELL, "species": ["Cu"], "coords": [[0.0, 0.0, 0.0]]},
    engine={"name": "emt", "settings": {}},
    recipe={"name": "relax", "settings": {}},
    site={},
    folder="",
)


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def calculator(*_: Any) -> None:
        raise error

    monkeypatch.setattr(EmtEngine, "calculator", calculator)


def test_a_result_says_whose_it_is_and_what_it_took(tmp_path: Path) -> None:
    result = compute(COPPER, tmp_path)
    assert result.complete
    assert (result.calculation, result.attempt) == ("abc", 2)
    assert result.times["end"] >= result.times["start"]
    assert result.times["wall"] > 0
    assert result.versions["emt"]
    assert 1e7 < result.used["memory"] < 1e11
    assert result.used["cores"] == 1
    assert result.where["host"]
    assert result.where["pid"]
    assert Result.from_json(result.to_json()) == result


def used_alone_and_with_a_hungry_child(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    hungry = "import time; held = bytes(range(256)) * 800_000; time.sleep(2.0)"

    def calculator(*_: Any) -> EMT:
        subprocess.run([sys.executable, "-c", hungry], check=True)
        return EMT()

    alone = compute(COPPER, folder / "modest").used
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmtEngine, "calculator", calculator)
        site = {"ranks": 4, "threads": 2}
        return dict(alone), dict(compute(replace(COPPER, site=site), folder / "hungry").used)


def test_memory_is_that_of_the_engine_and_what_it_starts_and_cores_are_the_profiles(
    tmp_path: Path,
) -> None:
    # In a process of its own: what other tests left in this one is given back at any time.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        alone, used = fresh.submit(used_alone_and_with_a_hungry_child, tmp_path).result()
    assert used["memory"] > alone["memory"] + 150e6
    assert used["cores"] == 8


def test_a_clock_that_is_set_meanwhile_does_not_change_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter([10.0, 9.0, 8.0, 7.0])
    monkeypatch.setattr("leadline.tasks.engines.compute.time.time", lambda: 3600 * next(hours))
    times = compute(COPPER, tmp_path).times
    assert 0 < times["wall"] < 600
    assert times["start"] == 36000
    assert times["end"] == times["start"] + times["wall"]


def test_files_that_filled_the_disk_do_not_stay_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calculator(self: EmtEngine, atoms: object, directory: Path) -> None:
        (directory / "wfc1.dat").write_bytes(bytes(1000))
        raise OSError(errno.ENOSPC, "No space left on device", "wfc1.dat")

    monkeypatch.setattr(EmtEngine, "calculator", calculator)
    result = compute(COPPER, tmp_path)
    assert result.failure is not None
    assert (result.failure.reason, result.files) == ("disk-full", ())
    assert not list(tmp_path.rglob("wfc1.dat"))


def test_the_relaxed_structure_can_be_rebuilt_and_keeps_its_species(tmp_path: Path) -> None:
    charged = {**COPPER.structure, "species": ["Cu+"], "site_properties": {"magmom": [1.0]}}
    result = compute(replace(COPPER, structure=charged), tmp_path)
    assert result.structure is not None
    rebuilt = from_plain(result.structure)
    assert str(rebuilt[0].specie) == "Cu+"
    assert rebuilt.site_properties["magmom"] == [1.0]
    assert rebuilt.volume == pytest.approx(11.56, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"engine": {"name": "siesta", "settings": {}}}, "settings", "known are"),
        ({"engine": {"name": "emt", "settings": {"x": 1}}}, "settings", "unknown key"),
        ({"recipe": {"name": "relax", "settings": {"fmx": 1}}}, "settings", "recipe.fmx"),
        ({"recipe": {"name": "melt", "settings": {}}}, "settings", "relax, relax+static, static"),
        ({"recipe": {"name": "band_gap", "settings": {}}}, "settings", "emt gives no eigenvalues"),
        ({"site": {"cmd": "x"}}, "settings", "site.cmd"),
        ({"engine": {"settings": {}}}, "settings", "name"),
        (
            {"engine": {"name": "emt", "settings": {}, "changes": {"asap_cutoff": True}}},
            "settings",
            "a calculation of its own",
        ),
        (
            {"engine": {"name": "emt", "settings": {}, "fingerprint": "other"}},
            "settings",
            "another fingerprint",
        ),
    ],
)
def test_wrong_settings_are_configuration_and_never_raise(
    changes: dict[str, Any], reason: str, words: str, tmp_path: Path
) -> None:
    failure = compute(replace(COPPER, **changes), tmp_path).failure
    assert failure is not None
    assert (failure.kind, failure.reason) == ("configuration", reason)
    assert words in failure.message


def test_the_fingerprint_of_the_campaign_is_accepted() -> None:
    expected = requested_engine(COPPER).fingerprint()
    asked = {**COPPER.engine, "fingerprint": expected}
    assert requested_engine(replace(COPPER, engine=asked)).fingerprint() == expected


def test_an_element_that_the_engine_lacks_is_named(tmp_path: Path) -> None:
    iron = {**COPPER.structure, "species": ["Fe"]}
    failure = compute(replace(COPPER, structure=iron), tmp_path).failure
    assert failure is not None
    assert "lacks Fe" in failure.message


def test_a_structure_that_cannot_be_read_is_physics(tmp_path: Path) -> None:
    failure = compute(replace(COPPER, structure={"species": ["Cu"]}), tmp_path).failure
    assert failure is not None
    assert (failure.kind, failure.reason) == ("physics", "bad-structure")


def test_overlapping_atoms_are_physics(tmp_path: Path) -> None:
    overlapping = {
        "lattice": CELL,
        "species": ["Cu", "Cu"],
        "coords": [[0.0, 0.0, 0.0], [0.001, 0.0, 0.0]],
    }
    result = compute(replace(COPPER, structure=overlapping), tmp_path)
    assert not result.complete
    assert result.failure is not None
    assert result.failure.kind == "physics"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (MemoryError(), "remote", "out-of-memory"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "remote", "disk-full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), "remote", "disk-full"),
        (ConfigurationError("no"), "configuration", "settings"),
        (ValueError("no"), "physics", "emt-failed"),
        (ZeroDivisionError(), "physics", "emt-failed"),
    ],
)
def test_what_is_raised_on_the_way_is_told_apart(
    error: Exception, kind: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, error)
    failure = compute(COPPER, tmp_path).failure
    assert failure is not None
    assert (failure.kind, failure.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("keep", "max_steps", "kept"),
    [
        ("all", 200, True),
        ("all", 1, True),
        ("failed", 200, False),
        ("failed", 1, True),
        ("none", 200, False),
        ("none", 1, False),
    ],
)
def test_raw_files_stay_by_the_rule(keep: str, max_steps: int, kept: bool, tmp_path: Path) -> None:
    steps = {"name": "relax", "settings": {"max_steps": max_steps}}
    result = compute(replace(COPPER, recipe=steps, keep=keep), tmp_path)
    assert result.complete == (max_steps == 200)
    assert result.files == (("raw/relax.log",) if kept else ())
    assert (tmp_path / "raw" / "relax.log").exists() == kept


def test_the_job_of_the_queue_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert compute(COPPER, tmp_path).where["job"] == "4711"


def test_each_run_of_a_code_gets_a_share_of_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = EmtEngine({}, EngineSite())
    assert engine.seconds_for_a_run() is None
    assert engine.seconds_for_a_run(own=60.0) == 60.0
    clock = iter([0.0, 0.0, 900.0, 2000.0])
    monkeypatch.setattr("leadline.tasks.engines.engine.time.monotonic", lambda: next(clock))
    engine.deadline = 1000.0
    assert engine.seconds_for_a_run() == pytest.approx(950.0)
    assert engine.seconds_for_a_run(own=60.0) == 60.0
    assert engine.seconds_for_a_run() == pytest.approx(95.0)
    assert engine.seconds_for_a_run() == 1.0
