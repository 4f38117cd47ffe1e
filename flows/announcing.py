"""What of a campaign is an event for Prefect, and which of it was told already.

The store's log says what a server has taken, so a driver that was killed leaves to
the next one what it had not told, and nothing is told anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from leadline.flows.events import (
    CANCELLED,
    CLOSED,
    FAILED,
    QUARANTINED,
    RESTING,
    REVIEW,
    STABLE,
    STOPPED,
    Happening,
)
from leadline.tasks.assess import Find
from leadline.tasks.errors import StoreError
from leadline.tasks.failed_attempts import last_failure
from leadline.tasks.report.formatting import formula
from leadline.tasks.store.records import Calculation, CalculationState, Event, Proposal, Round

if TYPE_CHECKING:
    from leadline.flows.courier import Courier
    from leadline.flows.loop import Loop

TOLD = "events.told"
"""Kind of the store's event that says which happenings a server has taken."""
ENDINGS = {
    f"campaign.{each.name.rpartition('.')[2]}": each
    for each in (STOPPED, RESTING, CANCELLED, FAILED)
}
"""By the kind of the store's own event."""


class Announcer:
    """Tells what happens to the campaign of a run, each thing once.

    Parameters
    ----------
    loop
        The run.
    flow_run
        Its id in Prefect.
    report
        Where people find the report.
    """

    def __init__(self, loop: Loop, flow_run: str, report: str) -> None:
        self._loop, self._flow_run, self._report = loop, flow_run, report
        campaign = loop.store.campaign(loop.name)
        self._created = campaign.created if campaign else None
        log = loop.store.events(loop.name)
        told = [each.details["keys"] for each in log if each.kind == TOLD]
        self._told = {key for keys in told for key in keys}
        self._endings = [each for each in log if each.kind in ENDINGS]
        self._last = log[-1] if log else None

    def told(self, keys: Sequence[str]) -> None:
        """Remember what a server has taken; without the store it may be told again."""
        with suppress(StoreError):
            self._loop.store.log(self._loop.name, TOLD, self._loop.name, {"keys": list(keys)})

    def tell(self, happening: Happening, courier: Courier) -> None:
        """Have something told, unless it was."""
        if happening.key in self._told:
            return
        self._told.add(happening.key)
        courier.tell(
            happening.key, happening.message(self._loop.name, self._created, self._flow_run)
        )

    def catch_up(self, courier: Courier) -> None:
        """Have told what earlier runs knew of, and could not tell."""
        loop = self._loop
        for record in loop.book.calculations.values():
            if record.state is CalculationState.QUARANTINED:
                self.tell(self.quarantined(record), courier)
        for each in loop.rounds.values():
            if each.state == "assessed":
                self.tell(closed(each), courier)
        self.tell_finds(courier)
        self.tell_endings(courier)

    def tell_finds(self, courier: Courier) -> None:
        """Have told what was found by calculating; what was known before is no discovery."""
        finds, book = self._loop.assessment.finds, self._loop.book
        new = [each for each in finds if f"{STABLE.name}:{each.answer.phase}" not in self._told]
        nth = book.nth() if new else {}
        for find in new:
            if find.answer.structure in nth:
                self.tell(_found(find, nth[find.answer.structure]), courier)

    def tell_endings(self, courier: Courier) -> None:
        """Have told how runs ended, this one included, if it has."""
        new = self._loop.store.events(self._loop.name, after=self._last)
        for event in [*self._endings, *(each for each in new if each.kind in ENDINGS)]:
            self.tell(self._ended(event), courier)

    def quarantined(self, record: Calculation) -> Happening:
        """Return that a calculation was given up; one more attempt may end so again."""
        asked = self._loop.book.structures[record.structure]
        failure = last_failure(record)
        return Happening(
            QUARANTINED,
            subject=record.id,
            title=formula(asked.formula),
            payload={
                "formula": asked.formula,
                "structure": asked.id,
                "calculation": record.id,
                "kind": str(failure.kind) if failure else "",
                "reason": failure.reason if failure else "",
                "message": failure.message if failure else "",
                "attempts": len(record.attempts),
            },
            turn=str(len(record.attempts)),
        )

    def waiting(self, number: int, picks: Sequence[Proposal], silence: str) -> Happening:
        """Return that picks of a round wait for a person."""
        loop = self._loop
        return Happening(
            REVIEW,
            subject=f"{loop.name}.{number}",
            title=f"{loop.name}, round {number}",
            payload={
                "round": number,
                "picks": [
                    {
                        "rank": each.rank,
                        "formula": loop.formula(each.structure),
                        "structure": each.structure,
                        "why": each.why["words"],
                    }
                    for each in picks
                ],
                "silence": silence,
            },
        )

    def _ended(self, event: Event) -> Happening:
        loop = self._loop
        return Happening(
            ENDINGS[event.kind],
            subject=loop.name,
            title=loop.name,
            payload={
                "reason": str(event.details["reason"]),
                "computed": loop.book.count(CalculationState.DONE),
                "pool": len(loop.bench.pool),
                "quarantined": loop.book.count(CalculationState.QUARANTINED),
                "found": [find.answer.formula for find in loop.assessment.finds],
                "report": self._report,
            },
            turn=event.time.isoformat(),
            occurred=event.time,
        )


def closed(round_: Round) -> Happening:
    """Return that a round was closed."""
    counts = ("ended", "done", "quarantined", "found")
    return Happening(
        CLOSED,
        subject=f"{round_.campaign}.{round_.number}",
        title=f"{round_.campaign}, round {round_.number}",
        payload={
            "round": round_.number,
            **{name: round_.counts[name] for name in counts},
            "expected_missed": round_.metrics.get("expected_missed"),
        },
    )


def _found(find: Find, nth: int) -> Happening:
    answer = find.answer
    return Happening(
        STABLE,
        subject=answer.phase,
        title=formula(answer.formula),
        payload={
            "formula": answer.formula,
            "structure": answer.structure,
            "space_group": answer.space_group,
            "value": find.value,
            "energy_above_hull": find.energy_above_hull,
            "calculation": nth,
        },
    )
