"""One calculation before a campaign: what it took, how it converged, what it all may cost."""

from __future__ import annotations

import time

from leadline.flows.bench import Parts
from leadline.flows.findings import Findings
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.calculate import Desk
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.compute.cluster import Cluster
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.failed_attempts import last_failure
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

    Raises
    ------
    ConfigurationError
        If the engine is set up wrong.
    """
    spec = parts.spec
    wanted = calculation_of(structure, parts.engine, parts.recipe, parts.fingerprint, spec.name)
    store.ensure_calculations([wanted])
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
    return desk.carry(wanted.id, lambda: False).calculation
