"""The jobs behind workers, without a batch system: its commands are a few lines of shell."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.compute import crew, processes
from leadline.tasks.compute.attempt_files import Running, attempt_folder, sign_off, take_turn
from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.crew import STILLBORN, Crew
from leadline.tasks.compute.job_notes import JobNote, job_notes
from leadline.tasks.compute.left_over import Driving, clear_left_over
from leadline.tasks.compute.queue_settings import QueueCluster, Resources
from leadline.tasks.compute.right_sizing import ANY, Need
from leadline.tasks.compute.roster import Hand, Roster
from leadline.tasks.errors import ComputeError
from leadline.tasks.store.owner import this_process
from tests.tasks.compute.arrivals import join

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking


ME = Driving(this_process())

FULL = Resources()


class Pbs:
    """A batch system whose jobs run from their submission until they are said to end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.command(
            "qsub",
            f"""
            cd {folder}; n=$(($(cat count) + 1))
            echo "$n.head me long leadline 4711 2 32 64gb 12:00 R 00:01" >> listing
            echo $n > count; echo $n.head
        """,
        )
        self.command("qstat", f"cat {folder}/listing")
        self.command("qdel", "exit 0")
        (folder / "count").write_text("0")
        self.all_end()

    def turn_away(self, at: int) -> None:
        """Answer nothing from so many jobs on, until it comes back."""
        for name in ("qsub", "qstat", "qdel"):
            lines = (self._folder / name).read_text()
            (self._folder / f"{name}.kept").write_text(lines)
            away = f"[ $(cat {self._folder}/count) -ge {at - 1} ] && exit 1"
            self.command(name, f"{away}\n{lines}")

    def come_back(self) -> None:
        """Answer again."""
        for name in ("qsub", "qstat", "qdel"):
            self.command(name, (self._folder / f"{name}.kept").read_text())

    @property
    def submitted(self) -> int:
        """Jobs so far."""
        return int((self._folder / "count").read_text() or 0)

    def all_end(self) -> None:
        (self._folder / "listing").write_text("")

    def command(self, name: str, lines: str) -> None:
        """Write a command of it."""
        file = self._folder / name
        file.write_text(f"#!/bin/sh\n{lines}\n")
        file.chmod(0o755)


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pbs:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return Pbs(folder)


class Working:
    """A crew at work, and those who wait for its workers."""

    def __init__(self, queue: BatchQueue, pool: ThreadPoolExecutor) -> None:
        self.queue, self.roster, self._pool = queue, Roster(FULL), pool
        self.asked: list[Need] = []

    def wanted(self, need: Need = ANY) -> Future[Hand | None]:
        """Ask for a worker, and wait for it ten seconds at most."""
        deadline = time.monotonic() + 10
        return self._pool.submit(self.roster.take, need, lambda: time.monotonic() > deadline, 0.01)

    def comes(self, job: int) -> str:
        """Let the worker of a job come; return its address."""
        address = f"tls://node:{job}"
        join(self.roster, address, f"{job}.head")
        return address


@pytest.fixture
def working(pbs: Pbs, tmp_path: Path, pool: ThreadPoolExecutor) -> Iterator[Working]:
    settings = QueueCluster(kind="pbs", jobs=2, poll=0.02)
    it = Working(BatchQueue(settings, tmp_path), pool)

    def submit(name: str, need: Need) -> str:
        it.asked.append(need)
        return it.queue.submit("a.module", "tls://head:1", name)

    with Crew(it.queue, it.roster, submit, lambda _: None, ME).at_work():
        yield it


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_whose_worker_came_was_no_failure_whatever_it_calls_itself(
    working: Working, pbs: Pbs
) -> None:
    for number in range(1, STILLBORN + 3):
        coming = working.wanted()
        until(lambda n=number: pbs.submitted >= n)  # type: ignore[misc]
        address = working.comes(pbs.submitted)
        hand = coming.result()
        assert hand is not None
        working.roster.give_back(hand)
        pbs.all_end()
        working.roster.remove_worker(None, address)


