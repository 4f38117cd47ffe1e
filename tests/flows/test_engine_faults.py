"""A campaign over an engine that fails in every way an engine can: told apart, and carried on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from ase.build import bulk
from ase.io import write

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.compute.processes import MARK
from leadline.tasks.store.records import Calculation, CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

STAND_IN = Path(__file__).parents[1] / "plugins" / "stand_in_pw"
NO_STRUCTURE_IS_BLAMED = {
    "killed": "engine-killed",
    "hangs": "time-limit",
    "hangs-deaf": "time-limit",
    "garbage": "output-cut-short",
    "cut-short": "output-cut-short",
    "cut-at-forces": "output-cut-short",
    "fills-disk": "disk-full",
    "out-of-time": "walltime",
}
"""Faults that leave no word on the structure: again as it was, then it waits for a person."""
PHYSICS = {
    "segfault": ("engine-crashed", 3),
    "aborts": ("engine-crashed", 3),
    "crash-file": ("diagonalization", 3),
    "never-converges": ("scf-not-converged", 5),
    "unconverged-as-good": ("scf-not-converged", 5),
    "other-atoms": ("output-unreadable", 2),
    "high": ("absurd-energy", 2),
    "low": ("absurd-energy", 2),
    "nan": ("not-finite", 2),
    "stars": ("output-unreadable", 2),
}
"""Faults with their reason, and the attempts until the remedies are used up."""
HEALED = {"needs-calm": "scf-not-converged", "killed-once": "engine-killed"}
"""Faults that the second attempt does not have."""
FAULTS = [*NO_STRUCTURE_IS_BLAMED, *PHYSICS, *HEALED, "forks", ""]
Command = Callable[..., "Said"]


def crystals(folder: Path) -> dict[str, str]:
    """Write one crystal for each fault, and return the faults by the formulas of the cells."""
    sizes = ((n, m) for n in range(1, 8) for m in range(1, 8))
    cells, faults = [], {}
    for fault, (n, m) in zip(FAULTS, sizes, strict=False):
        cell = bulk("Cu", a=3.7) * (n + m, 1, 1)
        cell.symbols[:n] = "Au"
        cells.append(cell)
        faults[_formula(n, m)] = fault
    write(folder / "crystals.extxyz", cells)
    return faults


def _formula(gold: int, copper: int) -> str:
    counted = sorted([(gold, "Au"), (copper, "Cu")])
    return "".join(f"{symbol}{number if number > 1 else ''}" for number, symbol in counted)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Make this a machine whose pw.x has the faults that a plan gives it."""
    site = {
        "command": f"{sys.executable} {STAND_IN / 'stand_in_pw.py'}",
        "pseudopotentials": str(STAND_IN / "pseudo"),
    }
    profile = {"cluster": {"kind": "local", "dashboard": None}, "engines": {"espresso": site}}
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump(profile))
    monkeypatch.setenv("LEADLINE_PROFILES", str(tmp_path))
    monkeypatch.setenv("STAND_IN_PW", str(tmp_path / "plan.json"))

    def plan(content: dict[str, Any]) -> None:
        (tmp_path / "plan.json").write_text(json.dumps(content))

    return plan


