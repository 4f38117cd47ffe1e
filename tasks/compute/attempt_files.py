"""The files by which attempts at one calculation know of each other.

::

    calculations/               one folder for a machine profile, shared by campaigns
    ├── engines.log             every start and end of an engine, one JSON line each
    └── <calculation>/
        ├── turns/1, 2, …       who ran, in order: taken by one exclusive hard link each
        └── attempt-N/
            ├── running.json    who runs it: the same words as its turn
            ├── heartbeat       a counter that its guardian raises
            ├── memory          of its engine at the peak, bytes, while it runs
            ├── stop            asks its guardian to end it
            ├── result.json     what came out, by a rename
            └── ended.json      its guardian's word that nothing of it is alive

A turn is taken only when the one before is over, and its name can be linked
once: so two engines are never alive for one calculation, on any file system
where a hard link is exclusive, NFS among them. The worker imports this module.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from leadline.tasks.calculation import Request, Result
from leadline.tasks.compute import processes
from leadline.tasks.engines.compute import MEMORY, batch_job, job_queue
from leadline.tasks.errors import ComputeError

HEARTBEAT_SECONDS = 10.0


class StartRefusedError(ComputeError):
    """An engine may not start now: another attempt may be alive, or this one was used."""


@dataclass(frozen=True)
class Running:
    """Who runs an attempt: its guardian, which leads a session of its own.

    Parameters
    ----------
    calculation, attempt
        What is run.
    host, boot, pid, start
        The guardian, in the words of ``processes``.
    job
        Id of the batch job around it, or None.
    time
        UNIX time of the start.
    queue
        The queue that has that job, as ``BatchQueue.name``: only it can say that the job
        is over. None where it is not known.
    """

    calculation: str
    attempt: int
    host: str
    boot: str
    pid: int
    start: float
    job: str | None
    time: float
    queue: str | None = None

    @classmethod
    def here(cls, request: Request) -> Running:
        """Return this process as the one that runs ``request``."""
        return cls(
            calculation=request.calculation,
            attempt=request.attempt,
            host=processes.host(),
            boot=processes.boot_id(),
            pid=os.getpid(),
            start=processes.start_time(os.getpid()) or 0.0,
            job=batch_job(),
            time=time.time(),
            queue=job_queue(),
        )

    @property
    def mark(self) -> str:
        """Value of ``LEADLINE_ATTEMPT`` in all that its engine starts."""
        return f"{self.calculation}/{self.attempt}"


def calculation_folder(root: Path, calculation: str) -> Path:
    """Return the folder of a calculation under the folder of all calculations."""
    return root / calculation


def attempt_folder(folder: Path, attempt: int) -> Path:
    """Return the folder of one attempt under that of its calculation."""
    return folder / f"attempt-{attempt}"


def take_turn(request: Request, running: Running) -> Result | None:
    """Take the next turn at a calculation, or return the result that makes it needless.

    Returns
    -------
    Result | None
        The complete result of any attempt; or what this very attempt gave, if
        it already ended; or None: the turn is ours.

    Raises
    ------
    StartRefusedError
        If an attempt is neither signed off nor listed as gone.
    OSError
        If the folder cannot be written.
    """
    folder = Path(request.folder)
    words = json.dumps(asdict(running))
    (folder / "turns").mkdir(parents=True, exist_ok=True)
    number, earlier = 1, None
    while earlier is None and not _link_once(folder / "turns" / str(number), words):
        held = _read_turn(folder, number)
        if held == running:
            break  # a link that a file server made and then answered as refused
        number, earlier = number + 1, _earlier_result(folder, held, request)
    return earlier


def turns(folder: Path) -> list[Running]:
    """Return who ran a calculation, in order; only the last can be alive."""
    fresh(folder / "turns")
    return list(_turns(folder))


def read_result(folder: Path, attempt: int) -> Result | None:
    """Return what an attempt left, or None where there is nothing whole."""
    try:
        return Result.from_json(
            (attempt_folder(folder, attempt) / "result.json").read_text(encoding="utf-8")
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def used_until_lost(folder: Path, attempt: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the times and the memory of an attempt that left no result, as far as they are known.

    Its guardian counted to its end, and the memory of its engine was written down now and then.
    """
    directory = attempt_folder(folder, attempt)
    beats, memory = (_number_in(directory / name) for name in ("heartbeat", MEMORY))
    wall = {"wall": (beats - 1) * HEARTBEAT_SECONDS} if beats and beats > 1 else {}
    return wall, {"memory": memory} if memory else {}


