"""What an attempt left in its folder becomes a record: an answer, or why there is none."""

from __future__ import annotations

from dataclasses import replace

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.compute.guardian import LOST, TERMINATED
from leadline.tasks.errors import RecordTooLargeError
from leadline.tasks.judge import Judge
from leadline.tasks.store.owner import in_words, is_gone
from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import Store

TOO_LARGE = "too-large"
"""Reason of an answer that no record can hold."""
LOST_ALONG = frozenset({LOST.reason, TERMINATED.reason})
"""Reasons of an engine that ended with its worker, or as the worker's machine told it to."""
ENDS = {FailureKind.REMOTE: CalculationState.CUT, FailureKind.CANCELLED: CalculationState.CANCELLED}


def lost_with_driver(result: Result, owner: str) -> Result:
    """Return what an attempt left, with the end of its driver as the cause where it is one.

    Workers end with their driver, and their engines with them: they cannot tell why.
    """
    failure = result.failure
    if failure is None or failure.reason not in LOST_ALONG or not is_gone(owner):
        return result
    words = f"its driver, {in_words(owner)}, ended; {failure.message}"
    return replace(result, failure=replace(failure, message=words))


def take_in(
    store: Store, judge: Judge | None, record: Calculation, attempt: int, result: Result
) -> None:
    """Store what an attempt gave: the file stands already, the record follows.

    An answer larger than a record can be is kept in its file alone, and its calculation
    fails: one that no database takes must not stop a campaign.

    Parameters
    ----------
    store, record
        Where, and which calculation.
    judge
        Says what became of a relaxed structure; None where nothing relaxes.
    attempt, result
        Number of the attempt that is claimed, and what came of it; an answer may
        be an earlier attempt's.

    Raises
    ------
    ConflictError
        If another driver recorded the end of that attempt first.
    """
    if not result.complete:
        failure = result.failure or Failure(
            FailureKind.PHYSICS, "unconverged", "the engine ended without converging"
        )
        state = ENDS.get(failure.kind, CalculationState.FAILED)
        store.fail(record.id, attempt, failure, state, result)
        return
    try:
        with store.step():
            # Its structure is related before its answer counts: a server has no transactions.
            asked = store.structure(record.structure)
            if judge and asked and result.structure:
                judge.settle(asked, result.structure)
            store.finish(record.id, attempt, result)
    except RecordTooLargeError as error:
        failure = Failure(FailureKind.PHYSICS, TOO_LARGE, f"its answer stays in its file: {error}")
        store.fail(record.id, attempt, failure, CalculationState.FAILED, result)
