"""Calculations: claimed by one, changed by compare-and-set, each change an event.

queued → claimed → running → done | failed | cut | cancelled
   ^                              failed | cut | cancelled → quarantined
   ├────────────────────────────── failed | cut | cancelled       |
   └────────── a person says so ──────────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mongoengine.errors import NotUniqueError

from leadline.tasks.calculation import Failure, Result
from leadline.tasks.errors import ConflictError, StoreError
from leadline.tasks.store.base import StoreBase, event_id, now
from leadline.tasks.store.owner import is_gone
from leadline.tasks.store.records import Attempt, Calculation, CalculationState, Event

State = CalculationState
_STARTED = (State.CLAIMED, State.RUNNING)
_ENDED = (State.FAILED, State.CUT, State.CANCELLED)
_ORPHAN = timedelta(seconds=60)
"""Age at which a lease without its claim is left over from a dead driver."""


class CalculationRecords(StoreBase):
    """The calculations of a store, shared by its campaigns."""

    def ensure_calculations(self, calculations: Sequence[Calculation]) -> list[Calculation]:
        """Store those that are not there yet, and return all as they are stored.

        One that another campaign asked for earlier comes back as it stands, done perhaps.
        """
        with self.step():
            known = self.calculations(each.id for each in calculations)
            for each in calculations:
                if each.id not in known:
                    self._queue(each)
            found = self.calculations(each.id for each in calculations)
        return [found[each.id] for each in calculations]

    def calculation(self, id: str) -> Calculation | None:
        """Return a calculation, or None."""
        return self._one(self._documents.calculations, Calculation, id)

    def calculations(self, ids: Iterable[str]) -> dict[str, Calculation]:
        """Return by id those of the calculations that are there."""
        query = {"pk__in": list(ids)}
        found = self._find(self._documents.calculations, Calculation, **query)
        return {each.id: each for each in found}

    def by_state(self, *states: CalculationState) -> list[Calculation]:
        """Return the calculations of the whole store that are in one of the states."""
        find = self._find
        return [
            each
            for state in states
            for each in find(self._documents.calculations, Calculation, state=state)
        ]

    def finished_with(
        self, fingerprint: str, recipe: Mapping[str, Any], most: int
    ) -> list[Calculation]:
        """Return calculations of one engine and recipe that are done, ``most`` of them at most.

        Those whose ids come first: ids are hashes, so that is a sample.
        """
        query = {"state": State.DONE, "fingerprint": fingerprint, "recipe": recipe}
        return self._first(self._documents.calculations, Calculation, most, query)

    def calculations_of(self, structure: str) -> list[Calculation]:
        """Return the calculations of a structure, by whatever engine."""
        return self._find(self._documents.calculations, Calculation, structure=structure)

    def claim(
        self,
        id: str,
        owner: str,
        changes: Mapping[str, Any] | None = None,
        reason: str = "",
        *,
        campaign: str = "",
        where: Mapping[str, Any] | None = None,
    ) -> Attempt | None:
        """Take a queued calculation for oneself: the next attempt, or None if another has it.

        Parameters
        ----------
        id, owner
            Which one, and who asks (``owner.this_process``).
        changes, reason
            Path keys to set for this attempt, and why it is made.
        campaign
            Whose log the events go to.
        where
            What is known of the place before the engine runs: its folder.
        """
        with self.step():
            found = self._calculation(id)
            number = len(found.attempts) + 1
            if found.state is not State.QUEUED or not self._lease(f"{id}:{number}", owner):
                return None
            attempt = Attempt(number, changes or {}, reason, owner, where or {})
            campaign = campaign or found.campaign
            fields = {
                "state": State.CLAIMED,
                "attempts": (*found.attempts, attempt),
                "tries": number,
                "campaign": campaign,
            }
            details = {"attempt": number, "owner": owner, "reason": reason}
            if not self._swap(replace(found, campaign=campaign), fields, details):
                return None
        return attempt

    def start(self, id: str, attempt: int, where: Mapping[str, Any]) -> None:
        """Say that the engine of an attempt runs, and where (host, pid, job)."""
        changes = {"where": where, "started": now()}
        self._change(id, attempt, (State.CLAIMED,), State.RUNNING, changes, {})

    def finish(self, id: str, attempt: int, result: Result) -> None:
        """Store an answer.

        Raises
        ------
        StoreError
            If the result is no answer: not converged, without numbers, or one that is not finite.
        ConflictError
            If the attempt is not the one that is claimed or running.
        """
        if not result.complete:
            raise StoreError(f"the result of calculation {id} is no answer; record it as a failure")
        changes = _of_attempt(result)
        fields = {
            "energy": result.energy,
            "final_structure": result.structure,
            "forces": result.forces,
            "stress": result.stress,
            "properties": result.properties,
            "moments": result.moments,
            "steps": result.steps,
            "times": result.times,
            "used": result.used,
            "versions": result.versions,
            "failure": None,
        }
        self._change(id, attempt, _STARTED, State.DONE, changes, fields)

    def fail(
        self,
        id: str,
        attempt: int,
        failure: Failure,
        state: CalculationState,
        result: Result | None = None,
    ) -> None:
        """Store why an attempt gave no answer; the state is ``failed``, ``cut`` or ``cancelled``.

        ``result`` is what it left: what it used up to its end is on record too.

        Raises
        ------
        ConflictError
            If the attempt is not the one that is claimed or running.
        """
        if state not in _ENDED:
            raise StoreError(f"an attempt does not fail as {state}; allowed: {_or(_ENDED)}")
        why = failure.to_plain()
        changes = {**_of_attempt(result), "failure": why}
        self._change(id, attempt, _STARTED, state, changes, {"failure": why})

    def requeue(self, id: str) -> None:
        """Put a calculation that failed, was cut or cancelled into the queue again."""
        self._move(id, State.QUEUED, {})

    def quarantine(self, id: str, reason: str, remedy: Mapping[str, Any] | None = None) -> None:
        """Set a calculation that failed, was cut or cancelled aside for a person.

        Parameters
        ----------
        id, reason
            Which one, and why, for the log.
        remedy
            The calculation with changed physics that its engine names, if it does.
        """
        # What an earlier quarantine named stays: its calculation may have an answer.
        named = {} if remedy is None else {"remedy": remedy}
        self._move(id, State.QUARANTINED, {"reason": reason}, named)

    def retry(self, id: str, by: str, why: str) -> None:
        """Put a quarantined calculation into the queue again, because a person says so.

        Parameters
        ----------
        id
            Which one.
        by, why
            Who said so, and why, for the log.

        Raises
        ------
        ConflictError
            If it is not in quarantine.
        """
        with self.step():
            found = self._calculation(id)
            set_aside = (State.QUARANTINED,)
            said = {"by": by, "why": why}
            if found.state not in set_aside or not self._swap(found, {"state": State.QUEUED}, said):
                number = len(found.attempts)
                raise ConflictError(_conflict(found, number, set_aside, State.QUEUED))

    def log_again(self, ids: Iterable[str]) -> None:
        """Log the last change of calculations where a driver died before it did.

        A server has no transactions, so each record holds the event of its last change.
        """
        if self._connection.atomic:
            return
        last = [told_event(each) for each in self.calculations(ids).values() if each.told]
        keys = [event_id(each) for each in last]
        known = {event_id(e) for e in self._find(self._documents.events, Event, pk__in=keys)}
        for event in last:
            if event_id(event) not in known:
                self._append(event)

    def _queue(self, calculation: Calculation) -> None:
        link = {"remedy_of": calculation.remedy_of} if calculation.remedy_of else {}
        event = self._event(calculation.campaign, "calculation.queued", calculation.id, link)
        try:
            self._insert(self._documents.calculations, replace(calculation, told=_told(event)))
        except NotUniqueError:  # another process, or twice in one list
            return
        self._append(event)

    def _lease(self, key: str, owner: str) -> bool:
        """Insert the lease of an attempt, which is the claim; take over one left by the dead.

        A server has no transactions: a driver may die between its lease and its
        claim. The compare-and-set after this decides, so a take-over is safe.
        """
        leases = self._documents.leases
        try:
            self._save(leases(id=key, owner=owner, since=now()))
        except NotUniqueError:
            held = self._connection.patiently(lambda _: leases.objects(pk=key).first())
            if held is None or not _left_over(held, owner):
                return False
            query = {"pk": key, "owner": held.owner}
            return self._set(leases, query, {"owner": owner, "since": now()})
        return True

    def _change(
        self,
        id: str,
        attempt: int,
        before: tuple[CalculationState, ...],
        after: CalculationState,
        changes: Mapping[str, Any],
        fields: Mapping[str, Any],
    ) -> None:
        """Move the last attempt and its calculation from one state to another."""
        with self.step():
            found = self._calculation(id)
            if found.state not in before or len(found.attempts) != attempt:
                raise ConflictError(_conflict(found, attempt, before, after))
            before_it = found.attempts[-1]
            where = {**before_it.where, **changes.get("where", {})}
            last = replace(before_it, state=str(after), **{**changes, "where": where})
            fields = {"state": after, "attempts": (*found.attempts[:-1], last), **fields}
            details = {"attempt": attempt, "failure": last.failure, "where": last.where}
            if not self._swap(found, fields, details):
                raise ConflictError(_conflict(self._calculation(id), attempt, before, after))

    def _move(
        self,
        id: str,
        after: CalculationState,
        details: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        changes = {"state": after, **(fields or {})}
        with self.step():
            found = self._calculation(id)
            if found.state not in _ENDED or not self._swap(found, changes, details):
                raise ConflictError(_conflict(found, len(found.attempts), _ENDED, after))

    def _swap(
        self, found: Calculation, fields: Mapping[str, Any], details: Mapping[str, Any]
    ) -> bool:
        """Change a calculation that is still as it was found, and log its new state."""
        event = self._event(found.campaign, f"calculation.{fields['state']}", found.id, details)
        query = {"pk": found.id, "state": found.state, "tries": len(found.attempts)}
        told = {"told": _told(event)}
        if not self._set(self._documents.calculations, query, {**fields, **told}):
            return False
        self._append(event)
        return True

    def _calculation(self, id: str) -> Calculation:
        found = self.calculation(id)
        if found is None:
            raise StoreError(
                f"there is no calculation {id} in {self._connection.location}; queue it first"
            )
        return found


def _of_attempt(result: Result | None) -> dict[str, Any]:
    """Return what the record of an attempt keeps of its result."""
    if result is None:
        return {"ended": now()}
    return {
        "ended": now(),
        "times": result.times,
        "continued_from": result.continued_from,
        "prerelaxed": result.prerelaxed,
        "asked": result.asked,
        "used": result.used,
        "where": result.where,
    }


def _told(event: Event) -> dict[str, Any]:
    """Return an event as the record of its calculation holds it."""
    return {**asdict(event), "time": event.time.timestamp()}


def told_event(record: Calculation) -> Event:
    """Return the event of a calculation's last change."""
    told = dict(record.told or {})
    return Event(**{**told, "time": datetime.fromtimestamp(told["time"], UTC)})


def _left_over(lease: Any, owner: str) -> bool:
    return lease.owner == owner or is_gone(lease.owner) or now() - lease.since > _ORPHAN


def _conflict(
    found: Calculation,
    attempt: int,
    before: tuple[CalculationState, ...],
    after: CalculationState,
) -> str:
    return (
        f"calculation {found.id} is {found.state} in attempt {len(found.attempts)}; attempt "
        f"{attempt} can become {after} only where it is {_or(before)}. Another driver may have it: "
        "read it again"
    )


def _or(states: Iterable[CalculationState]) -> str:
    return " or ".join(states)
