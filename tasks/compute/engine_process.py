"""The process in which an engine runs: it computes one request and writes its result.

Runs in a process forked for it alone; nothing here returns to its caller.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import processes
from leadline.tasks.compute.attempt_files import Running, log_engine, write_result
from leadline.tasks.engines.compute import compute

UNWRITTEN = os.EX_IOERR
"""Exit status of an engine process whose result could not be written."""


def run_engine(request: Request, directory: Path, running: Running) -> NoReturn:
    """Compute ``request`` in ``directory``, write ``result.json`` and end this process."""
    status = UNWRITTEN
    try:
        processes.die_with_parent(running.pid)
        os.setpgid(0, 0)
        _into_files(directory)
        _speak_to_children(request, running)
        log_engine(Path(request.folder), "start", running, os.getpid())
        write_result(_computed(request, directory), directory)
        status = os.EX_OK
    except BaseException:
        traceback.print_exc()
    finally:
        # Whatever a full disk does to the last words, nothing may run on from here.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def crashed(request: Request, error: BaseException) -> Result:
    """Return the result of an engine that raised what nobody foresaw."""
    words = "".join(traceback.format_exception_only(error)).strip()
    failure = Failure(FailureKind.PHYSICS, "engine-crashed", words)
    return Result(request.calculation, request.attempt, converged=False, failure=failure)


def _computed(request: Request, directory: Path) -> Result:
    try:
        return compute(request, directory)
    except OSError:
        raise
    except BaseException as error:
        traceback.print_exc()
        return crashed(request, error)


def _into_files(directory: Path) -> None:
    """Have this process and all it starts read nothing and write into the attempt's folder."""
    _reopen(0, Path(os.devnull), os.O_RDONLY)
    _reopen(1, directory / "engine.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _reopen(2, directory / "engine.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _reopen(number: int, path: Path, flags: int) -> None:
    handle = os.open(path, flags, 0o666)
    os.dup2(handle, number)
    os.close(handle)


def _speak_to_children(request: Request, running: Running) -> None:
    os.environ[processes.MARK] = running.mark
    os.environ["OMP_NUM_THREADS"] = str(request.site.get("threads", 1))
