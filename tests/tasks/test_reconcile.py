"""What a crash leaves behind is found with its proof, settled by its rule, and only once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import processes
from leadline.tasks.compute.attempt_files import (
    Running,
    attempt_folder,
    is_signed_off,
    sign_off,
    take_turn,
    write_result,
    write_whole,
)
from leadline.tasks.errors import ConflictError, InputError
from leadline.tasks.reconcile import Difference, Reconciler
from leadline.tasks.reconcile_rules import RULES
from leadline.tasks.remedies import remedy_calculation
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Calculation, CalculationState, CampaignState
from leadline.tasks.store.store import Store

if TYPE_CHECKING:
    from tests.tasks.conftest import Records

ELSEWHERE = "elsewhere/boot/7/1.00/token"
ENGINE = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
time.sleep(600)
"""


def dead() -> str:
    """Return an owner that is proved gone."""
    host, boot, _, _, token = this_process().split("/")
    return f"{host}/{boot}/{max(psutil.pids()) + 1_000_000}/1.00/{token}"


class Scene:
    """A campaign with one calculation, and what attempts at it left."""

    def __init__(self, records: Records, root: Path) -> None:
        self.store, self.root = records.store, root
        (pick,) = records.round(records.crystal("Cu Cu Au Au"))
        assert pick.calculation is not None
        self.id = pick.calculation
        self.folder = root / self.id

    @property
    def record(self) -> Calculation:
        found = self.store.calculation(self.id)
        assert found is not None
        return found

    def claimed(self, owner: str) -> None:
        assert self.store.claim(self.id, owner)

    def started(self, owner: str, **process: Any) -> Path:
        """Claim, and take the turn as a guardian does; return the attempt's folder."""
        self.claimed(owner)
        number = len(self.record.attempts)
        request = Request(self.id, number, "", {}, {}, {}, {}, str(self.folder))
        running = replace(Running.here(request), **process)
        assert take_turn(request, running) is None
        directory = attempt_folder(self.folder, number)
        directory.mkdir()
        write_whole(directory / "running.json", json.dumps(asdict(running)))
        (directory / "heartbeat").write_text("1")
        return directory

    def answered(self, attempt: int, **changes: Any) -> None:
        numbers = {"energy": -1.0, "converged": True} | changes
        write_result(Result(self.id, attempt, **numbers), attempt_folder(self.folder, attempt))

    def reconcile(self, gone: str | None = None, seconds: float = 0.1) -> list[str]:
        """Settle everything; return the rules that were applied."""
        return [each.rule for each in self.look(gone, seconds) if _settled(each)]

    def look(self, gone: str | None = None, seconds: float = 0.1) -> Iterator[Difference]:
        reconciler = Reconciler(self.store, [self.root], "a test", gone=gone)
        reconciler.watch(lambda _: None, seconds)
        return reconciler.differences()


def _settled(difference: Difference) -> bool:
    if difference.settle is not None:
        difference.settle()
    return difference.settle is not None


@pytest.fixture
def scene(records: Records, tmp_path: Path) -> Scene:
    return Scene(records, tmp_path / "calculations")


def test_where_nothing_differs_nothing_is_found(scene: Scene) -> None:
    assert list(scene.look()) == []
    assert scene.record.state is CalculationState.QUEUED


def test_a_remedy_of_the_physics_belongs_to_the_campaign_that_has_it_computed(
    scene: Scene,
) -> None:
    scene.claimed(dead())
    scene.store.fail(scene.id, 1, Failure(FailureKind.PHYSICS, "scf", ""), CalculationState.FAILED)
    remedy = {"changes": {}, "why": "", "fingerprint": "f", "calculation": "r1"}
    scene.store.quarantine(scene.id, "physics", remedy)
    scene.store.ensure_calculations([remedy_calculation(scene.record, "test")])
    scene.store.claim("r1", dead())
    scene.store.take_lease("test", ELSEWHERE)
    assert scene.reconcile() == []  # the driver elsewhere is to take it up
    scene.store.release_lease("test", ELSEWHERE)
    found = Reconciler(scene.store, [scene.root], "a test", name="test").differences()
    assert [each.rule for each in found if _settled(each)] == ["never-started"]