def write_result(result: Result, directory: Path) -> None:
    """Write ``result.json`` so that a reader sees all of it or nothing, on the disk itself."""
    write_whole(directory / "result.json", result.to_json(), sync=True)


def sign_off(folder: Path, attempt: int, words: str) -> None:
    """Write that nothing of an attempt is alive, and how that is known.

    The guardian's last act; a person who knows that a host is gone may do it
    for a guardian that could not.
    """
    mark = {"words": words, "time": time.time()}
    write_whole(attempt_folder(folder, attempt) / "ended.json", json.dumps(mark))


def is_signed_off(folder: Path, attempt: int) -> bool:
    """Return whether an attempt is known to have ended with all it started."""
    fresh(attempt_folder(folder, attempt))
    return (attempt_folder(folder, attempt) / "ended.json").exists()


def ask_to_stop(folder: Path, attempt: int) -> None:
    """Leave the mark on which the guardian of an attempt ends its engine."""
    directory = attempt_folder(folder, attempt)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "stop").touch()


def log_engine(folder: Path, event: str, running: Running, engine: int) -> None:
    """Append one line to the log of engines beside the calculations' folders."""
    line = {
        "event": event,
        "calculation": running.calculation,
        "attempt": running.attempt,
        "host": running.host,
        "pid": engine,
        "time": time.time(),
    }
    log = os.open(folder.parent / "engines.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(log, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(log)


def write_whole(path: Path, text: str, *, sync: bool = False) -> None:
    """Write a file by a temporary name and a rename; with ``sync`` on the disk before it shows."""
    temporary = path.with_name(f".{path.name}.{processes.host()}.{os.getpid()}")
    try:
        _write(temporary, text, sync=sync)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # half a file would take room on a full disk
        raise
    if sync:
        _sync(path.parent)


def fresh(directory: Path) -> None:
    """Have a network file system look again: opening a folder makes it ask its server."""
    try:
        os.close(os.open(directory, os.O_RDONLY))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise


def _earlier_result(folder: Path, held: Running, request: Request) -> Result | None:
    # Over first, result second: a result may land between the two looks.
    over = is_signed_off(folder, held.attempt)
    result = read_result(folder, held.attempt)
    same = held.attempt == request.attempt
    if result is not None and (result.complete or (same and over)):
        return result
    if same or not (over or held.attempt in request.gone):
        raise StartRefusedError(
            f"attempt {request.attempt} of calculation {held.calculation} may not start: attempt "
            f"{held.attempt}, process {held.pid} on {held.host}, "
            + ("used this number" if same else "is not known to be gone")
        )
    return None


def _turns(folder: Path) -> Iterator[Running]:
    for number in count(1):
        try:
            yield _read_turn(folder, number)
        except FileNotFoundError:
            return


def _read_turn(folder: Path, number: int) -> Running:
    turn = folder / "turns" / str(number)
    try:
        return _running(json.loads(turn.read_bytes()))
    except (ValueError, TypeError):
        raise ComputeError(
            f"{turn} cannot be read, so who computes this calculation is not known; once no "
            f"engine of it is alive on any host, remove {folder} and run again"
        ) from None


def _running(plain: dict[str, Any]) -> Running:
    """Rebuild who runs an attempt; ValueError where a number is none, TypeError at other keys."""
    read = Running(**plain)
    numbers = (read.attempt, read.pid, read.start, read.time)
    words = (read.calculation, read.host, read.boot, read.job or "", read.queue or "")
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
        raise ValueError("a number is none")
    if not all(isinstance(each, str) for each in words):
        raise ValueError("a word is none")
    return read


def _number_in(file: Path) -> float | None:
    try:
        number = float(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _link_once(path: Path, words: str) -> bool:
    temporary = path.with_name(f".{processes.host()}.{os.getpid()}")
    try:
        _write(temporary, words, sync=True)
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _write(path: Path, text: str, *, sync: bool) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
