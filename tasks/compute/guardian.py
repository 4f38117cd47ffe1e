"""The guardian of one attempt: it starts the engine and outlives it.

It leads a session of its own, so no signal to the worker's group reaches it. It
holds one end of a socket whose other end lives in the worker: when the worker
ends, however it ends, the socket closes and the guardian ends the engine with
all it started. It ends it as well at the time limit and on a stop mark. Its
last act is to sign the attempt off.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import processes
from leadline.tasks.compute.attempt_files import (
    HEARTBEAT_SECONDS,
    Running,
    StartRefusedError,
    attempt_folder,
    fresh,
    log_engine,
    read_result,
    sign_off,
    take_turn,
    used_until_lost,
    write_result,
    write_whole,
)
from leadline.tasks.compute.engine_process import UNWRITTEN, run_engine
from leadline.tasks.compute.out_of_memory import explained, kills
from leadline.tasks.engines.compute import batch_job
from leadline.tasks.engines.ended import tidy_after_end

STOP_POLL_SECONDS = 0.25
GRACE_SECONDS = 3.0
"""How long an engine has between being asked to end and being killed."""

LOST = Failure(FailureKind.REMOTE, "worker-lost", "the worker ended, and its engine with it")
TERMINATED = Failure(FailureKind.REMOTE, "killed", "the machine or its queue asked it to end")
STOPPED = Failure(FailureKind.CANCELLED, "stopped", "a stop mark was left for this attempt")


@dataclass(frozen=True)
class End:
    """How an engine ended: its status, and why it was made to end, if it was."""

    status: int
    because: Failure | None


@dataclass(frozen=True)
class Begun:
    """When an attempt began, by two clocks, and what the kernel had killed for memory by then."""

    time: float
    clock: float
    kills: int

    def times(self) -> dict[str, float]:
        """Return the times of an attempt that ends now."""
        wall = time.monotonic() - self.clock
        return {"start": self.time, "end": self.time + wall, "wall": wall}


def guard(worker: socket.socket) -> NoReturn:
    """Read one request from a socket to its worker, run it, answer there, and end."""
    try:
        os.setsid()
        processes.adopt_orphans()
        worker.sendall(json.dumps(_answer(_request(worker), worker)).encode())
    except OSError:
        pass  # the worker is gone; the folder has the answer
    except BaseException:
        with suppress(OSError):
            worker.sendall(json.dumps({"error": traceback.format_exc()}).encode())
    finally:
        os._exit(0)


def _request(worker: socket.socket) -> Request:
    with worker.makefile("r", encoding="utf-8") as lines:
        return Request.from_plain(json.loads(lines.readline()))


def _answer(request: Request, worker: socket.socket) -> dict[str, str]:
    running = Running.here(request)
    directory = attempt_folder(Path(request.folder), request.attempt)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        earlier = take_turn(request, running)
    except StartRefusedError as refusal:
        return {"refused": str(refusal)}
    except OSError as error:
        return {"result": _failed(request, _unwritten(error)).to_json()}
    return {"result": (earlier or _guarded(request, directory, running, worker)).to_json()}


def _guarded(request: Request, directory: Path, running: Running, worker: socket.socket) -> Result:
    """Run the engine, end all it started, settle what came out, and sign off."""
    signals, begun = _signals(), Begun(running.time, time.monotonic(), kills())
    try:
        write_whole(directory / "running.json", json.dumps(asdict(running)))
        end = End(0, STOPPED)
        if not (directory / "stop").exists():
            engine = _start_engine(request, directory, running, worker)
            end = _watch(engine, request, directory, worker, signals)
            log_engine(Path(request.folder), "end", running, engine)
        result = _settled(request, directory, end, begun)
    except OSError as error:
        processes.end_descendants(grace=0)
        kept = read_result(Path(request.folder), request.attempt)  # by an engine that found room
        result = kept if kept and kept.complete else _failed(request, _unwritten(error))
    # On a full disk the guardian's own end is proof enough, on this host.
    with suppress(OSError):
        sign_off(Path(request.folder), request.attempt, "its guardian saw everything end")
    return result


def _signals() -> int:
    """Return a pipe that gives the numbers of the signals to this process as bytes."""
    numbers, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return numbers


def _start_engine(
    request: Request, directory: Path, running: Running, worker: socket.socket
) -> int:
    engine = os.fork()
    if engine == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        worker.close()
        run_engine(request, directory, running)
    return engine


def _watch(
    engine: int, request: Request, directory: Path, worker: socket.socket, signals: int
) -> End:
    """Wait for the engine, or end it when there is a reason to; leave nothing alive."""
    started, beats, because = time.monotonic(), 0, None
    while because is None:
        status = _status(engine)
        if status is not None:
            processes.end_descendants(grace=0)
            return End(status, None)
        if time.monotonic() - started >= beats * HEARTBEAT_SECONDS:
            beats += 1
            write_whole(directory / "heartbeat", str(beats))
        ready = select.select([signals, worker.fileno()], [], [], STOP_POLL_SECONDS)[0]
        if signals in ready and signal.SIGTERM in os.read(signals, 512):
            because = TERMINATED
        elif worker.fileno() in ready:
            because = LOST
        else:
            because = _asked_to_end(request, directory, time.monotonic() - started)
    # A worker that is lost may have a successor soon: no grace then.
    processes.end_descendants(grace=0 if because is LOST else GRACE_SECONDS)
    return End(0, because)


def _status(engine: int) -> int | None:
    pid, status = os.waitpid(engine, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _asked_to_end(request: Request, directory: Path, seconds: float) -> Failure | None:
    if request.time_limit is not None and seconds > request.time_limit:
        return Failure(FailureKind.REMOTE, request.limited_by, _too_long(request))
    fresh(directory)
    return STOPPED if (directory / "stop").exists() else None


def _too_long(request: Request) -> str:
    if request.limited_by == "walltime":
        return f"not finished after the {request.time_limit:.0f} s that its batch job had left"
    return f"not finished after the {request.time_limit:g} s that a calculation may take"


def _settled(request: Request, directory: Path, end: End, begun: Begun) -> Result:
    """Return what the engine wrote, or write why it wrote nothing whole."""
    result = read_result(Path(request.folder), request.attempt)
    if result is None or (end.because and not result.complete):
        why = end.because or explained(_why_nothing(end.status, directory), begun.kills)
        used = used_until_lost(Path(request.folder), request.attempt)[1]
        result = replace(_failed(request, why), times=begun.times(), used=used)
        tidy_after_end(request, directory)
        write_result(result, directory)
    elif result.failure and (why := explained(result.failure, begun.kills)) != result.failure:
        result = replace(result, failure=why)
        write_result(result, directory)
    return result


def _why_nothing(status: int, directory: Path) -> Failure:
    words = _last_words(directory / "engine.err")
    if -status in (signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU):
        name = signal.Signals(-status).name
        why = f"the engine was ended from outside by {name}: out of memory, or its queue"
        return Failure(FailureKind.REMOTE, "killed", why)
    if status == UNWRITTEN:
        return Failure(FailureKind.REMOTE, "result-not-written", words)
    if status < 0:
        words = f"the engine crashed with {signal.Signals(-status).name}; {words}"
        return Failure(FailureKind.PHYSICS, "engine-crashed", words)
    words = f"the engine ended with status {status} and no whole result.json; {words}"
    return Failure(FailureKind.PHYSICS, "engine-crashed", words)


def _last_words(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    return f"its last words: {text[-500:]}" if text else "it left no words"


def _failed(request: Request, failure: Failure) -> Result:
    return Result(
        request.calculation,
        request.attempt,
        converged=False,
        where={"host": processes.host(), "pid": os.getpid(), "job": batch_job()},
        failure=failure,
        asked=request.asked,
    )


def _unwritten(error: OSError) -> Failure:
    words = f"the folder of calculations cannot be written: {error}"
    return Failure(FailureKind.REMOTE, "folder-not-writable", words)
