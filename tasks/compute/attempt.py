"""What stands of a calculation in its folder: for a driver that comes back to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from leadline.tasks.calculation import Result
from leadline.tasks.compute import processes
from leadline.tasks.compute.attempt_files import (
    HEARTBEAT_SECONDS,
    Running,
    ask_to_stop,
    attempt_folder,
    fresh,
    is_signed_off,
    read_result,
    turns,
)
from leadline.tasks.writing import explained_writing

STALL_SECONDS = 6 * HEARTBEAT_SECONDS
"""A counter that does not rise for so long no longer speaks for its engine."""


class State(StrEnum):
    """What is known of a calculation."""

    FINISHED = "finished"
    """An attempt has a complete result."""
    ALIVE = "alive"
    """An attempt is running now."""
    GONE = "gone"
    """Every attempt is over without a complete result: the next one may start."""
    UNKNOWN = "unknown"
    """The last attempt may be alive and there is no proof: it has to wait."""


@dataclass(frozen=True)
class Standing:
    """What stands of a calculation, and how that is known.

    Parameters
    ----------
    state
        What is known.
    attempts
        Numbers of the attempts that took a turn, in order.
    gone
        Those that are proved gone: what the next request lists.
    result
        The complete result; else what the last attempt left once it is gone:
        its failure, or None.
    running
        Who runs the last attempt, if it is alive or unknown.
    orphans
        Pids on this host of an engine whose guardian was killed.
    why
        One sentence for a person.
    """

    state: State
    attempts: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    result: Result | None = None
    running: Running | None = None
    orphans: tuple[int, ...] = ()
    why: str = ""


class Watch:
    """Looks at calculations again and again, and remembers the counters it saw.

    An attempt on another host is alive if its counter was seen to rise between
    two looks by the clock of this process: so the first look cannot know it.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, str] = {}
        self._rose: dict[Path, float] = {}

    def look(self, folder: Path) -> Standing:
        """Return what stands in the folder of a calculation now."""
        ran = turns(folder)
        attempts = tuple(running.attempt for running in ran)
        for attempt in reversed(attempts):
            result = read_result(folder, attempt)
            if result is not None and result.complete:
                why = f"attempt {attempt} finished"
                return Standing(State.FINISHED, attempts, attempts, result, why=why)
        if not ran:
            return Standing(State.GONE, why="no attempt was started")
        return self._look_at_last(folder, ran[-1], attempts)

    def _look_at_last(self, folder: Path, last: Running, attempts: tuple[int, ...]) -> Standing:
        state, orphans, why = self._proof(folder, last)
        if state is State.GONE:
            result = read_result(folder, last.attempt)
            if result is not None and result.complete:
                return Standing(State.FINISHED, attempts, attempts, result, why="it finished")
            return Standing(state, attempts, attempts, result, why=why)
        pids = tuple(process.pid for process in orphans)
        return Standing(state, attempts, attempts[:-1], None, last, pids, why)

    def _proof(self, folder: Path, last: Running) -> tuple[State, list[psutil.Process], str]:
        if is_signed_off(folder, last.attempt):
            return State.GONE, [], f"attempt {last.attempt} was signed off"
        who = f"attempt {last.attempt}, process {last.pid} on {last.host}"
        if _is_here(last):
            return _proof_here(last, who)
        heartbeat = attempt_folder(folder, last.attempt) / "heartbeat"
        if self._rises(heartbeat):
            return State.ALIVE, [], f"{who}: its counter rises"
        if _rebooted(last) and _age(heartbeat) > STALL_SECONDS:
            return State.GONE, [], f"{who}: the host has started again since"
        return State.UNKNOWN, [], f"{who}: not signed off, and its counter was not seen to rise"

    def _rises(self, heartbeat: Path) -> bool:
        fresh(heartbeat.parent)
        counter = heartbeat.read_text() if heartbeat.exists() else ""
        now = time.monotonic()
        if self._seen.setdefault(heartbeat, counter) != counter:
            self._rose[heartbeat] = now
            self._seen[heartbeat] = counter
        return now - self._rose.get(heartbeat, -STALL_SECONDS) < STALL_SECONDS


def inspect(folder: Path) -> Standing:
    """Return what stands in the folder of a calculation, by a single look.

    A look changes nothing. An attempt on another host is UNKNOWN to it unless
    signed off: keep a :class:`Watch` to see its counter rise.
    """
    return Watch().look(folder)


def take_over(folder: Path, watch: Watch) -> Standing:
    """Look, and end what a killed guardian left on this host: nobody can use its answer."""
    standing = watch.look(folder)
    while standing.running is not None and standing.orphans:
        processes.kill(processes.marked(standing.running.pid, standing.running.mark))
        time.sleep(0.05)
        standing = watch.look(folder)
    return standing


def orphans(folder: Path, attempt: int) -> list[psutil.Process]:
    """Return the processes that an attempt left on this host when its guardian was killed."""
    mine = (each for each in turns(folder) if each.attempt == attempt)
    ran = next((each for each in mine if _is_here(each)), None)
    if ran is None or processes.start_time(ran.pid) == ran.start:
        return []
    return processes.marked(_session(ran), ran.mark)


def wait_for_result(
    folder: Path, attempt: int, cancelled: Callable[[], bool], poll: float = 1.0
) -> Result | None:
    """Wait for an attempt that somebody else started, as its own driver would.

    Returns
    -------
    Result | None
        What it left, whole and with everything ended; None if it was cancelled,
        is gone without a word, or can no longer be told alive.
    """
    watch, patience = Watch(), time.monotonic() + STALL_SECONDS
    while not cancelled():
        standing = take_over(folder, watch)
        if standing.state in (State.FINISHED, State.GONE):
            return standing.result
        if standing.state is State.ALIVE:
            patience = time.monotonic() + STALL_SECONDS
        if time.monotonic() > patience or attempt not in standing.attempts:
            return None
        time.sleep(poll)
    return None


def give_up(folder: Path, attempt: int) -> None:
    """Leave word that an attempt that did not start is to start no more.

    A worker that was cut off may come back with it, or a batch job of which we never knew.
    """
    with explained_writing(folder):
        ask_to_stop(folder, attempt)


def _proof_here(last: Running, who: str) -> tuple[State, list[psutil.Process], str]:
    if processes.start_time(last.pid) == last.start:
        return State.ALIVE, [], f"{who} is running"
    left = processes.marked(_session(last), last.mark)
    if left:
        return State.UNKNOWN, left, f"{who} was killed and left processes behind"
    return State.GONE, [], f"{who} is no more, and nothing of its session"


def _is_here(running: Running) -> bool:
    return running.host == processes.host() and running.boot == processes.boot_id()


def _session(killed: Running) -> int:
    """Return the session of a guardian that was killed, or -1 where it is proved empty.

    Another process with its pid is that proof: the kernel gives no number that a session has.
    """
    return killed.pid if processes.start_time(killed.pid) is None else -1


def _rebooted(last: Running) -> bool:
    boot, here = last.boot.partition("/")[0], processes.boot_id().partition("/")[0]
    return last.host == processes.host() and boot != here


def _age(heartbeat: Path) -> float:
    """Seconds since the counter rose, for a host that may be a namesake of this one."""
    return time.time() - heartbeat.stat().st_mtime if heartbeat.exists() else STALL_SECONDS + 1
