"""Whole campaigns on a real Slurm, with Quantum ESPRESSO under mpirun: killed, and left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from slurm_here import Slurm

from leadline.tasks.store.records import Calculation, CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

Command = Callable[..., "Said"]
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]

MG_SI = Path(__file__).parents[2] / "deploy/campaigns/mg-si.yaml"
SMALL = {
    "recipe": {"name": "static"},
    "start": {"random": 4},
    "stop": {"calculations": 4, "expected_missed": None},
}
NEED = {"memory": "500 MB", "walltime": "20 min"}


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm: Slurm) -> Callable[..., None]:
    """Write the profile of this Slurm, with the settings that a test changes."""

    def write(need: dict[str, Any] = NEED, **changes: Any) -> None:
        cluster = {"kind": "slurm", "jobs": 2, "poll": 1, "interface": "lo", "resources": need}
        launcher = "mpirun --oversubscribe --mca mpi_yield_when_idle 1 -np {ranks}"
        engines = {"espresso": {"launcher": launcher}}
        folder = tmp_path / "profiles"
        folder.mkdir()
        content = {"cluster": {**cluster, **changes}, "engines": engines}
        (folder / "queue.yaml").write_text(yaml.safe_dump(content))
        monkeypatch.setenv("LEADLINE_PROFILES", str(folder))
        for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
            monkeypatch.setenv(name, "1")

    return write


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def until(
    true: Callable[[], object], run: subprocess.Popen[str] | None = None, seconds: float = 240
) -> None:
    """Wait until something is true, while a run goes on."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        assert run is None or run.poll() is None, run.communicate()
        time.sleep(0.05)


def events(store: Path) -> list[tuple[str, str]]:
    """Return what the engines' own log says: start or end, and of which calculation."""
    log = store / "calculations" / "engines.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(each["event"], each["calculation"]) for each in map(json.loads, lines)]


def records(store: Path, name: str) -> list[Calculation]:
    with open_store(None, store, write=False) as read:
        campaign, proposals = read.campaign(name), read.proposals(name)
        found = read.calculations(str(each.calculation) for each in proposals)
    assert campaign is not None
    assert campaign.state is CampaignState.STOPPED
    return list(found.values())


@pytest.mark.espresso
@pytest.mark.skipif(
    shutil.which("pw.x") is None or shutil.which("mpirun") is None, reason="needs pw.x and mpirun"
)
def test_dft_on_a_queue_gives_the_same_labels_though_driver_and_job_are_killed(
    leadline: Run, store: Path, slurm: Slurm, profile: Callable[..., None], tmp_path: Path
) -> None:
    profile(need={**NEED, "ranks": 2})
    file = tmp_path / "mg-si.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(MG_SI.read_text()), **SMALL}))
    on_queue = ("--set", "compute.profile=queue")
    driver = leadline("run", file, *on_queue)
    until(lambda: Counter(kind for kind, _ in events(store))["end"] >= 2, driver)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    done = {each for kind, each in events(store) if kind == "end"}
    second = leadline("run", file, *on_queue)
    until(lambda: len({each for _, each in events(store)}) > len(done), second)
    slurm.call("scancel", *slurm.jobs())
    assert "Computed 4 of 22 candidates" in finished(second)
    starts = Counter(each for kind, each in events(store) if kind == "start")
    found = records(store, "mg-si")
    assert all(each.state is CalculationState.DONE for each in found)
    assert all(starts[each.id] == 1 for each in found if len(each.attempts) == 1)
    jobs = {str(each.attempts[-1].where["job"]) for each in found}
    assert None not in jobs
    until(lambda: not slurm.jobs(), seconds=20)
    _same_labels_alone(leadline, file, store.parent / "undisturbed", found)


def _same_labels_alone(leadline: Run, file: Path, store: Path, found: list[Calculation]) -> None:
    """Compute the same on this machine alone, without queue and MPI."""
    finished(leadline("run", file, "--set", "compute.profile=local", "--store", store))
    alone = {each.id: each.energy for each in records(store, "mg-si")}
    assert alone.keys() == {each.id for each in found}
    for each in found:
        assert each.energy == pytest.approx(alone[each.id], abs=1e-4)


def test_a_run_leaves_its_jobs_in_the_queue_and_the_next_takes_them_up(
    leadline: Run,
    store: Path,
    slurm: Slurm,
    profile: Callable[..., None],
    campaign_file: WriteFile,
) -> None:
    profile(way="jobs", jobs=3)
    file = campaign_file(
        engine={"name": "moody-emt", "seconds": 4},
        compute={"profile": "queue"},
        stop={"expected_missed": None, "calculations": 6},
    )
    driver = leadline("run", file)
    until(lambda: len(slurm.jobs()) >= 2, driver)
    driver.send_signal(signal.SIGINT)
    out = finished(driver)
    assert "Resting: Stopped by hand." in out
    assert "goes on; the next run takes in its answer" in out
    killed = leadline("run", file)
    until(lambda: len({each for kind, each in events(store) if kind == "start"}) >= 3, killed)
    killed.kill()
    killed.wait()
    assert "Computed 6 of" in finished(leadline("run", file))
    found = records(store, "small")
    assert all(each.state is CalculationState.DONE for each in found)
    assert all(len(each.attempts) == 1 for each in found)
    assert max(Counter(each for kind, each in events(store) if kind == "start").values()) == 1


def test_a_job_that_is_cancelled_is_told_in_one_plain_line(
    leadline: Run,
    store: Path,
    slurm: Slurm,
    profile: Callable[..., None],
    campaign_file: WriteFile,
) -> None:
    profile()
    file = campaign_file(
        engine={"name": "moody-emt", "seconds": 4},
        compute={"profile": "queue"},
        stop={"expected_missed": None, "calculations": 4},
    )
    driver = leadline("run", file)
    until(lambda: len([kind for kind, _ in events(store) if kind == "start"]) >= 2, driver)
    job = next(id for id, state in slurm.jobs().items() if state == "RUNNING")
    slurm.call("scancel", job)
    out, err = driver.communicate()
    assert driver.returncode == 0, out + err
    (line,) = [each for each in out.splitlines() if "runs again, as attempt 2" in each]
    assert line.endswith(f"batch job {job}: CANCELLED")
    assert "distributed" not in out + err


def test_a_check_asks_the_queue_and_leaves_no_folder_and_a_trial_uses_one_job(
    command: Command,
    slurm: Slurm,
    profile: Callable[..., None],
    campaign_file: WriteFile,
    tmp_path: Path,
) -> None:
    profile(queue="debug")
    at = tmp_path / "profiles" / "queue.yaml"
    right = {**yaml.safe_load(at.read_text()), "calculations": str(tmp_path / "shared" / "calcs")}
    wrong = {**right, "cluster": {**right["cluster"], "queue": "nowhere"}}
    file = campaign_file(compute={"profile": "queue"})
    at.write_text(yaml.safe_dump(wrong))
    refused = command("check", file)
    assert refused.code == 1
    assert "FAIL  cluster     slurm takes no job (allocation failure: Invalid partition" in (
        refused.out
    )
    at.write_text(yaml.safe_dump(right))
    checked = command("check", file)
    assert checked.code == 0, checked.out
    assert "is not proved: --try-one computes" in checked.out
    assert not (tmp_path / "shared").exists()
    assert not slurm.jobs()
    tried = command("check", file, "--try-one")
    assert tried.code == 0, tried.out
    assert "ok    cluster     up to 2 batch jobs; one computes a candidate now, in " in tried.out
    assert "not proved" not in tried.out
    assert (tmp_path / "shared" / "calcs").is_dir()
