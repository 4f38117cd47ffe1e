"""From a proposal to a record: claim, dispatch, take in the answer, decide what is next.

Every re-run is a decision taken here and a stored attempt; Dask and Prefect never
retry a calculation. Remote trouble runs again as it was. Physics trouble climbs the
engine's remedies, a relaxation that ran out of steps goes on once, and what a cheap
engine had led astray begins once more at the structure itself; then the structure is
quarantined and teaches the model that it fails. A remedy that changes the physics is no
attempt: it is named with the quarantine, as the calculation that it would be.
Configuration trouble stops the campaign with the engine's own words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from leadline.tasks.calculation import Failure, FailureKind, Request
from leadline.tasks.compute.attempt import STALL_SECONDS, Standing, State, Watch, give_up, take_over
from leadline.tasks.compute.attempt_files import calculation_folder, turns
from leadline.tasks.compute.dispatcher import (
    NOT_STARTED,
    Dispatch,
    see_to_end,
    sign_off_by_word,
)
from leadline.tasks.compute.estimates import Estimates
from leadline.tasks.compute.job_dispatcher import DetachedError
from leadline.tasks.compute.right_sizing import Need, RightSizing, more_in_words, need_of
from leadline.tasks.engines.compute import cores_of
from leadline.tasks.engines.engine import Engine
from leadline.tasks.errors import ConfigurationError, ConflictError, StoreError
from leadline.tasks.failed_attempts import (
    again_words,
    last_failure,
    lost_in_a_row,
    never_starts,
    remediable_failures,
    times_failed_by,
    whereabouts,
)
from leadline.tasks.fresh_start import begun_afresh, engine_changes, fresh_start
from leadline.tasks.judge import Judge
from leadline.tasks.needs import Sizes, measured
from leadline.tasks.plausible import plausible_energies
from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.recipes.relax import NOT_RELAXED
from leadline.tasks.remedies import Use, named_remedy, remedy_words
from leadline.tasks.store.owner import in_words, is_gone
from leadline.tasks.store.records import Attempt, Calculation, CalculationState
from leadline.tasks.store.store import Store
from leadline.tasks.taking_in import lost_with_driver, take_in
from leadline.tasks.writing import check_room, explained_writing

MOVES_POLL = 0.5
"""Seconds between two looks at a calculation that another driver has claimed."""


@dataclass(frozen=True)
class Outcome:
    """How one calculation stands when this driver lets go of it.

    ``waiting`` says why it could not be settled: nothing proves that its last
    attempt is gone, and a person must say so.
    """

    calculation: Calculation
    waiting: str = ""
    detached: bool = False
    """Whether it goes on without this driver, as a batch job; ``waiting`` says which."""

    @property
    def state(self) -> CalculationState:
        """State of the record."""
        return self.calculation.state

    @property
    def failure(self) -> Failure | None:
        """Why there is no answer, or None."""
        return None if self.state is CalculationState.DONE else last_failure(self.calculation)


@dataclass(frozen=True)
class Desk:
    """What carries calculations through: one for each run of a driver.

    Parameters
    ----------
    store, dispatcher, engine, recipe
        Where records are kept, what reaches workers, what computes.
    root
        Folder of all calculations, on a disk that driver and workers share.
    owner, campaign
        Who we are, for the claims, and whose log the events go to.
    cuts
        Losses in a row before a calculation waits for a person.
    time_limit
        Seconds that one engine may take, or None.
    keep
        Which raw files stay: ``all``, ``failed`` or ``none``.
    judge
        Says what became of a relaxed structure; None where nothing relaxes.
    remedies
        What is done with remedies of the physics: what relaxes apart is no phase.
    elements
        Energies of the elements that this engine gave so far, eV/atom.
    estimates
        What calculations take, from those that have ended.
    rules
        How the requests of batch jobs follow them.
    prerelaxer
        The cheap engine that the recipe relaxes with first, if it does.
    say
        Told what a person may want to know before a calculation ends.
    """

    store: Store
    dispatcher: Dispatch
    engine: Engine
    recipe: Recipe
    root: Path
    owner: str
    campaign: str
    cuts: int = 3
    time_limit: float | None = None
    keep: str = "failed"
    judge: Judge | None = None
    remedies: Use = "never"
    elements: dict[str, float] = field(default_factory=dict)
    estimates: Estimates = field(default_factory=Estimates)
    rules: RightSizing = field(default_factory=RightSizing)
    prerelaxer: Engine | None = None
    say: Callable[[str], object] = str
    watch: Watch = field(default_factory=Watch)

    @cached_property
    def sizes(self) -> Sizes:
        """Sizes of cells, as estimates count them."""
        return Sizes(self.engine)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the campaign's own calculations; remedies of the physics have others."""
        return self.engine.fingerprint()

    def carry(self, calculation: str, cancelled: Callable[[], bool]) -> Outcome:
        """Carry one calculation to an end, through as many attempts as it takes.

        Raises
        ------
        ConfigurationError
            If the engine is set up wrong; the campaign must stop.
        WriteError
            If the folder of calculations takes no more files; the campaign must rest.
        """
        begun = self._stored(calculation)
        while True:
            record, waiting = self._stored(calculation), ""
            if record.state in (CalculationState.DONE, CalculationState.QUARANTINED):
                if begun.state is not record.state:
                    self._learn_from(record)
                return Outcome(record)
            # Who shares the calculation may be first at any step: then its word stands.
            try:
                waiting = self._advance(record, cancelled)
            except ConflictError:
                pass
            except DetachedError as leaving:
                return Outcome(self._stored(calculation), str(leaving), detached=True)
            record = self._stored(calculation)
            waiting = waiting or never_starts(record.attempts[len(begun.attempts) :], self.cuts)
            if waiting or cancelled():
                return Outcome(record, waiting)
            with suppress(ConflictError):
                self._decide(record)

    def _advance(self, record: Calculation, cancelled: Callable[[], bool]) -> str:
        """Do what comes next for a calculation; return why, if nothing can be done."""
        if record.state in (CalculationState.CLAIMED, CalculationState.RUNNING):
            return self._reattach(record, cancelled)
        return self._attempt(record, cancelled)

    def folder(self, calculation: str) -> Path:
        """Return the folder of a calculation: the same for every campaign."""
        return calculation_folder(self.root, calculation)

    def _folder_of(self, record: Calculation) -> Path:
        """Return where the last attempt was to run: a driver elsewhere may have another folder."""
        folder = record.attempts[-1].where.get("folder") if record.attempts else None
        return Path(folder) if folder else self.folder(record.id)

    def _stored(self, calculation: str) -> Calculation:
        record = self.store.calculation(calculation)
        if record is None:
            raise StoreError(f"there is no calculation {calculation}; it must be queued first")
        return record

    def _attempt(self, record: Calculation, cancelled: Callable[[], bool]) -> str:
        folder, before = self.folder(record.id), self._folder_of(record)
        standing = self._settled(folder, cancelled)
        last = standing if before == folder else self._settled(before, cancelled)
        for each in (last, standing):
            if each.state in (State.ALIVE, State.UNKNOWN):
                return each.why
        if record.state is not CalculationState.QUEUED:
            self.store.requeue(record.id)
        changes, reason = self._next(record)
        where = {"folder": str(folder)}
        attempt = self.store.claim(
            record.id, self.owner, changes, reason, campaign=self.campaign, where=where
        )
        if attempt is None:
            moved = self._moves(self._stored(record.id), cancelled)
            return "" if moved else "another driver has claimed it"
        if last.result is not None and last.result.complete:
            take_in(self.store, self._judge_of(record), record, attempt.number, last.result)
            return ""
        request = self._request(record, attempt, standing)
        need = self._need(request.structure, record.attempts)
        with self.dispatcher.run(request, cancelled, need=need) as result:
            take_in(self.store, self._judge_of(record), record, attempt.number, result)
        return ""

    def expects(self, record: Calculation | None) -> float:
        """Return the seconds that a calculation may take, or the usual one; 0 if unknown."""
        structure = self.store.structure(record.structure) if record else None
        if record is not None and structure is not None:
            return self._need(structure.structure, record.attempts).seconds
        cores = cores_of(self.engine.site.model_dump())
        cell = self.estimates.usual_size(cores)
        return need_of(self.rules, self.estimates, cell, cores).seconds

    def seconds(self, structure: Mapping[str, Any]) -> float:
        """Return the seconds that nine of ten calculations like one take no more than, or 0."""
        return self._need(structure).predicted.get("seconds", 0.0)

    def _need(self, structure: Mapping[str, Any], attempts: Sequence[Attempt] = ()) -> Need:
        cell, cores = self.sizes.of(structure), self._cores(structure)
        return need_of(self.rules, self.estimates, cell, cores, attempts)

    def _cores(self, structure: Mapping[str, Any]) -> int:
        site = self.dispatcher.site_for(self.engine.name, len(structure["species"]))
        return cores_of((site or self.engine.site).model_dump())

    def _learn_from(self, record: Calculation) -> None:
        """Take in what a calculation took that has ended; what was set aside took nothing."""
        structure = self.store.structure(record.structure)
        found = measured(record, self.sizes.of(structure.structure)) if structure else None
        if found is not None and record.state is CalculationState.DONE:
            self.estimates.note(found)

    def _settled(self, folder: Path, cancelled: Callable[[], bool]) -> Standing:
        """Look once whatever may be alive has ended; it is left to finish."""
        standing = take_over(folder, self.watch)
        if standing.running is not None:
            see_to_end(folder, standing.running.attempt, cancelled)
            standing = take_over(folder, self.watch)
        last = standing.running
        if standing.state is State.UNKNOWN and last and self.dispatcher.proves_gone(last):
            words = f"its batch job {last.job} is over"
            sign_off_by_word(folder, last.attempt, self.watch, words, cancelled)
            standing = take_over(folder, self.watch)
        return standing

    def _request(self, record: Calculation, attempt: Attempt, standing: Standing) -> Request:
        structure = self.store.structure(record.structure)
        if structure is None:
            raise StoreError(f"there is no structure {record.structure} of {record.id}")
        folder = self.folder(record.id)
        with explained_writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        engine = {"changes": engine_changes(attempt), "fingerprint": record.fingerprint}
        return Request(
            calculation=record.id,
            attempt=attempt.number,
            structure_id=record.structure,
            structure=structure.structure,
            engine={**record.engine, **engine},
            recipe=record.recipe,
            site=self.engine.site.model_dump(mode="json"),
            folder=str(folder),
            gone=standing.gone,
            since=begun_afresh((*record.attempts, attempt)),
            expected=plausible_energies(structure.formula, self.elements),
            time_limit=self.time_limit,
            keep=self.keep,
            prerelax_site=self.prerelaxer.site.model_dump(mode="json") if self.prerelaxer else {},
        )

    def _reattach(self, record: Calculation, cancelled: Callable[[], bool]) -> str:
        """Take in what an earlier driver started; return why, if nothing can be told yet."""
        folder, attempt = self._folder_of(record), record.attempts[-1]
        with self.dispatcher.resume(record.id, folder, attempt.number, cancelled) as result:
            if result is not None:
                take_in(self.store, self._judge_of(record), record, attempt.number, result)
                return ""
        standing = self._settled(folder, cancelled)
        if standing.state in (State.ALIVE, State.UNKNOWN):
            return standing.why
        left = standing.result and lost_with_driver(standing.result, attempt.owner)
        if left is not None and (left.complete or left.attempt == attempt.number):
            take_in(self.store, self._judge_of(record), record, attempt.number, left)
            return ""
        started = attempt.number in standing.attempts
        if not started and not self._is_dropped(attempt):
            by = in_words(attempt.owner)
            words = f"attempt {attempt.number} was claimed by {by} and has not started"
            return "" if self._moves(record, cancelled) else words
        if not started:
            give_up(folder, attempt.number)
        reason = "driver-lost" if started else NOT_STARTED
        lost = Failure(FailureKind.REMOTE, reason, f"its driver ended: {standing.why}")
        self.store.fail(record.id, attempt.number, lost, CalculationState.CUT)
        return ""

    def _moves(self, record: Calculation, cancelled: Callable[[], bool]) -> bool:
        """Wait while another driver works on a calculation; False if it seems to do nothing.

        A driver that beats has time; one that does not, as long as an engine has.
        """
        before, beat = (record.state, len(record.attempts)), None
        patience = time.monotonic() + STALL_SECONDS
        while not cancelled() and time.monotonic() < patience:
            time.sleep(MOVES_POLL)
            now = self._stored(record.id)
            ran = any(each.attempt == len(now.attempts) for each in turns(self.folder(record.id)))
            if (now.state, len(now.attempts)) != before or ran:
                return True
            driven = self.store.campaign(now.campaign)
            if driven is not None and driven.heartbeat != beat:
                beat, patience = driven.heartbeat, time.monotonic() + STALL_SECONDS
        return False

    def _is_dropped(self, attempt: Attempt) -> bool:
        """Tell whether a claimed attempt that did not start can no longer do so."""
        return attempt.owner == self.owner or is_gone(attempt.owner)

    def _next(self, record: Calculation) -> tuple[dict[str, Any], str]:
        """Return what the next attempt changes, and why there is one."""
        failure = last_failure(record)
        if failure is None:
            return {}, "first attempt"
        changed = dict(record.attempts[-1].changes)
        if failure.kind is not FailureKind.PHYSICS:
            more = more_in_words(record.attempts[-1])
            return changed, more or f"again as it was, after {failure.reason}"
        remedy = self._remedy(record, failure)
        how = "changed" if remedy else "continued"
        return {**changed, **(remedy or {})}, f"{how}, after {failure.reason}"

    def _remedy(self, record: Calculation, failure: Failure) -> Mapping[str, Any] | None:
        """Return what to change after trouble of physics, or None to give up.

        Whatever the engine, a relaxation that ran out of steps goes on once.
        """
        if failure.reason == NOT_RELAXED:
            return {} if times_failed_by(record, NOT_RELAXED) == 1 else None
        rung = self._engine_of(record).remedies(failure, remediable_failures(record))
        return fresh_start(record) if rung is None else rung

    def _engine_of(self, record: Calculation) -> Engine:
        """Return the campaign's engine, with a remedy's own settings where the record is one."""
        if record.fingerprint == self.fingerprint:
            return self.engine
        return type(self.engine)(record.engine["settings"], self.engine.site)

    def _judge_of(self, record: Calculation) -> Judge | None:
        """Return what knows the phases; None for a structure that is to be none of them."""
        counts = self.remedies == "together" or record.fingerprint == self.fingerprint
        return self.judge if counts else None

    def _decide(self, record: Calculation) -> None:
        """Quarantine where another attempt makes no sense; stop on wrong settings."""
        failure = None if record.state is CalculationState.DONE else last_failure(record)
        if failure is None:
            return
        if failure.kind is FailureKind.CONFIGURATION and record.fingerprint == self.fingerprint:
            raise ConfigurationError(f"{failure.reason}: {failure.message}; {whereabouts(record)}")
        # On a full disk all that is tried fails, and no structure is to blame.
        check_room(self.root)
        if failure.kind is FailureKind.REMOTE and lost_in_a_row(record) >= self.cuts:
            reason = f"remote: cut {self.cuts} times in a row, last by {failure.reason}"
            self.store.quarantine(record.id, reason)
        elif failure.kind is FailureKind.REMOTE:
            self.say(again_words(record, self.store.structure(record.structure)))
        if failure.kind is FailureKind.CONFIGURATION:  # a remedy's settings are not the user's
            self._set_aside(record, failure, None)
        if failure.kind is FailureKind.PHYSICS and self._remedy(record, failure) is None:
            named = named_remedy(self._engine_of(record), self.recipe, record, failure)
            self._set_aside(record, failure, named)

    def _set_aside(
        self, record: Calculation, failure: Failure, named: Mapping[str, Any] | None
    ) -> None:
        """Quarantine a calculation, with the remedy of its physics that the engine names."""
        reason = f"{failure.kind}: {failure.reason}: {failure.message}"
        if named is not None:
            words = remedy_words(replace(record, remedy=named))
            reason += f"; another calculation may converge, with {words}"
        self.store.quarantine(record.id, reason, named)