def test_the_job_of_a_dead_driver_is_cancelled_in_its_own_queue_alone(
    pbs: Pbs, tmp_path: Path
) -> None:
    pbs.command("qstat", "echo Server: big")
    pbs.command("qdel", f'echo "$@" >> {tmp_path}/cancelled')
    queue = BatchQueue(QueueCluster(kind="pbs"), tmp_path)
    dead = f"{processes.host()}/another-boot/1/1.00/token"
    of = {"1": queue.name, "2": f"pbs/small/{getpass.getuser()}", "3": None}
    for job, name in of.items():
        JobNote(job, name, dead).write(tmp_path)
    (tmp_path / "job-4.json").write_text(json.dumps({"system": "pbs", "job": "4", "owner": dead}))
    clear_left_over(queue, ME)
    assert (tmp_path / "cancelled").read_text() == "1\n"
    assert [each.job for each in job_notes(tmp_path)] == ["2", "3", "4"]


LISTING = """\
1.head me long leadline 4711 2 32 64gb 12:00 Q 00:01
2.head me long leadline 4711 2 32 64gb 12:00 R 00:01
3.head me long leadline 4711 2 32 64gb 12:00 R 00:01
4.head me long leadline 4711 2 32 64gb 12:00 Q 00:01
"""


def test_a_driver_on_another_host_clears_the_jobs_of_those_that_it_replaced_and_spares_engines(
    pbs: Pbs, tmp_path: Path, ask: Asking
) -> None:
    pbs.command("qstat", f"[ $1 = -B ] && echo Server: big && exit; cat <<'END'\n{LISTING}END")
    pbs.command("qdel", f'echo "$@" >> {tmp_path}/cancelled')
    request = ask()
    queue = BatchQueue(
        QueueCluster(kind="pbs", poll=0.02), Path(request.folder).parent / "batch-jobs"
    )
    queue.folder.mkdir(parents=True)
    replaced, stranger = "login1/boot/1/1.00/a", "login1/boot/2/1.00/b"
    for job, owner in {"1": replaced, "2": replaced, "3": replaced, "4": stranger}.items():
        JobNote(f"{job}.head", queue.name, owner).write(queue.folder)
    here = asdict(Running.here(request))
    running = Running(**{**here, "host": "node17", "job": "3.head", "queue": queue.name})
    take_turn(request, running)
    driving = Driving(ME.owner, frozenset({replaced}))
    clear_left_over(queue, driving)
    assert (tmp_path / "cancelled").read_text() == "1.head\n2.head\n"
    attempt_folder(Path(request.folder), 1).mkdir()
    sign_off(Path(request.folder), 1, "all ended")
    clear_left_over(queue, driving)
    assert (tmp_path / "cancelled").read_text() == "1.head\n2.head\n3.head\n"
    assert [each.owner for each in job_notes(queue.folder)] == [stranger]


def test_a_queue_that_is_away_for_a_while_is_waited_for(working: Working, pbs: Pbs) -> None:
    pbs.turn_away(at=2)
    first = working.wanted()
    until(lambda: pbs.submitted == 1)
    working.comes(1)
    assert first.result() is not None
    working.roster.remove_worker(None, "tls://node:1")
    second = working.wanted()
    time.sleep(0.5)
    assert not second.done()
    assert pbs.submitted == 1
    pbs.come_back()
    until(lambda: pbs.submitted == 2)


