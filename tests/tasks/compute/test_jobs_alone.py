"""One job a calculation, without a batch system: what stands in folders against what is said."""

from __future__ import annotations

import getpass
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import attempt as attempts
from leadline.tasks.compute.attempt import Watch
from leadline.tasks.compute.attempt_files import (
    Running,
    attempt_folder,
    is_signed_off,
    sign_off,
    take_turn,
    turns,
    write_result,
)
from leadline.tasks.compute.batch_job import JOB, Submission, run, submitted
from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.dispatcher import sign_off_by_word
from leadline.tasks.compute.job_dispatcher import JobDispatcher
from leadline.tasks.compute.queue_settings import QueueCluster
from leadline.tasks.errors import ComputeError, WriteError

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of a Slurm of a few lines; ``listing`` says which jobs there are."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "listing").touch()
    lines = {
        "squeue": f"cat {folder}/listing",
        "scontrol": "echo ClusterName = big",
        "sbatch": f"[ -f {folder}/full ] && echo no more jobs >&2 && exit 1\n"
        f"echo '17|PENDING' >> {folder}/listing; echo Submitted batch job 17",
        "scancel": "exit 0",
    }
    for name, words in lines.items():
        (folder / name).write_text(f"#!/bin/sh\n{words}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.fixture
def dispatcher(slurm: Path, tmp_path: Path) -> JobDispatcher:
    return JobDispatcher(BatchQueue(QueueCluster(kind="slurm", poll=0.05), tmp_path))


@pytest.fixture
def elsewhere(ask: Asking) -> Request:
    """Give a calculation whose engine runs on another host."""
    request = ask()
    here = asdict(Running.here(request))
    queue = f"slurm/big/{getpass.getuser()}"
    there = {"host": "node17", "boot": "another", "job": "17", "queue": queue}
    running = Running(**{**here, **there})
    directory = attempt_folder(Path(request.folder), 1)
    directory.mkdir(parents=True)
    take_turn(request, running)
    Submission("slurm", "17", queue).note(directory)
    return request


def taken_up(dispatcher: JobDispatcher, request: Request) -> Result | None:
    folder = Path(request.folder)
    with dispatcher.resume(request.calculation, folder, 1, lambda: False) as result:
        return result


def test_an_engine_that_is_seen_to_beat_is_alive_though_no_queue_knows_its_job(
    dispatcher: JobDispatcher, elsewhere: Request, pool: ThreadPoolExecutor
) -> None:
    folder, directory = Path(elsewhere.folder), attempt_folder(Path(elsewhere.folder), 1)
    coming = pool.submit(taken_up, dispatcher, elsewhere)
    for beat in range(40):
        (directory / "heartbeat").write_text(str(beat))
        time.sleep(0.05)
    assert not coming.done()
    assert not is_signed_off(folder, 1)
    write_result(Result("one", 1, converged=True, energy=-3.0), directory)
    sign_off(folder, 1, "all ended")
    result = coming.result(10)
    assert result is not None
    assert result.energy == -3.0


def test_the_end_of_a_job_is_the_end_of_an_engine_that_no_longer_beats(
    dispatcher: JobDispatcher, elsewhere: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "STALL_SECONDS", 0.5)
    result = taken_up(dispatcher, elsewhere)
    assert result is not None
    assert result.failure is not None
    assert result.failure.reason == "worker-lost"
    assert is_signed_off(Path(elsewhere.folder), 1)


@pytest.mark.parametrize("queue", ["slurm/small/me", None])
def test_a_job_of_another_queue_or_of_none_that_is_known_is_left_to_its_own(
    dispatcher: JobDispatcher, elsewhere: Request, queue: str | None
) -> None:
    Submission("slurm", "17", queue).note(attempt_folder(Path(elsewhere.folder), 1))
    assert taken_up(dispatcher, elsewhere) is None
    assert not is_signed_off(Path(elsewhere.folder), 1)


def test_an_answer_is_taken_in_though_no_queue_says_which_it_is(
    dispatcher: JobDispatcher, slurm: Path, elsewhere: Request
) -> None:
    (slurm / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    directory = attempt_folder(Path(elsewhere.folder), 1)
    write_result(Result("one", 1, converged=True, energy=-3.0), directory)
    result = taken_up(dispatcher, elsewhere)
    assert result is not None
    assert result.energy == -3.0


def test_records_that_name_no_queue_are_read(elsewhere: Request) -> None:
    folder = Path(elsewhere.folder)
    before = json.loads((folder / "turns" / "1").read_text())
    del before["queue"]
    (folder / "turns" / "1").write_text(json.dumps(before))
    (attempt_folder(folder, 1) / JOB).write_text(json.dumps({"system": "slurm", "job": "17"}))
    (running,) = turns(folder)
    assert (running.job, running.queue) == ("17", None)
    assert submitted(folder, 1) == Submission("slurm", "17", None)


@pytest.mark.parametrize(
    ("word", "reason"), [("OUT_OF_MEMORY", "out-of-memory"), ("FAILED", "engine-killed")]
)
def test_an_engine_that_was_killed_for_memory_is_told_by_the_word_of_its_queue(
    dispatcher: JobDispatcher, slurm: Path, elsewhere: Request, word: str, reason: str
) -> None:
    folder, directory = Path(elsewhere.folder), attempt_folder(Path(elsewhere.folder), 1)
    asked = {"memory": 1e9, "most_memory": 4e9}
    (directory / "request.json").write_text(json.dumps({"asked": asked}))
    killed = Failure(FailureKind.REMOTE, "engine-killed", "pw.x was ended by SIGKILL")
    write_result(Result("one", 1, converged=False, failure=killed, asked=asked), directory)
    sign_off(folder, 1, "all ended")
    (slurm / "listing").write_text(f"17|{word}\n")
    result = taken_up(dispatcher, elsewhere)
    assert result is not None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (FailureKind.REMOTE, reason)
    assert result.asked == asked


def test_a_job_that_is_over_without_a_word_of_its_engine_says_what_was_asked_and_used(
    dispatcher: JobDispatcher, slurm: Path, elsewhere: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "STALL_SECONDS", 0.5)
    directory = attempt_folder(Path(elsewhere.folder), 1)
    (directory / "request.json").write_text(json.dumps({"asked": {"memory": 1e9}}))
    (directory / "heartbeat").write_text("7")
    (slurm / "listing").write_text("17|OUT_OF_MEMORY\n")
    result = taken_up(dispatcher, elsewhere)
    assert result is not None
    assert result.failure is not None
    assert result.failure.reason == "out-of-memory"
    assert (result.asked, result.times) == ({"memory": 1e9}, {"wall": 60.0})


def test_a_queues_word_signs_nothing_off_while_its_counter_rises_or_nobody_waits_to_see_it(
    elsewhere: Request,
) -> None:
    folder, directory = Path(elsewhere.folder), attempt_folder(Path(elsewhere.folder), 1)
    rising, still = Watch(), Watch()
    rising.look(folder)
    (directory / "heartbeat").write_text("1")
    still.look(folder)
    sign_off_by_word(folder, 1, rising, "it is over", lambda: False)
    sign_off_by_word(folder, 1, still, "it is over", lambda: True)
    sign_off_by_word(folder, 2, still, "it is over", lambda: False)
    assert not is_signed_off(folder, 1)
    sign_off_by_word(folder, 1, still, "it is over", lambda: False)
    assert is_signed_off(folder, 1)


def test_a_job_that_starts_after_it_was_given_up_starts_no_engine(
    dispatcher: JobDispatcher, slurm: Path, ask: Asking, pool: ThreadPoolExecutor, observe: Observer
) -> None:
    request = ask()

    def ran() -> Result:
        with dispatcher.run(request, lambda: False) as result:
            return result

    coming = pool.submit(ran)
    observe.until((slurm / "listing").read_text)
    (slurm / "listing").write_text("")
    result = coming.result(20)
    assert result.failure is not None
    assert result.failure.reason == "not-started"
    run(Path(request.folder), 1)
    assert not observe.log(request)


def test_a_full_queue_is_waited_for_while_jobs_are_in_it(
    dispatcher: JobDispatcher, slurm: Path, ask: Asking, pool: ThreadPoolExecutor, observe: Observer
) -> None:
    stop: list[bool] = []

    def ran(name: str) -> Result:
        with dispatcher.run(ask(name), lambda: bool(stop), poll=0.05) as result:
            return result

    coming = [pool.submit(ran, "first")]
    observe.until((slurm / "listing").read_text)
    (slurm / "full").touch()
    coming += [pool.submit(ran, "second")]
    time.sleep(0.5)
    assert not any(each.done() for each in coming)
    stop.append(True)
    reasons = [each.result(20).failure for each in coming]
    assert {each and each.kind for each in reasons} == {FailureKind.CANCELLED}
    stop.clear()
    with pytest.raises(ComputeError, match="no more jobs"):
        ran("third")


def test_a_queue_that_is_away_for_a_while_is_waited_for(
    slurm: Path, ask: Asking, pool: ThreadPoolExecutor
) -> None:
    listing = (slurm / "squeue").read_text()
    queue = BatchQueue(QueueCluster(kind="slurm", poll=0.05), slurm)
    dispatcher = JobDispatcher(queue)
    queue.said("1")
    (slurm / "squeue").write_text("#!/bin/sh\nexit 1\n")
    (slurm / "full").touch()

    def ran() -> Result:
        with dispatcher.run(ask(), lambda: bool((slurm / "listing").read_text())) as result:
            return result

    coming = pool.submit(ran)
    time.sleep(0.5)
    assert not coming.done()
    (slurm / "full").unlink()
    (slurm / "squeue").write_text(listing)
    assert coming.result(20).failure is not None


def test_the_word_of_the_queue_is_on_record_for_an_engine_that_was_ended_with_its_job(
    dispatcher: JobDispatcher, slurm: Path, elsewhere: Request
) -> None:
    (slurm / "listing").write_text("17|CANCELLED\n")
    killed = Failure(FailureKind.REMOTE, "killed", "asked to end")
    directory = attempt_folder(Path(elsewhere.folder), 1)
    write_result(Result("one", 1, converged=False, failure=killed), directory)
    sign_off(Path(elsewhere.folder), 1, "all ended")
    result = taken_up(dispatcher, elsewhere)
    assert result is not None
    assert result.failure is not None
    assert result.failure.reason == "job-cancelled"
    assert result.failure.message == "asked to end; batch job 17: CANCELLED"


def test_a_disk_that_takes_no_job_is_told_in_plain_words(
    dispatcher: JobDispatcher, ask: Asking, slurm: Path
) -> None:
    request = ask()
    Path(request.folder).parent.mkdir(parents=True)
    Path(request.folder).touch()
    with pytest.raises(WriteError, match="cannot be written"):
        dispatcher.run(request, lambda: False).__enter__()
    assert not (slurm / "listing").read_text()


def test_a_job_that_could_not_be_noted_is_cancelled(
    dispatcher: JobDispatcher, slurm: Path, ask: Asking
) -> None:
    request = ask()
    (attempt_folder(Path(request.folder), 1) / JOB).mkdir(parents=True)
    (slurm / "scancel").write_text(f"#!/bin/sh\necho $1 > {slurm}/cancelled\n")
    with pytest.raises(WriteError, match="cannot be written"):
        dispatcher.run(request, lambda: False).__enter__()
    assert (slurm / "cancelled").read_text() == "17\n"
