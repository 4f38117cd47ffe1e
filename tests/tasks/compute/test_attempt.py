from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.tasks.calculation import Request, Result
from leadline.tasks.compute import attempt_files, processes
from leadline.tasks.compute.attempt import State, Watch, inspect, take_over, wait_for_result
from leadline.tasks.compute.attempt_files import (
    Running,
    StartRefusedError,
    attempt_folder,
    read_result,
    sign_off,
    take_turn,
    write_result,
    write_whole,
)
from leadline.tasks.compute.worker import run_calculation
from leadline.tasks.errors import ComputeError

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer, WorkerProcess

COMPLETE = Result("one", 1, converged=True, energy=-1.0)


def ran(request: Request, **changes: object) -> Running:
    """Leave a folder as an attempt by somebody leaves it: a turn, and no more."""
    running = replace(Running.here(request), **changes)  # type: ignore[arg-type]
    assert take_turn(request, running) is None
    folder = attempt_folder(Path(request.folder), request.attempt)
    folder.mkdir()
    write_whole(folder / "running.json", json.dumps(asdict(running)))
    return running


def beat(request: Request, counter: int) -> Path:
    heartbeat = attempt_folder(Path(request.folder), request.attempt) / "heartbeat"
    heartbeat.write_text(str(counter))
    return heartbeat


def test_where_nothing_was_started_the_first_attempt_may_start(ask: Asking) -> None:
    standing = inspect(Path(ask().folder))
    assert (standing.state, standing.attempts, standing.gone) == (State.GONE, (), ())


def test_a_finished_calculation_gives_its_result_whatever_came_after(ask: Asking) -> None:
    answer = run_calculation(ask().to_plain())
    standing = inspect(Path(ask().folder))
    assert standing.state is State.FINISHED
    assert standing.result == Result.from_json(answer["result"])


def test_a_failed_attempt_is_gone_and_its_failure_is_there_to_be_recorded(ask: Asking) -> None:
    run_calculation(ask(exit_status=3).to_plain())
    standing = inspect(Path(ask().folder))
    assert (standing.state, standing.gone) == (State.GONE, (1,))
    assert standing.result is not None
    assert standing.result.failure is not None


