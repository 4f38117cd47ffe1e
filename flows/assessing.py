"""What a campaign has come to: for the stop rules, and in the record of each round."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from leadline.surrogate.missed import kept
from leadline.surrogate.stopping import Progress, Verdict
from leadline.tasks.ledger import Ledger
from leadline.tasks.metrics import barren_rounds, prequential
from leadline.tasks.store.records import CalculationState as State
from leadline.tasks.store.records import ProposalState, Round

if TYPE_CHECKING:
    from leadline.flows.loop import Loop


def progress_of(loop: Loop) -> Progress:
    """Return what the stop rules are asked with."""
    book, bench, outlook = loop.book, loop.bench, loop.outlook
    metrics = prequential(book, loop.assessment.values)
    return Progress(
        calculations=book.ended,
        hours=_hours(loop),
        unknown=len(bench.pool) - len(set(loop.closed)),
        barren_rounds=barren_rounds(book, loop.assessment.finds, bench.spec.acquisition.batch),
        missed=outlook.missed if outlook else None,
        z_spread=metrics.get("z_std"),
        predictions=int(metrics.get("count") or 0),
        **_node_hours(loop),
    )


def close_rounds(loop: Loop, found: Verdict) -> None:
    """Write down what the rounds that have ended came to; the last one has the verdict."""
    waiting = {each.id for each in loop.book.unended}
    open_rounds = [each for each in loop.rounds.values() if each.state == "open"]
    for each in open_rounds:
        mine = [pick for pick in loop.book.proposals if pick.round == each.number]
        asked = [pick for pick in mine if pick.state is not ProposalState.VETOED]
        if any(loop.book.waits(pick, waiting) for pick in asked):
            continue
        last = each is open_rounds[-1]
        changes = {
            "state": "assessed",
            "counts": {"proposed": len(mine), "vetoed": len(mine) - len(asked), **_counts(loop)},
            "metrics": round_metrics(loop),
            "hull": tuple(find.to_plain() for find in loop.assessment.finds),
            "ledger": loop.ledger.plain() if last else {},
            "verdict": asdict(found) if last else None,
        }
        with loop.ledger.timed("store"):
            loop.store.update_round(loop.name, each.number, **changes)
        loop.rounds[each.number] = Round(**{**vars(each), **changes})
        if last:
            loop.ledger = Ledger()


def round_metrics(loop: Loop) -> dict[str, float | None]:
    """Return how well the campaign predicts, and how many finds it expects to miss."""
    return {
        **prequential(loop.book, loop.assessment.values),
        **kept(loop.outlook.missed if loop.outlook else None),
        **_node_hours(loop),
    }


def _node_hours(loop: Loop) -> dict[str, float]:
    """Return what the rule on node-hours is asked with; nothing where there is no such rule."""
    if loop.bench.spec.stop.node_hours is None:
        return {}
    return {"node_hours": loop.spent(), "price": loop.price()}


def _hours(loop: Loop) -> float:
    """Wall time of all runs that ended rounds, and of this one."""
    earlier = sum(each.ledger.get("wall", 0.0) for each in loop.rounds.values())
    return (earlier + loop.ledger.wall) / 3600


def _counts(loop: Loop) -> dict[str, int]:
    return {
        "pool": len(loop.bench.pool),
        "ended": loop.book.ended,
        "done": loop.book.count(State.DONE),
        "quarantined": loop.book.count(State.QUARANTINED),
        "found": len(loop.assessment.finds),
    }
