"""What a report shows of calculations without an answer, and of what stands beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leadline.tasks.notebook import Notebook
from leadline.tasks.remedies import remedy_words
from leadline.tasks.report.view import FailureView, RemedyView
from leadline.tasks.store.records import Calculation, CalculationState

State = CalculationState
FAILED = (State.FAILED, State.CUT, State.CANCELLED, State.QUARANTINED)


def failure_views(book: Notebook) -> Iterator[FailureView]:
    """Yield what failed of the calculations that were asked for, with its last failure."""
    for each in book.proposals:
        record = book.own_of(each)
        failure = last_failure(record)
        if record is None or failure is None or record.state not in FAILED:
            continue
        yield FailureView(
            structure=each.structure,
            formula=book.structures[each.structure].formula,
            state=str(record.state),
            kind=str(failure["kind"]),
            reason=str(failure["reason"]),
            message=str(failure["message"]),
            attempts=len(record.attempts),
            round=each.round,
        )


def remedy_views(book: Notebook) -> Iterator[RemedyView]:
    """Yield what stands, or could stand, beside each calculation that was set aside."""
    for each in book.proposals:
        own, record, answer = book.own_of(each), book.remedy(each), book.answer_of(each)
        if own is None or own.remedy is None:
            continue
        energy = None if record is None else record.energy
        id_ = own.remedy["calculation"]
        yield RemedyView(
            structure=each.structure,
            formula=book.structures[each.structure].formula,
            original=own.id,
            words=remedy_words(own),
            calculation=id_,
            state="not computed" if record is None else str(record.state),
            energy=None if energy is None else energy / book.structures[each.structure].sites,
            counts=answer is not None and answer.calculation == id_,
        )


def last_failure(record: Calculation | None) -> Mapping[str, str] | None:
    """Return why the last attempt of a calculation gave no answer, as plain values, or None."""
    return record.attempts[-1].failure if record and record.attempts else None