def test_jobs_that_a_queue_did_not_hear_of_stay_written_down(
    pbs: Pbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    monkeypatch.setattr(crew, "LEAVE_SECONDS", 0.0)
    queue = BatchQueue(QueueCluster(kind="pbs", poll=0.02), tmp_path)
    it = Working(queue, pool)

    def submit(name: str, need: Need) -> str:
        return queue.submit("a.module", "tls://head:1", name)

    with Crew(queue, it.roster, submit, lambda _: None, ME).at_work():
        it.wanted()
        until(lambda: list(tmp_path.glob("job-*.json")))
        pbs.turn_away(at=1)
    assert list(tmp_path.glob("job-*.json"))


def test_who_waits_is_told_when_jobs_can_no_longer_be_written_down(
    working: Working, tmp_path: Path
) -> None:
    (tmp_path / "no-folder").touch()
    working.queue.folder = tmp_path / "no-folder"
    with pytest.raises(ComputeError, match=r"NotADirectoryError.*no-folder"):
        working.wanted().result()


def test_a_node_that_breaks_all_its_jobs_ends_no_run_while_another_works(
    working: Working, pbs: Pbs
) -> None:
    first = working.wanted()
    until(lambda: pbs.submitted == 1)
    working.comes(1)
    assert first.result() is not None
    second = working.wanted()
    for number in range(2, STILLBORN + 2):
        until(lambda n=number: pbs.submitted == n)  # type: ignore[misc]
        pbs.all_end()
    time.sleep(0.5)
    assert pbs.submitted == STILLBORN + 1
    assert not second.done()
    working.roster.give_back(first.result())  # type: ignore[arg-type]
    assert second.result() is first.result()


def test_a_worker_that_is_sent_home_takes_nothing_on(working: Working) -> None:
    roster = Roster(FULL)
    join(roster, "a", "1")
    assert [each.address for each in roster.let_go(idle=-1)] == ["a"]
    assert roster.take(ANY, cancelled=lambda: True, poll=0.01) is None
    deadline = time.monotonic() + 0.1
    assert roster.take(ANY, lambda: time.monotonic() > deadline, 0.01) is None
    assert not roster.let_go(idle=-1)


def test_the_last_words_are_of_the_very_job(working: Working, pbs: Pbs, tmp_path: Path) -> None:
    (tmp_path / "tls-1x2y3z").mkdir()
    (tmp_path / f"leadline.o1{STILLBORN}").write_text("another job")
    (tmp_path / f"leadline.o{STILLBORN}").write_text("no such module")
    coming = working.wanted()
    for number in range(1, STILLBORN + 1):
        until(lambda n=number: pbs.submitted >= n)  # type: ignore[misc]
        pbs.all_end()
    with pytest.raises(ComputeError, match=r"said: no such module\. See"):
        coming.result()


def test_a_worker_with_too_little_memory_or_time_goes_home_for_one_that_has_enough(
    working: Working, pbs: Pbs
) -> None:
    small = Resources(memory=1e9, walltime=600)
    first = working.wanted(Need(100.0, walltime=120.0, memory=5e8))
    until(lambda: pbs.submitted == 1)
    join(working.roster, "tls://node:1", "1.head", small)
    hand = first.result()
    assert hand is not None
    large = working.wanted(Need(2000.0, walltime=2400.0, memory=3e9))
    time.sleep(0.2)
    assert not large.done()
    working.roster.give_back(hand)
    until(lambda: hand.busy)  # it was sent home
    pbs.all_end()
    working.roster.remove_worker(None, "tls://node:1")
    until(lambda: working.asked[-1].memory == 3e9)
    join(working.roster, "tls://node:2", "2.head")
    assert (found := large.result()) is not None
    assert found.resources == FULL


def test_a_job_asks_for_what_any_of_those_who_wait_needs(working: Working, pbs: Pbs) -> None:
    working.wanted(Need(60.0, walltime=100.0, memory=2e9))
    until(lambda: pbs.submitted == 1)
    working.wanted(Need(600.0, walltime=900.0, memory=5e8))
    until(lambda: pbs.submitted == 2)
    assert (working.asked[-1].walltime, working.asked[-1].memory) == (900.0, 2e9)
    working.wanted()
    assert working.roster.need == Need(600.0)
