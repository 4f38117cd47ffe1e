"""What an engine leaves: why it failed, and what it wrote for itself alone."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from pathlib import Path

from leadline.surrogate.errors import LeadlineError
from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.engine import Engine
from leadline.tasks.errors import CandidateError


def failure_of(chosen: Engine | None, error: Exception, raw: Path) -> Failure:
    """Say why a calculation in ``raw`` raised; ``chosen`` is None where no engine was set up."""
    if isinstance(error, CandidateError):
        return Failure(FailureKind.PHYSICS, "bad-structure", str(error))
    if isinstance(error, LeadlineError):
        return Failure(FailureKind.CONFIGURATION, "settings", str(error))
    if isinstance(error, MemoryError):
        return Failure(FailureKind.REMOTE, "out-of-memory", "the process ran out of memory")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(FailureKind.REMOTE, "disk-full", f"cannot write {error.filename}: {error}")
    if chosen is None:
        return Failure(FailureKind.CONFIGURATION, "settings", f"{type(error).__name__}: {error}")
    return chosen.classify(error, raw)


def remove_scratch(chosen: Engine, raw: Path) -> None:
    """Remove what an engine wrote for itself alone; a link goes, and what it leads to stays."""
    for name in chosen.scratch:
        with suppress(OSError):
            (raw / name).unlink()
        shutil.rmtree(raw / name, ignore_errors=True)
