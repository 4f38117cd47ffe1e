from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from leadline.tasks.calculation import FailureKind, Request, Result
from leadline.tasks.compute.attempt_files import (
    ask_to_stop,
    attempt_folder,
    is_signed_off,
    used_until_lost,
)
from leadline.tasks.compute.worker import run_calculation
from leadline.tasks.errors import ComputeError

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer, WorkerProcess

FAMILY = "sleep 300 & sleep 300 & wait"


def run(request: Request) -> Result:
    return Result.from_json(run_calculation(request.to_plain())["result"])


def start(name: str, *, escape: bool = False, ask: Asking) -> Request:
    return ask(name, seconds=300, grandchild=FAMILY, escape=escape)


def family(request: Request, observe: Observer) -> list[psutil.Process]:
    """Engine, its shell and the two that the shell started."""
    engine, shell = observe.acting(request, "grandchild.pid")
    observe.until(lambda: len(shell.children()) == 2)
    return [engine, shell, *shell.children()]


def test_a_calculation_comes_back_and_lies_whole_in_its_folder(
    ask: Asking, observe: Observer
) -> None:
    request = ask(engine="emt")
    result = run(request)
    folder = attempt_folder(Path(request.folder), 1)
    assert result.complete
    assert result.energy == pytest.approx(-0.026755074743164187, abs=1e-9)
    assert Result.from_json((folder / "result.json").read_text()) == result
    assert json.loads((folder / "running.json").read_text())["attempt"] == 1
    assert is_signed_off(Path(request.folder), 1)
    assert [line["event"] for line in observe.log(request)] == ["start", "end"]
    assert {line["pid"] for line in observe.log(request)} == {result.where["pid"]}


def test_a_worker_loads_neither_prefect_nor_mongoengine_nor_torch() -> None:
    script = "import sys, leadline.tasks.compute.{}; print(*sys.modules, sep=chr(10))"
    for module in ("worker", "nursery", "local_worker"):
        told = subprocess.run(
            [sys.executable, "-c", script.format(module)],
            capture_output=True,
            check=True,
            text=True,
        )
        loaded = {name.partition(".")[0] for name in told.stdout.split()}
        assert "psutil" in loaded
        assert not loaded & {"prefect", "mongoengine", "pymongo", "torch"}, module


def test_what_an_engine_says_goes_into_its_folder(ask: Asking) -> None:
    request = ask(says="\x1b[31mSCF did not like it")
    assert run(request).complete
    said = attempt_folder(Path(request.folder), 1) / "engine.out"
    assert "SCF did not like it" in said.read_text()


def test_a_complete_result_is_given_again_and_no_engine_starts(
    ask: Asking, observe: Observer
) -> None:
    first = run(ask(energy=-2.0))
    for attempt in (1, 2, 7):
        assert run(ask(energy=-3.0, attempt=attempt)) == first
    assert len(observe.log(ask())) == 2


def test_an_attempt_that_failed_gives_its_failure_again_under_its_own_number(
    ask: Asking, observe: Observer
) -> None:
    first = run(ask(exit_status=3))
    assert run(ask()) == first
    assert first.failure is not None
    assert first.failure.reason == "engine-crashed"
    assert run(ask(attempt=2)).complete
    assert len(observe.log(ask())) == 4