def test_a_campaign_whose_driver_is_gone_rests_and_its_lease_is_free(scene: Scene) -> None:
    owner = dead()
    scene.store.take_lease("test", owner)
    scene.store.set_campaign_state("test", CampaignState.RUNNING, "", owner=owner)
    assert scene.reconcile() == ["dead-driver"]
    found = scene.store.campaign("test")
    assert found is not None
    assert (found.state, found.owner) == (CampaignState.RESTING, None)
    assert "is gone; `leadline run` carries it on" in found.reason
    assert scene.reconcile() == []


def test_what_a_living_driver_works_on_is_left_to_it(scene: Scene) -> None:
    scene.store.take_lease("test", this_process())
    scene.started(dead(), start=1.0)
    scene.answered(1)
    assert list(scene.look()) == []


def test_a_driver_on_another_host_is_left_alone_and_told_of_when_it_is_silent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.store.take_lease("test", ELSEWHERE)
    assert list(scene.look()) == []
    monkeypatch.setattr("leadline.tasks.reconcile.SILENT_SECONDS", -1.0)
    (found,) = scene.look()
    assert (found.rule, found.settle) == ("silent-driver", None)


def test_an_answer_that_no_driver_recorded_is_recorded(scene: Scene) -> None:
    scene.started(dead(), start=1.0)
    scene.answered(1)
    assert scene.reconcile() == ["answer"]
    assert (scene.record.state, scene.record.energy) == (CalculationState.DONE, -1.0)
    assert scene.reconcile() == []


@pytest.mark.parametrize("quarantined", [False, True])
def test_an_answer_that_came_after_its_attempt_was_given_up_is_recorded(
    scene: Scene, quarantined: bool
) -> None:
    scene.started(dead(), start=1.0)
    lost = Failure(FailureKind.REMOTE, "worker-lost", "it was lost")
    scene.store.fail(scene.id, 1, lost, CalculationState.CUT)
    if quarantined:
        scene.store.quarantine(scene.id, "remote: cut too often")
    scene.answered(1)
    assert scene.reconcile() == ["answer"]
    assert (scene.record.state, scene.record.energy) == (CalculationState.DONE, -1.0)
    assert [each.state for each in scene.record.attempts] == ["cut", "done"]
    assert scene.reconcile() == []


def test_a_failure_that_no_driver_recorded_is_recorded_in_its_own_words(scene: Scene) -> None:
    scene.started(dead(), start=1.0)
    failure = Failure(FailureKind.PHYSICS, "scf", "it did not converge")
    scene.answered(1, converged=False, energy=None, failure=failure)
    sign_off(scene.folder, 1, "its guardian saw everything end")
    assert scene.reconcile() == ["over"]
    assert scene.record.state is CalculationState.FAILED
    assert scene.record.failure is not None
    assert scene.record.failure["message"] == "it did not converge"


def test_an_attempt_whose_guardian_is_gone_without_a_word_is_cut(scene: Scene) -> None:
    scene.started(dead(), start=1.0)
    assert scene.reconcile() == ["over"]
    assert scene.record.state is CalculationState.CUT


def test_a_claim_that_never_took_its_turn_is_cut_once_its_driver_is_gone(scene: Scene) -> None:
    scene.claimed(dead())
    assert scene.reconcile() == ["never-started"]
    assert scene.record.state is CalculationState.CUT
    assert scene.reconcile() == []


def test_a_claim_that_is_given_up_starts_no_engine_later(scene: Scene) -> None:
    scene.claimed(dead())
    scene.root.mkdir(exist_ok=True)
    assert scene.reconcile() == ["never-started"]
    (stop,) = scene.root.glob("*/attempt-1/stop")
    assert stop.parent.parent.name == scene.record.id


def test_a_claim_of_a_living_process_is_left_alone(scene: Scene) -> None:
    scene.claimed(this_process())
    assert list(scene.look()) == []
    assert scene.record.state is CalculationState.CLAIMED


def test_an_engine_that_lives_is_left_to_finish(scene: Scene) -> None:
    scene.started(dead())
    (found,) = scene.look()
    assert (found.rule, found.settle) == ("alive", None)
    assert scene.record.state is CalculationState.CLAIMED


def test_an_attempt_on_another_host_waits_until_a_person_says_that_the_host_is_gone(
    scene: Scene,
) -> None:
    scene.started(ELSEWHERE, host="elsewhere")
    (found,) = scene.look()
    assert (found.rule, found.settle) == ("unknown", None)
    assert scene.reconcile(gone="another") == []
    assert scene.reconcile(gone="elsewhere") == ["gone-host"]
    assert is_signed_off(scene.folder, 1)
    assert scene.record.state is CalculationState.CUT
    assert scene.record.failure is not None
    assert scene.record.failure["message"] == "a test said that elsewhere is gone"
    assert scene.reconcile(gone="elsewhere") == []