def test_a_running_attempt_on_this_host_is_alive(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    worker.start(ask(seconds=300))
    observe.acting(ask())
    standing = inspect(Path(ask().folder))
    assert (standing.state, standing.gone) == (State.ALIVE, ())
    assert standing.running is not None
    assert standing.running.pid == observe.guardian(ask()).pid


def test_a_process_with_the_same_pid_and_another_start_proves_an_attempt_gone(ask: Asking) -> None:
    ran(ask(), start=1.0)
    assert inspect(Path(ask().folder)).state is State.GONE


def test_when_worker_and_guardian_are_killed_at_once_the_orphans_are_seen_and_ended(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    request = ask(seconds=300, grandchild="sleep 300", escape=True)
    worker.start(request)
    _, orphan = observe.acting(request, "grandchild.pid")
    # Stopped, the worker cannot clear up behind its guardian.
    worker.process.send_signal(signal.SIGSTOP)
    os.kill(observe.guardian(request).pid, signal.SIGKILL)
    worker.process.kill()
    folder = Path(request.folder)
    standing = observe.until(lambda: (s := inspect(folder)).state is State.UNKNOWN and s)
    assert orphan.pid in standing.orphans
    assert take_over(folder, Watch()).state is State.GONE
    assert observe.over(orphan)


def test_an_attempt_on_another_host_is_alive_once_its_counter_was_seen_to_rise(
    ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(ask(), host="elsewhere")
    beat(ask(), 4)
    watch, folder = Watch(), Path(ask().folder)
    assert watch.look(folder).state is State.UNKNOWN
    assert watch.look(folder).state is State.UNKNOWN
    beat(ask(), 5)
    assert watch.look(folder).state is State.ALIVE
    assert watch.look(folder).state is State.ALIVE
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert watch.look(folder).state is State.UNKNOWN


def test_a_person_who_knows_that_a_host_is_gone_settles_its_attempts(ask: Asking) -> None:
    ran(ask(), host="elsewhere")
    with pytest.raises(StartRefusedError, match="on elsewhere"):
        take_turn(ask(attempt=2), Running.here(ask(attempt=2)))
    sign_off(Path(ask().folder), 1, "elsewhere was taken away")
    assert inspect(Path(ask().folder)).state is State.GONE
    assert take_turn(ask(attempt=2), Running.here(ask(attempt=2))) is None


def test_an_attempt_listed_as_gone_may_be_followed_unless_it_finished(ask: Asking) -> None:
    ran(ask(), host="elsewhere")
    second = ask(attempt=2, gone=(1,))
    third = ask(attempt=3, gone=(1, 2))
    assert take_turn(second, replace(Running.here(second), host="elsewhere")) is None
    write_result(COMPLETE, attempt_folder(Path(ask().folder), 1))
    assert take_turn(third, Running.here(third)) == COMPLETE


def test_an_attempt_before_a_reboot_is_gone_once_its_counter_is_old(ask: Asking) -> None:
    ran(ask(), boot="another-boot/1", pid=1)
    heartbeat = beat(ask(), 3)
    # A namesake of this host may be alive as long as the counter is young.
    assert inspect(Path(ask().folder)).state is State.UNKNOWN
    os.utime(heartbeat, (time.time() - 120, time.time() - 120))
    assert inspect(Path(ask().folder)).state is State.GONE


def test_an_attempt_in_another_container_of_the_same_name_stays_unknown(ask: Asking) -> None:
    boot = processes.boot_id().partition("/")[0]
    ran(ask(), boot=f"{boot}/1", pid=1)
    os.utime(beat(ask(), 3), (1.0, 1.0))
    assert inspect(Path(ask().folder)).state is State.UNKNOWN


def test_a_driver_waits_for_an_attempt_that_it_did_not_start(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    worker.start(ask(seconds=1.0))
    observe.acting(ask())
    result = wait_for_result(Path(ask().folder), 1, lambda: False, poll=0.05)
    assert result is not None
    assert result.complete


def test_waiting_ends_when_it_is_cancelled_or_there_is_nothing_to_wait_for(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    assert wait_for_result(Path(ask("none").folder), 1, lambda: False) is None
    worker.start(ask(seconds=300))
    observe.acting(ask())
    assert wait_for_result(Path(ask().folder), 1, lambda: True) is None


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=3))
def test_no_part_of_a_result_reads_as_a_result(tmp_path: Path, share: float, junk: bytes) -> None:
    folder = attempt_folder(tmp_path, 1)
    folder.mkdir(exist_ok=True)
    whole = COMPLETE.to_json().encode()
    (folder / "result.json").write_bytes(whole[: int(share * len(whole))] + junk)
    assert read_result(tmp_path, 1) is None
    write_result(COMPLETE, folder)
    assert read_result(tmp_path, 1) == COMPLETE


def test_a_turn_that_cannot_be_read_is_named(ask: Asking) -> None:
    ran(ask())
    turn = Path(ask().folder) / "turns" / "1"
    for words in ("", "[]", '{"pid": 1}'):
        turn.write_text(words)
        with pytest.raises(ComputeError, match="turns/1 cannot be read"):
            inspect(Path(ask().folder))


def test_a_turn_is_taken_once_however_many_reach_for_it(ask: Asking) -> None:
    for number in range(50):
        name = f"turn-{number}"
        readers, children = [], []
        for attempt in range(1, 5):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                _reach(ask(name, attempt=attempt), writer)
            os.close(writer)
            readers.append(reader)
            children.append(pid)
        words = sorted(os.read(reader, 20).decode() for reader in readers)
        for reader, child in zip(readers, children, strict=True):
            os.close(reader)
            os.waitpid(child, 0)
        assert words == ["mine", "refused", "refused", "refused"]


def _reach(request: Request, writer: int) -> None:
    try:
        took = take_turn(request, Running.here(request))
        os.write(writer, b"mine" if took is None else b"given")
    except StartRefusedError:
        os.write(writer, b"refused")
    finally:
        os._exit(0)


def test_the_log_of_engines_stands_beside_the_calculations(ask: Asking) -> None:
    run_calculation(ask().to_plain())
    root = Path(ask().folder).parent
    assert attempt_files.calculation_folder(root, "one") == Path(ask().folder)
    lines = [json.loads(line) for line in (root / "engines.log").read_text().splitlines()]
    assert set(lines[0]) == {"event", "calculation", "attempt", "host", "pid", "time"}
