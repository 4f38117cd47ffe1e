"""Whether the kernel killed an engine because there was no more memory for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from leadline.tasks.calculation import Failure, FailureKind

COUNTS = Path("/proc/vmstat")
"""Where Linux counts the processes that it killed for memory, in whatever group they were."""
MAY_BE = frozenset({"engine-crashed", "engine-exit", "engine-killed", "killed"})
"""Reasons of failures behind which that may stand: a launcher of MPI says what it likes."""


def kills() -> int:
    """Return how many processes this host has killed for memory since it started."""
    try:
        found = re.search(r"^oom_kill (\d+)$", COUNTS.read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, ValueError):
        return 0
    return int(found[1]) if found else 0


def explained(failure: Failure, since: int) -> Failure:
    """Return a failure with the kernel's word, if it killed for memory since it counted so many.

    On a node that others share it may have been theirs: then the next attempt merely asks
    for more than it needs.
    """
    if failure.reason not in MAY_BE or kills() <= since:
        return failure
    words = f"the kernel killed a process for want of memory; {failure.message}"
    return replace(failure, kind=FailureKind.REMOTE, reason="out-of-memory", message=words)