def test_a_claim_and_a_lease_of_a_host_that_is_gone_are_settled_too(scene: Scene) -> None:
    scene.claimed(ELSEWHERE)
    scene.store.take_lease("test", ELSEWHERE)
    assert scene.reconcile() == []
    assert scene.reconcile(gone="elsewhere") == ["dead-driver", "never-started"]
    assert scene.record.state is CalculationState.CUT


def test_a_living_driver_finds_the_attempt_of_a_gone_host_signed_off(scene: Scene) -> None:
    scene.started(ELSEWHERE, host="elsewhere")
    scene.store.take_lease("test", this_process())
    assert scene.reconcile(gone="elsewhere") == ["gone-host"]
    assert is_signed_off(scene.folder, 1)
    assert scene.record.state is CalculationState.CLAIMED


def test_a_host_whose_counter_rises_is_not_taken_for_gone(scene: Scene) -> None:
    directory = scene.started(ELSEWHERE, host="elsewhere")
    told = pytest.raises(InputError, match=r"elsewhere is not gone: .*its counter rises")
    with Moving(lambda count: (directory / "heartbeat").write_text(str(count))), told:
        scene.reconcile(gone="elsewhere", seconds=2.0)
    assert not is_signed_off(scene.folder, 1)


def test_a_host_whose_driver_beats_is_not_taken_for_gone(scene: Scene) -> None:
    scene.store.take_lease("test", ELSEWHERE)
    told = pytest.raises(InputError, match="process 7 on elsewhere drives campaign test")
    with Moving(lambda _: scene.store.beat("test", ELSEWHERE)), told:
        scene.reconcile(gone="elsewhere", seconds=2.0)


def test_this_host_is_not_gone_while_what_it_runs_lives(scene: Scene) -> None:
    scene.started(dead())
    with pytest.raises(InputError, match=r"is not gone: attempt 1, process .* is running"):
        scene.reconcile(gone=processes.host())


def test_an_engine_without_its_guardian_is_ended(scene: Scene) -> None:
    mark = {processes.MARK: f"{scene.id}/1"}
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE],
        stdout=subprocess.PIPE,
        env=os.environ | mark,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        engine = psutil.Process(int(starter.stdout.readline()))
    try:
        scene.started(dead(), start=1.0)
        assert scene.reconcile() == ["orphan", "over"]
        psutil.wait_procs([engine], timeout=30)
        assert not engine.is_running()
        assert scene.record.state is CalculationState.CUT
    finally:
        with suppress(psutil.Error):
            engine.send_signal(signal.SIGKILL)


def test_a_folder_that_does_not_say_who_computes_is_left_to_a_person(scene: Scene) -> None:
    scene.started(dead(), start=1.0)
    (scene.folder / "turns" / "1").write_text("{")
    (found,) = scene.look()
    assert (found.rule, found.settle) == ("unreadable", None)


def test_a_person_takes_a_calculation_out_of_quarantine_and_it_is_logged(scene: Scene) -> None:
    scene.started(dead(), start=1.0)
    scene.reconcile()
    with pytest.raises(ConflictError, match="only where it is quarantined"):
        scene.store.retry(scene.id, "a test", "the node was mended")
    scene.store.quarantine(scene.id, "remote: cut too often")
    scene.store.retry(scene.id, "a test", "the node was mended")
    assert scene.record.state is CalculationState.QUEUED
    last = scene.store.events("test")[-1]
    assert (last.kind, last.subject) == ("calculation.queued", scene.id)
    assert last.details == {"by": "a test", "why": "the node was mended"}


def test_a_store_opened_for_reading_finds_the_same(scene: Scene, store: Store) -> None:
    scene.started(dead(), start=1.0)
    scene.answered(1)
    before = scene.record
    assert [each.rule for each in scene.look()] == ["answer"]
    assert scene.record == before


def test_every_difference_is_in_the_table() -> None:
    source = Path(sys.modules[Reconciler.__module__].__file__ or "").read_text(encoding="utf-8")
    named = {rule for rule in RULES if f'"{rule}"' in source}
    assert set(RULES) - named == {"prefect-run"}


class Moving:
    """Do something again and again while the block lasts."""

    def __init__(self, move: Any) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(move,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self, move: Any) -> None:
        count = int(time.time())
        while not self._ended.wait(0.05):
            count += 1
            move(count)
