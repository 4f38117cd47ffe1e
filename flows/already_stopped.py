"""A campaign that has stopped for good: a later run ends at once, and says how to go on.

What the stop rules ask is told from the records alone: no cluster is opened, no features
are built and no model is fitted for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leadline.flows.ending import summary_of
from leadline.flows.importing import imported_structures
from leadline.flows.in_flight import merged
from leadline.flows.spec import CampaignSpec
from leadline.flows.store_of import open_for
from leadline.flows.summary import CampaignSummary, RunEnd
from leadline.surrogate.missed import Missed
from leadline.surrogate.stopping import Limits, Progress, Verdict, verdict
from leadline.tasks.errors import StoreError
from leadline.tasks.metrics import barren_rounds, prequential
from leadline.tasks.store.records import CampaignState
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import CampaignReader

Suggest = Callable[[Limits], str]
WAYS_ON: Mapping[str, Suggest] = {
    "calculations": lambda given: f"stop.calculations={2 * (given.calculations or 1)}",
    "hours": lambda given: f"stop.hours={2 * (given.hours or 1.0):g}",
    "node_hours": lambda given: f"stop.node_hours={2 * (given.node_hours or 1.0):g}",
    "rounds_without_discovery": lambda given: (
        f"stop.rounds_without_discovery={2 * (given.rounds_without_discovery or 1)}"
    ),
    "expected_missed": lambda given: f"stop.expected_missed={(given.expected_missed or 1) / 2:g}",
}
"""A change that would carry a campaign on, by the rule that stopped it."""


def already_stopped(spec: CampaignSpec) -> CampaignSummary | None:
    """Return what a campaign came to that is over; None where a run has something to do.

    It is over where it has stopped, nobody drives it or has asked anything of it, no
    calculation of it waits, its settings are those on record, and the stop rules, as they are
    now, still answer.
    """
    try:
        store = open_for(spec.store, write=False)
    except StoreError:  # there is none yet, or whoever opens it to work says what is wrong
        return None
    with store:
        known = store.campaign(spec.name)
        if known is None or known.state is not CampaignState.STOPPED or known.owner is not None:
            return None
        spec = merged(spec, known).spec
        if _but_for_stop(spec.model_dump(mode="json")) != _but_for_stop(known.spec):
            return None  # a version of its own, or refused with the reason
        reader = CampaignReader(store, known)
        if not reader.rounds or _has_work(store, reader):
            return None
        found = verdict(Limits(**spec.stop.model_dump()), _progress(reader, spec))
        return _over(reader, spec, found) if found.stop else None


def _but_for_stop(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "stop"}


def _has_work(store: Store, reader: CampaignReader) -> bool:
    """Tell whether calculations or messages wait, or results came in since the last round."""
    book, name = reader.book, reader.campaign.name
    new = set(imported_structures(store, name)) - set(book.structures)
    return bool(book.unended or book.unlinked or new or store.inbox(name))


def _progress(reader: CampaignReader, spec: CampaignSpec) -> Progress:
    """Return how far the campaign had come when its last round ended."""
    book, assessment = reader.book, reader.assessment
    metrics, last = prequential(book, assessment.values), reader.rounds[-1]
    return Progress(
        calculations=book.ended,
        hours=sum(each.ledger.get("wall", 0.0) for each in reader.rounds) / 3600,
        unknown=_unknown(reader),
        barren_rounds=barren_rounds(book, assessment.finds, spec.acquisition.batch),
        missed=Missed.of(last.metrics),
        z_spread=metrics.get("z_std"),
        predictions=int(metrics.get("count") or 0),
        node_hours=last.metrics.get("node_hours") or 0.0,
        price=last.metrics.get("price") or 0.0,
    )


def _unknown(reader: CampaignReader) -> int:
    """Return how many candidates are left; where that is not certain, one at the least."""
    last = reader.rounds[-1]
    if (last.verdict or {}).get("rule") == "pool_exhausted":
        return 0
    return max(int(last.counts.get("pool", 0)) - len(reader.book.proposals), 1)


def _over(reader: CampaignReader, spec: CampaignSpec, found: Verdict) -> CampaignSummary:
    return summary_of(
        spec.name,
        reader.book,
        reader.assessment,
        found,
        state=str(CampaignState.STOPPED),
        reason=f"{found.words} The campaign was over, and nothing was run. {_way_on(spec, found)}",
        pool=int(reader.rounds[-1].counts.get("pool", 0)),
        waiting={},
        problem=reader.problem,
        end=RunEnd.ALREADY_STOPPED,
    )


def _way_on(spec: CampaignSpec, found: Verdict) -> str:
    suggest = WAYS_ON.get(found.rule or "")
    if suggest is None:
        return "To go on, give it more candidates."
    change = suggest(Limits(**spec.stop.model_dump()))
    return (
        f"To go on, change the rule: `leadline run FILE --set {change}`, or {change} in the `spec` "
        "of the deployment or of a run of it."
    )
