"""What the attempts at a calculation say of its failures: how many there were, and of what kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.compute.attempt_files import attempt_folder
from leadline.tasks.compute.dispatcher import IDLE
from leadline.tasks.compute.right_sizing import is_own_doing
from leadline.tasks.recipes.relax import NOT_RELAXED
from leadline.tasks.store.records import Attempt, Calculation, StructureRecord


def last_failure(record: Calculation) -> Failure | None:
    """Return why the last attempt gave no answer, or None."""
    plain = record.attempts[-1].failure if record.attempts else None
    return None if plain is None else Failure.from_plain(plain)


def whereabouts(record: Calculation) -> str:
    """Return which calculation it is and where its last attempt left its files, in words."""
    words = f"calculation {record.id[:12]}"
    folder = record.attempts[-1].where.get("folder") if record.attempts else None
    if folder is None:
        return words
    return f"{words}, files in {attempt_folder(Path(folder), len(record.attempts))}"


def again_words(record: Calculation, structure: StructureRecord | None) -> str:
    """Return what was lost, that it runs again, and why, in words."""
    failure, formula = last_failure(record), structure.formula if structure else "calculation"
    again = f"runs again, as attempt {len(record.attempts) + 1}"
    return f"{formula} {record.id[:12]} {again}: {failure.message if failure else ''}"


def remediable_failures(record: Calculation) -> int:
    """Return how many attempts ended in physics trouble that is the engine's to remedy."""
    physics = sum(_kind(attempt) == FailureKind.PHYSICS for attempt in record.attempts)
    return physics - times_failed_by(record, NOT_RELAXED)


def times_failed_by(record: Calculation, reason: str) -> int:
    """Return how many attempts failed for a reason."""
    failures = (attempt.failure for attempt in record.attempts if attempt.failure)
    return sum(failure["reason"] == reason for failure in failures)


def lost_in_a_row(record: Calculation) -> int:
    """Return how many engines in a row were lost; where none started, none was.

    Nor was one that a request of ours gave too little: its next attempt asks for more.
    """
    lost = 0
    for attempt in reversed(record.attempts):
        if _kind(attempt) != FailureKind.REMOTE:
            break
        idle = attempt.failure is not None and attempt.failure["reason"] in IDLE
        lost += not (idle or is_own_doing(attempt))
    return lost


def never_starts(attempts: Sequence[Attempt], cuts: int) -> str:
    """Say why no further attempt makes sense in this run where the last ones never started."""
    last = [each.failure for each in attempts[-cuts:]]
    if len(last) < cuts or any(not each or each["reason"] not in IDLE for each in last):
        return ""
    return (
        f"{cuts} attempts in a row came to nothing before an engine started; look at the "
        f"workers, the next run tries again. Last: {last[-1]['message'] if last[-1] else ''}"
    )


def _kind(attempt: Attempt) -> str | None:
    return attempt.failure["kind"] if attempt.failure else None
