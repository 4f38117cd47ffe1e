"""How an engine's remedies are climbed, whatever code runs: a list of rungs for each reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leadline.tasks.calculation import Failure, FailureKind


def rung(
    ladders: Mapping[str, Sequence[Mapping[str, Any]]], failure: Failure, attempt: int
) -> Mapping[str, Any] | None:
    """Return the rung for an attempt, from 1; None past the last, and for what is no physics."""
    ladder = ladders.get(failure.reason, []) if failure.kind is FailureKind.PHYSICS else []
    return ladder[attempt - 1] if 1 <= attempt <= len(ladder) else None
