"""`leadline check`: can a campaign run, before the first node-hour is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from leadline.flows.bench import Parts, parts_of
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_changes import refuse_mixing
from leadline.flows.store_of import open_for, store_folder
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.calculate import Desk, last_failure
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.compute.cluster import Cluster, check_shared_folder, open_cluster
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.recording import calculation_of, structure_record
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import CalculationState
from leadline.tasks.store.store import Store

Say = Callable[[str], None]


@dataclass
class _Report:
    """Says each finding as it is made, and whether all of it was good."""

    say: Say
    good: bool = True

    def fine(self, what: str, words: str) -> None:
        self.say(f"  ok    {what:<11} {words}")

    def hint(self, what: str, words: str) -> None:
        self.say(f"  note  {what:<11} {words}")

    def bad(self, what: str, error: LeadlineError) -> None:
        self.good = False
        self.say(f"  FAIL  {what:<11} {error}")


def check_campaign(spec: CampaignSpec, *, try_one: bool, say: Say) -> bool:
    """Check everything that a campaign needs and say what was found.

    Returns
    -------
    bool
        True if it can run; what fails is said with what to do about it.
    """
    report = _Report(say)
    say(f"Campaign {spec.name}")
    report.fine("file", "every key is known and every value allowed")
    try:
        parts = parts_of(spec)
        report.fine("profile", _profile_words(parts))
    except LeadlineError as error:
        report.bad("profile", error)
        return False
    file = _candidates(report, parts)
    _engine(report, parts, file)
    with suppress(LeadlineError):
        _store_and_cluster(report, parts, file if try_one else None)
    say("It can run." if report.good else "It cannot run yet.")
    return report.good


def _profile_words(parts: Parts) -> str:
    lives = (
        "engines go on when the driver ends"
        if parts.profile.outlives_driver
        else "engines end with the driver and run again with the next run"
    )
    return f"{parts.profile.name}: {parts.profile.cluster.kind} cluster; {lives}"


def _candidates(report: _Report, parts: Parts) -> PoolFile | None:
    try:
        file = parts.built(store_folder())
    except LeadlineError as error:
        report.bad("candidates", error)
        return None
    report.fine("candidates", file.report.words())
    if dropped := sum(file.report.dropped.values()):
        share = f"{dropped} of {dropped + len(file)} structures were dropped"
        report.hint(
            "candidates", f"{share}; the reasons stand above. Are these the ones you meant?"
        )
    budget = parts.spec.stop.calculations
    if budget is not None and budget > len(file):
        report.hint(
            "budget",
            f"stop.calculations is {budget}, the pool holds {len(file)}: the campaign ends when "
            "all are computed",
        )
    return file


def _engine(report: _Report, parts: Parts, file: PoolFile | None) -> None:
    elements = parts.elements | frozenset(file.elements if file else ())
    try:
        notes = parts.engine.check(elements)
        words = f"{parts.spec.engine.name} {parts.engine.version()}, fingerprint "
        report.fine("engine", words + parts.fingerprint[:12])
    except LeadlineError as error:
        report.bad("engine", error)
        return
    for note in notes:
        report.hint("engine", note)


def _store_and_cluster(report: _Report, parts: Parts, try_one: PoolFile | None) -> None:
    try:
        store = open_for(parts.spec.store)
    except LeadlineError as error:
        report.bad("store", error)
        raise
    with store:
        report.fine("store", f"{store.kind} in {store.location}")
        _carries_on(report, parts, store)
        root = parts.profile.calculations or store_folder() / "calculations"
        try:
            with open_cluster(parts.profile, parts.spec.compute.workers) as cluster:
                asked = check_shared_folder(cluster.client, root)
                report.fine("cluster", f"{asked} workers answer and share {root}")
                for note in cluster.notes:
                    report.hint("cluster", note)
                if try_one is not None and report.good:
                    _try_one(report, parts, store, cluster, try_one)
        except LeadlineError as error:
            report.bad("cluster", error)


def _carries_on(report: _Report, parts: Parts, store: Store) -> None:
    known = store.campaign(parts.spec.name)
    if known is None:
        return
    try:
        refuse_mixing(store, known, parts.spec, parts.engine, parts.recipe)
        report.hint("campaign", f"exists and is {known.state}: a run carries it on")
    except LeadlineError as error:
        report.bad("campaign", error)


def _try_one(report: _Report, parts: Parts, store: Store, cluster: Cluster, file: PoolFile) -> None:
    """Compute the smallest candidate; the campaign finds the result in its store."""
    smallest = file.ids[int(file.sites.argmin())]
    candidate = file.candidate(smallest)
    store.put_structures([structure_record(candidate)])
    wanted = calculation_of(
        smallest, parts.engine, parts.recipe, parts.fingerprint, parts.spec.name
    )
    store.ensure_calculations([wanted])
    desk = Desk(
        store=store,
        dispatcher=Dispatcher(cluster.client),
        engine=parts.engine,
        recipe=parts.recipe,
        root=parts.profile.calculations or store_folder() / "calculations",
        owner=this_process(),
        campaign=parts.spec.name,
        cuts=1,
        keep=parts.spec.compute.keep,
    )
    start = time.monotonic()
    try:
        record = desk.carry(wanted.id, lambda: False).calculation
    except ConfigurationError as error:
        report.bad("try one", error)
        return
    took = time.monotonic() - start
    if record.state is CalculationState.DONE and record.energy is not None:
        sites = int(file.sites.min())
        report.fine(
            "try one",
            f"{candidate.formula}: {record.energy / sites:.4f} eV/atom in {record.steps} steps, "
            f"{record.times.get('wall', took):.1f} s in the engine, {took:.1f} s in all; kept for "
            "the campaign",
        )
        return
    failure = last_failure(record)
    words = failure.message if failure else f"it is {record.state}"
    report.bad("try one", LeadlineError(f"{candidate.formula}: {words}"))
