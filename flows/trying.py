"""One calculation before a campaign: what it took, how it converged, what it all may cost."""

from __future__ import annotations

import time

from leadline.flows.bench import Parts
from leadline.flows.findings import Findings
from leadline.flows.person import person
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.calculate import Desk
from leadline.tasks.calculation import FailureKind
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.compute.cluster import Cluster
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.failed_attempts import last_failure, whereabouts
from leadline.tasks.recording import calculation_of, structure_record
from leadline.tasks.remedies import remedy_words
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import Store
from leadline.tasks.trial import (
    cost,
    doubts,
    evidence,
    lacking,
    prerelaxation,
    requested_words,
    spent,
)

TRIED = "a trial computes it again"
LOST = "lost in a trial alone; a campaign may try it"
"""Why a calculation leaves quarantine, for the log."""


def try_one_candidate(
    found: Findings, parts: Parts, store: Store, cluster: Cluster, file: PoolFile
) -> None:
    """Compute the smallest candidate; the campaign finds the result in its store."""
    sites = int(file.sites.min())
    candidate = file.candidate(file.ids[int(file.sites.argmin())])
    store.put_structures([structure_record(candidate)])
    start = time.monotonic()
    try:
        record = trial(parts, store, cluster, candidate.id)
    except ConfigurationError as error:
        found.bad("try one", error)
        return
    if record.state is not CalculationState.DONE:
        failure = last_failure(record)
        words = failure.message if failure else f"it is {record.state}"
        words += f"; it may converge with {named}" if (named := remedy_words(record)) else ""
        words += f"; {whereabouts(record)}"
        found.bad("try one", LeadlineError(f"{candidate.formula}: {words}"))
        return
    energy = "no energy" if record.energy is None else f"{record.energy / sites:.4f} eV/atom"
    found.fine(
        "try one",
        f"{candidate.formula}: {energy} in {counted(record.steps, 'step')}, "
        f"{record.times.get('wall', 0.0):.1f} s in the engine, {time.monotonic() - start:.1f} s in "
        "all; kept for the campaign",
    )
    if words := lacking(record, parts.problem):
        found.bad("objective", LeadlineError(words))
    found.fine("used", spent(record))
    if words := requested_words(record):
        found.fine("asked", words)
    if shown := evidence(record):
        found.fine("converged", shown)
    if begun := record.attempts[-1].prerelaxed:
        say = found.fine if begun["end"] == "converged" else found.hint
        say("prerelax", prerelaxation(begun))
    for doubt in doubts(record, parts.recipe):
        found.hint("doubt", doubt)
    found.fine("cost", cost(record, sites, file.sites, parts.spec.stop.calculations).words())


def trial(parts: Parts, store: Store, cluster: Cluster, structure: str) -> Calculation:
    """Compute one stored structure as the campaign would, and return its record.

    An answer on record is taken; a failure is not, since its cause may have been mended. Nor
    does a loss in a trial set the structure aside for campaigns.

    Raises
    ------
    ConfigurationError
        If the engine is set up wrong.
    """
    spec = parts.spec
    wanted = calculation_of(structure, parts.engine, parts.recipe, parts.fingerprint, spec.name)
    (known,) = store.ensure_calculations([wanted])
    if known.state is CalculationState.QUARANTINED:
        store.retry(known.id, person(), TRIED)
    desk = Desk(
        store=store,
        dispatcher=cluster.dispatcher,
        engine=parts.engine,
        recipe=parts.recipe,
        root=parts.root,
        owner=this_process(),
        campaign=spec.name,
        cuts=1,
        keep=spec.compute.keep,
        prerelaxer=parts.prerelaxer,
    )
    record = desk.carry(wanted.id, lambda: False).calculation
    failure = last_failure(record) if record.state is CalculationState.QUARANTINED else None
    if failure is not None and failure.kind is FailureKind.REMOTE:
        store.retry(record.id, person(), LOST)
    return record
