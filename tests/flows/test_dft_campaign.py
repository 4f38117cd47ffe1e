"""Campaigns of real DFT: found, killed, and told what is wrong before anything is spent."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from leadline.tasks.engines.espresso import DEBIAN_PSEUDOPOTENTIALS
from leadline.tasks.store.records import Calculation, CalculationState, CampaignState
from leadline.tasks.store.store import Store, open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said

Command = Callable[..., "Said"]

MG_SI = Path(__file__).parents[2] / "deploy/campaigns/mg-si.yaml"
ENERGIES = {"Mg": -29.2133, "Si": -107.7432}
"""eV/atom of the elements at the cutoff and k-mesh of the campaign, by pw.x 6.7."""
MG2SI = -0.153
"""Formation energy of Mg2Si, eV/atom; at 30 Ry and 0.15 1/Å it is -0.168."""

needs_pw = pytest.mark.skipif(
    shutil.which("pw.x") is None or not DEBIAN_PSEUDOPOTENTIALS.is_dir(),
    reason="needs pw.x and Debian's quantum-espresso-data",
)


def changed(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def opened(store: Path) -> Store:
    return open_store(None, store, write=False)


@needs_pw
@pytest.mark.espresso
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_campaign_of_real_dft_finds_the_compound_that_nature_has(
    leadline: Run, store: Path
) -> None:
    small = changed("stop.calculations=12", "stop.expected_missed=null")
    printed = finished(leadline("run", MG_SI, *small))
    assert "Computed 12 of 22 candidates." in printed
    assert "Stopped: The budget is spent" in printed
    rows = [line.split() for line in printed.splitlines()]
    (row,) = [each for each in rows if each[1:2] == ["Mg2Si"]]
    assert row[2] == "Fm-3m"
    assert float(row[3]) == pytest.approx(MG2SI, abs=0.005)
    report = (store / "reports/mg-si.html").read_text(encoding="utf-8")
    assert "Mg₂Si" in report
    assert "Fm-3m" in report
    _records_are_sane(store)


def _records_are_sane(store: Path) -> None:
    with opened(store) as read:
        campaign, proposals = read.campaign("mg-si"), read.proposals("mg-si")
        records = read.calculations(str(each.calculation) for each in proposals)
        structures = read.structures(each.structure for each in proposals)
    assert campaign is not None
    assert campaign.state is CampaignState.STOPPED
    chosen = [each for each in proposals if each.why["mean"] is not None]
    assert len(chosen) == 8
    assert all(each.why["sd"] > 0 for each in chosen)
    assert len(proposals) == len(records) == 14
    for record in records.values():
        formula, sites = structures[record.structure].formula, structures[record.structure].sites
        _is_sane(record, ENERGIES.get(formula), sites)


def _is_sane(record: Calculation, element: float | None, sites: int) -> None:
    """Done with a number that can be believed, or set aside with words of pw.x."""
    if record.state is CalculationState.QUARANTINED:
        assert record.failure is not None
        assert record.failure["kind"] == "physics"
        assert record.failure["message"]
        return
    assert record.state is CalculationState.DONE
    assert record.energy is not None
    energy = record.energy / sites
    assert record.versions["espresso"]
    assert min(ENERGIES.values()) < energy < max(ENERGIES.values()) or element is not None
    if element is not None:
        assert energy == pytest.approx(element, abs=0.005)


def pw_of(store: Path) -> list[psutil.Process]:
    """Processes of pw.x that work below a store."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "pw.x" and process.cwd().startswith(str(store)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@needs_pw
@pytest.mark.espresso
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pw_dies_with_its_driver_and_the_next_run_computes_what_was_cut(
    leadline: Run, store: Path
) -> None:
    one = changed("compute.workers=1")
    driver = leadline("run", MG_SI, *one)
    assert within(120, lambda: driver.poll() is None and bool(pw_of(store)))
    driver.kill()
    driver.wait()
    assert within(20, lambda: not pw_of(store))
    finished(leadline("run", MG_SI, "--calculations", 2, *one))
    with opened(store) as read:
        first = read.proposals("mg-si", 0)
        records = read.calculations(str(each.calculation) for each in first)
    assert {each.state for each in records.values()} == {CalculationState.DONE}
    assert sorted([attempt.state for attempt in each.attempts] for each in records.values()) == [
        ["cut", "done"],
        ["done"],
    ]


@needs_pw
@pytest.mark.espresso
@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_keyword_that_pw_refuses_stops_the_campaign_and_can_be_mended(
    command: Command, store: Path
) -> None:
    wrong = changed("engine.extra={system: {ecutwfcc: 3}}", "compute.workers=1")
    said = command("check", MG_SI, "--try-one", *wrong)
    assert said.code == 1
    assert "FAIL  try one     bad-input: " in said.out
    said = command("run", MG_SI, *wrong)
    assert said.code == 2
    assert "leadline: bad-input: Error in routine read_namelists" in said.err
    assert 'bad line in namelist &system: " ecutwfcc = 3"' in said.err
    assert "Traceback" not in said.out + said.err
    status: dict[str, Any] = json.loads(command("status", "mg-si", "--json").out)
    assert status["state"] == "failed"
    assert "ecutwfcc" in status["reason"]
    mended = command("run", MG_SI, "--calculations", 2, *changed("compute.workers=1"))
    assert mended.code == 0, mended.err
    with opened(store) as read:
        references = read.proposals("mg-si", 0)
        records = read.calculations(str(each.calculation) for each in references)
    assert {each.state for each in records.values()} == {CalculationState.DONE}
    again = command("run", MG_SI, *wrong)
    assert again.code == 2
    assert "which would mix labels" in again.err


@needs_pw
@pytest.mark.espresso
@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("engine.pseudopotentials={Si: Si.pz-vbc.UPF}", "has no pseudopotential for Mg"),
        ("engine.pseudopotentials.Mg=Mg.lost.UPF", "there is no file Mg.lost.UPF in "),
        (
            "engine.pseudopotentials={Mg: Mg.lost.UPF, Si: Si.lost.UPF}",
            "engine.pseudopotentials.Mg and engine.pseudopotentials.Si: there is no file "
            "Mg.lost.UPF or Si.lost.UPF in ",
        ),
        ("engine.pseudopotentials.Si=Si.pbe-rrkj.UPF", "mixes functionals: Mg.pz-n-vbc.UPF (LDA)"),
    ],
)
def test_pseudopotentials_that_cannot_be_are_refused_before_anything_is_spent(
    command: Command, change: str, words: str
) -> None:
    checked = command("check", MG_SI, *changed(change, "compute.workers=1"))
    assert checked.code == 1
    assert words in next(line for line in checked.out.splitlines() if "FAIL  engine" in line)
    ran = command("run", MG_SI, *changed(change))
    assert ran.code == 2
    assert words in ran.err
    assert "Mg.pz-n-vbc.UPF" in ran.err
    assert "Traceback" not in ran.out + ran.err


def test_without_pw_it_is_said_what_to_install(
    leadline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for words, code in (("check", 1), ("run", 2)):
        process = leadline(words, MG_SI)
        out, err = process.communicate()
        assert process.returncode == code
        assert "the program pw.x of Quantum ESPRESSO is not found; install it" in out + err
        assert "Traceback" not in out + err