def test_an_attempt_beside_a_living_one_is_refused(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    worker.start(ask(seconds=300))
    observe.acting(ask())
    for attempt in (1, 2):
        refused = run_calculation(ask(attempt=attempt).to_plain())
        assert "attempt 1" in refused["refused"]
    assert [line["event"] for line in observe.log(ask())] == ["start"]


def test_attempts_that_race_for_one_calculation_never_run_side_by_side(
    ask: Asking, observe: Observer
) -> None:
    def race(request: Request) -> dict[str, str]:
        return run_calculation(request.to_plain())

    with ThreadPoolExecutor(4) as pool:
        for number in range(25):
            name = f"race-{number}"
            # Every second time the first three give nothing, so that turns change hands.
            racers = [
                ask(name, attempt=k, seconds=0.02, exit_status=3 if k < 4 and number % 2 else None)
                for k in range(1, 5)
            ]
            answers = list(pool.map(race, racers))
            complete = [
                a for a in answers if "result" in a and Result.from_json(a["result"]).complete
            ]
            assert complete or number % 2
            _law(observe.log(racers[0]), name)


def _law(log: list[dict[str, Any]], name: str) -> None:
    """Starts and ends of one calculation alternate: never are two engines alive."""
    events = [line["event"] for line in log if line["calculation"] == name]
    assert events[::2] == ["start"] * len(events[::2])
    assert events[1::2] == ["end"] * len(events[::2])
    assert events


@pytest.mark.parametrize("escape", [False, True])
def test_the_engine_of_a_killed_worker_is_gone_within_a_second(
    ask: Asking, worker: WorkerProcess, observe: Observer, escape: bool
) -> None:
    request = start("one", escape=escape, ask=ask)
    worker.start(request)
    processes = family(request, observe)
    worker.process.kill()
    observe.all_over(processes, seconds=1.0)
    observe.until(lambda: is_signed_off(Path(request.folder), 1))
    assert run(ask(attempt=2)).complete


@pytest.mark.parametrize("escape", [False, True])
def test_what_a_killed_guardian_left_is_ended_by_the_worker(
    ask: Asking, worker: WorkerProcess, observe: Observer, escape: bool
) -> None:
    request = start("one", escape=escape, ask=ask)
    worker.start(request)
    processes = family(request, observe)
    os.kill(observe.guardian(request).pid, signal.SIGKILL)
    failure = worker.result().failure
    assert failure is not None
    assert (failure.kind, failure.reason) == (FailureKind.REMOTE, "guardian-lost")
    observe.all_over(processes, seconds=1.0)


def test_a_killed_nursery_ends_no_engine_and_is_started_again(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    request = ask("first", seconds=1.0)
    worker.start(request)
    observe.acting(request)
    guardian = psutil.Process(observe.guardian(request).pid)
    nursery = psutil.Process(guardian.ppid())
    nursery.kill()
    assert worker.result().complete
    worker.start(ask("second"))
    assert worker.result().complete


def test_an_engine_past_its_time_limit_is_ended_with_all_it_started(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    request = ask(seconds=300, grandchild=FAMILY, time_limit=1.0)
    worker.start(request)
    processes = family(request, observe)
    failure = worker.result().failure
    assert failure is not None
    assert (failure.kind, failure.reason) == (FailureKind.REMOTE, "time-limit")
    assert all(observe.over(process) for process in processes)


def test_a_stop_mark_ends_a_running_engine_even_one_that_ignores_being_asked(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    stubborn = "trap '' TERM; sleep 300 & sleep 300 & wait; wait"
    request = ask(seconds=300, grandchild=stubborn)
    worker.start(request)
    processes = family(request, observe)
    ask_to_stop(Path(request.folder), 1)
    failure = worker.result().failure
    assert failure is not None
    assert failure.kind is FailureKind.CANCELLED
    assert all(observe.over(process) for process in processes)


def test_a_stop_mark_left_before_the_start_keeps_the_engine_from_starting(
    ask: Asking, observe: Observer
) -> None:
    ask_to_stop(Path(ask().folder), 1)
    failure = run(ask()).failure
    assert failure is not None
    assert failure.kind is FailureKind.CANCELLED
    assert observe.log(ask()) == []


def test_a_guardian_asked_to_end_by_its_queue_ends_the_engine_first(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    request = start("one", ask=ask)
    worker.start(request)
    processes = family(request, observe)
    os.kill(observe.guardian(request).pid, signal.SIGTERM)
    failure = worker.result().failure
    assert failure is not None
    assert (failure.kind, failure.reason) == (FailureKind.REMOTE, "killed")
    assert all(observe.over(process) for process in processes)


@pytest.mark.parametrize(
    ("settings", "kind", "reason", "words"),
    [
        ({"ends_by": signal.SIGSEGV}, FailureKind.PHYSICS, "engine-crashed", "SIGSEGV"),
        ({"ends_by": signal.SIGKILL}, FailureKind.REMOTE, "killed", "out of memory"),
        ({"exit_status": 3}, FailureKind.PHYSICS, "engine-crashed", "status 3"),
        ({"cuts_result": True}, FailureKind.PHYSICS, "engine-crashed", "no whole result.json"),
    ],
)
def test_a_crash_becomes_a_failure_of_its_kind(
    ask: Asking, settings: dict[str, Any], kind: FailureKind, reason: str, words: str
) -> None:
    request = ask(**{name: getattr(value, "value", value) for name, value in settings.items()})
    result = run(request)
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason)
    assert words in result.failure.message
    left = attempt_folder(Path(request.folder), 1) / "result.json"
    assert Result.from_json(left.read_text()) == result


def test_what_an_attempt_used_until_it_was_ended_is_on_record(ask: Asking) -> None:
    request = replace(ask(seconds=300, time_limit=2.0), asked={"walltime": 60.0})
    result = run(request)
    assert result.failure is not None
    assert result.times["wall"] == pytest.approx(result.times["end"] - result.times["start"])
    assert 2.0 < result.times["wall"] < 60.0
    assert 1e7 < result.used["memory"] < 1e11
    assert result.asked == {"walltime": 60.0}


def test_a_lost_attempt_is_known_by_its_counter_and_its_memory(ask: Asking) -> None:
    request = ask()
    directory = attempt_folder(Path(request.folder), 1)
    directory.mkdir(parents=True)
    assert used_until_lost(Path(request.folder), 1) == ({}, {})
    (directory / "heartbeat").write_text("4")
    (directory / "memory").write_text("250000000")
    assert used_until_lost(Path(request.folder), 1) == ({"wall": 30.0}, {"memory": 2.5e8})
    (directory / "heartbeat").write_text("half a wor")
    (directory / "memory").write_text("inf")
    assert used_until_lost(Path(request.folder), 1) == ({}, {})


def test_an_energy_that_is_no_number_is_no_result(ask: Asking) -> None:
    result = run(ask(energy=float("nan")))
    assert not result.complete
    assert result.failure is not None
    assert result.failure.kind is FailureKind.PHYSICS


def test_what_an_engine_leaves_running_ends_with_its_result(ask: Asking, observe: Observer) -> None:
    request = ask(grandchild="sleep 300", escape=True)
    assert run(request).complete
    left = attempt_folder(Path(request.folder), 1) / "grandchild.pid"
    assert not psutil.pid_exists(int(left.read_text()))


def test_a_folder_that_cannot_be_written_is_a_remote_failure(
    ask: Asking, tmp_path: Path, observe: Observer
) -> None:
    (tmp_path / "calculations").touch()
    failure = run(ask()).failure
    assert failure is not None
    assert (failure.kind, failure.reason) == (FailureKind.REMOTE, "folder-not-writable")
    assert str(tmp_path) in failure.message


def test_a_disk_that_fills_up_during_a_calculation_is_a_remote_failure(
    ask: Asking, cramped_worker: WorkerProcess
) -> None:
    request = ask(engine="emt")
    cramped_worker.start(request)
    failure = cramped_worker.result().failure
    assert failure is not None
    assert failure.kind is FailureKind.REMOTE
    assert is_signed_off(Path(request.folder), 1)


def test_an_unforeseen_request_is_an_error_with_its_traceback(ask: Asking) -> None:
    with pytest.raises(ComputeError, match="unexpected keyword"):
        run_calculation(ask().to_plain() | {"nonsense": 1})


def test_the_counter_of_a_running_attempt_is_there_from_its_start(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    worker.start(ask(seconds=300))
    heartbeat = attempt_folder(Path(ask().folder), 1) / "heartbeat"
    assert observe.until(lambda: heartbeat.exists() and heartbeat.read_text()) == "1"
    assert time.time() - heartbeat.stat().st_mtime < 10


def test_a_whole_result_is_the_answer_though_its_guardian_can_write_no_more(
    ask: Asking, observe: Observer
) -> None:
    request = ask(seconds=2)
    log = Path(request.folder).parent / "engines.log"

    def no_file_any_more() -> None:
        observe.acting(request)
        log.unlink()
        log.mkdir()

    with ThreadPoolExecutor(1) as executor:
        meanwhile = executor.submit(no_file_any_more)
        assert run(request).complete
        meanwhile.result()
    assert log.is_dir()