def espresso(folder: Path, **settings: Any) -> dict[str, Any]:
    """Return what a campaign over the crystals is, beside its name."""
    return {
        "candidates": [
            {"source": "files", "paths": [str(folder / "crystals.extxyz")], "geometry": "ideal"}
        ],
        "engine": {
            "name": "espresso",
            "pseudopotentials": {"Cu": "Cu.UPF", "Au": "Au.UPF"},
            "ecutwfc": 12,
            "kspacing": 1.0,
            **settings,
        },
        "compute": {"workers": 2, "profile": "faulty", "time_limit": "15 s", "cuts": 2},
        "acquisition": {"batch": 8},
        "stop": {"expected_missed": None, "calculations": 60},
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_fault_of_an_engine_is_told_apart_and_the_campaign_goes_on_to_its_end(
    leadline: Run,
    command: Command,
    campaign_file: WriteFile,
    machine: Callable[[dict[str, Any]], None],
    tmp_path: Path,
    store: Path,
) -> None:
    faults = crystals(tmp_path)
    once = {cell: [fault[:-5], 1] for cell, fault in faults.items() if fault.endswith("-once")}
    machine({"room": 100_000, "formulas": faults | once})
    driver = leadline("run", campaign_file(**espresso(tmp_path)))
    out, err = driver.communicate()
    assert driver.returncode == 0, out + err
    assert "Traceback" not in out + err
    with open_store(None, store, write=False) as opened:
        assert [each.state for each in opened.campaigns()] == [CampaignState.STOPPED]
        proposals = opened.proposals("small")
        records = opened.calculations(str(each.calculation) for each in proposals)
        cells = opened.structures(each.structure for each in records.values())
    of = {
        faults[_cell(cells[each.structure].structure["species"])]: each
        for each in records.values()
        if len(set(cells[each.structure].structure["species"])) == 2
    }
    assert of.keys() == set(FAULTS)
    _quarantined(of)
    _healed(of)
    modelled = [each.why for each in proposals if each.why["mean"] is not None]
    assert modelled
    assert all(0 < each["failure_probability"] < 1 for each in modelled[8:])
    _shown(command, of)
    assert not _left_behind(store)


def _cell(species: list[str]) -> str:
    return _formula(species.count("Au"), species.count("Cu"))


def _quarantined(of: dict[str, Calculation]) -> None:
    expected = {
        **{fault: ("remote", [reason] * 2) for fault, reason in NO_STRUCTURE_IS_BLAMED.items()},
        **{fault: ("physics", [reason] * n) for fault, (reason, n) in PHYSICS.items()},
    }
    for fault, (kind, reasons) in expected.items():
        record = of[fault]
        said = [each.failure["reason"] for each in record.attempts if each.failure]
        assert (record.state, said) == (CalculationState.QUARANTINED, reasons), fault
        assert record.energy is None, fault
        assert record.failure is not None, fault
        assert record.failure["kind"] == kind, fault
        assert record.failure["message"].replace("\n", "").isprintable(), fault


def _healed(of: dict[str, Calculation]) -> None:
    for fault, reason in HEALED.items():
        first, second = of[fault].attempts
        assert first.failure is not None
        assert (of[fault].state, first.failure["reason"]) == (CalculationState.DONE, reason)
        assert bool(second.changes) == (fault == "needs-calm")
    for fault in ("forks", ""):
        assert of[fault].state is CalculationState.DONE
        assert len(of[fault].attempts) == 1


def _shown(command: Command, of: dict[str, Calculation]) -> None:
    """What pw.x said is before a person's eyes."""
    shown = command("show", "small", of["crash-file"].structure[:12]).out
    assert "physics: diagonalization: Error in routine c_bands (1):" in shown
    assert "too many bands are not converged" in shown
    report = Path(command("report", "small").out.strip().splitlines()[-1]).read_text()
    for words in ("No space left on device", "no bond explains it", "convergence NOT achieved"):
        assert words in report


def _left_behind(store: Path) -> list[psutil.Process]:
    """Processes that belong to an attempt, or work below the store."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = str(store) in process.cwd() and process.status() != psutil.STATUS_ZOMBIE
            if mine and MARK in process.environ():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("served")
def test_a_search_without_the_energy_of_an_element_rests_and_says_what_to_do(
    command: Command,
    campaign_file: WriteFile,
    machine: Callable[[dict[str, Any]], None],
    tmp_path: Path,
    store: Path,
) -> None:
    crystals(tmp_path)
    machine({"formulas": {"Au": "nan"}})
    file = campaign_file(**espresso(tmp_path))
    said = command("run", file)
    assert said.code == 0
    assert "Resting: No energy of Au came out" in said.out
    assert "not-finite: the engine gave no finite energy_per_atom" in said.out
    assert "leadline reconcile small --retry " in said.out
    with open_store(None, store, write=False) as opened:
        assert len(opened.proposals("small")) == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("served")
def test_a_machine_that_lacks_a_pseudopotential_stops_the_campaign_in_the_words_of_pw(
    command: Command,
    campaign_file: WriteFile,
    machine: Callable[[dict[str, Any]], None],
    tmp_path: Path,
    store: Path,
) -> None:
    crystals(tmp_path)
    machine({"formulas": {"Au": "no-pseudopotential"}})
    said = command("run", campaign_file(**espresso(tmp_path)))
    assert said.code == 2
    assert "leadline: pseudopotential: Error in routine readpp (1):" in said.err
    assert "Au.UPF not found" in said.err
    status = json.loads(command("status", "small", "--json").out)
    assert status["state"] == "failed"
    with open_store(None, store, write=False) as opened:
        assert len(opened.proposals("small")) == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("served")
def test_a_trial_tries_again_once_the_launcher_is_mended_and_sets_nothing_aside(
    command: Command,
    campaign_file: WriteFile,
    machine: Callable[[dict[str, Any]], None],
    tmp_path: Path,
    store: Path,
) -> None:
    crystals(tmp_path)
    machine({})
    launcher = tmp_path / "launch"
    launcher.write_text("#!/bin/sh\necho ------ >&2\necho no slot is free >&2\nexit 1\n")
    launcher.chmod(0o755)
    profile = yaml.safe_load((tmp_path / "faulty.yaml").read_text())
    profile["engines"]["espresso"]["launcher"] = str(launcher)
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump(profile))
    file = campaign_file(**espresso(tmp_path))
    failed = command("check", file, "--try-one")
    assert failed.code == 1
    with open_store(None, store, write=False) as opened:
        (left,) = opened.by_state(CalculationState.QUEUED)
    assert "FAIL  try one     CuAu: exit 1: no slot is free; calculation " in failed.out
    folder = store / "calculations" / left.id
    assert f"calculation {left.id[:12]}, files in {folder / 'attempt-1'}" in failed.out
    assert "no slot is free" in (folder / "attempt-1" / "raw" / "espresso.err").read_text()
    with open_store(None, store) as opened:  # as a run leaves it that lost it too often
        opened.claim(left.id, "test", {}, "")
        lost = Failure(FailureKind.REMOTE, "worker-lost", "an old failure")
        opened.fail(left.id, 2, lost, CalculationState.CUT)
        opened.quarantine(left.id, "cut 3 times in a row")
    launcher.write_text('#!/bin/sh\nexec "$@"\n')
    mended = command("check", file, "--try-one")
    assert mended.code == 0, mended.out
    assert "ok    try one     CuAu: " in mended.out
    with open_store(None, store, write=False) as opened:
        (done,) = opened.by_state(CalculationState.DONE)
    assert (done.id, len(done.attempts)) == (left.id, 3)
    assert command("check", file, "--try-one").code == 0
    with open_store(None, store, write=False) as opened:
        assert len(opened.by_state(CalculationState.DONE)[0].attempts) == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("served")
def test_pseudopotentials_that_are_gone_fail_a_check_once(
    command: Command,
    campaign_file: WriteFile,
    machine: Callable[[dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    crystals(tmp_path)
    machine({})
    file = campaign_file(**espresso(tmp_path))
    begun = command("run", file, "--calculations", 2)
    assert begun.code == 0
    assert "small, round 0 begins with 2 elements" in begun.out
    profile = yaml.safe_load((tmp_path / "faulty.yaml").read_text())
    profile["engines"]["espresso"]["pseudopotentials"] = str(tmp_path / "gone")
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump(profile))
    said = command("check", file)
    assert said.code == 1
    (failure,) = [line for line in said.out.splitlines() if "FAIL" in line]
    assert f"there is no folder {tmp_path / 'gone'} for Au.UPF or Cu.UPF; name the" in failure
