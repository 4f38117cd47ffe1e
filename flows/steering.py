"""How a person steers a campaign, as `leadline status` and `leadline show` tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from leadline.flows.asking import by_whom
from leadline.flows.in_flight import changed_words
from leadline.flows.setting import SETTING
from leadline.flows.verdicts import VERDICT, what_waits
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.records import Campaign, Message, Proposal, ProposalState
from leadline.tasks.store.store import Store


def steered(store: Store, campaign: Campaign) -> dict[str, Any]:
    """Return what waits for review, what was set in flight, and what no run has taken over yet."""
    waiting = what_waits(store, campaign.name)
    return {
        "review": {
            "waiting": [
                {"rank": each.rank, "formula": each.formula, "structure": each.structure}
                for each in waiting.picks
            ],
            "silence": waiting.silence,
        },
        "set": {key: dict(held) for key, held in campaign.in_flight.items()},
        "pending": [
            {"asked": _asked(each), "by": by_whom(each), "sent": each.sent.isoformat()}
            for each in store.inbox(campaign.name)
        ],
    }


def steering_lines(status: Mapping[str, Any]) -> Iterable[str]:
    """Yield the same for a person, from the status of a campaign."""
    name, review = status["name"], status["review"]
    if picks := review["waiting"]:
        formulas = ", ".join(each["formula"] for each in picks)
        yield (
            f"  for review: {counted(len(picks), 'pick')} ({formulas}), {review['silence']}: "
            f"leadline review {name}"
        )
    for key, held in status["set"].items():
        words = changed_words({key: held["value"]})
        why = f" ({held['why']})" if held["why"] else ""
        yield f"  set: {words}, by {held['by']} at {held['at']}{why}"
    for each in status["pending"]:
        yield f"  pending: {each['asked']}, by {each['by']}"


def verdict_words(proposal: Proposal) -> str:
    """Return what was decided of a pick, by whom and why."""
    verdict = proposal.verdict or {}
    said = "vetoed" if proposal.state is ProposalState.VETOED else "approved"
    why = f": {verdict['why']}" if verdict["why"] else ""
    return f"{said} by {verdict['by']} at {verdict['at']} ({verdict['how']}){why}"


def _asked(message: Message) -> str:
    payload: Any = message.payload
    if message.kind == SETTING:
        return f"set {changed_words(payload['changes'])}"
    if message.kind == VERDICT:
        said = ((len(payload.get(each) or ()), each) for each in ("approve", "veto", "add"))
        return "review: " + ", ".join(f"{number} to {what}" for number, what in said if number)
    return message.kind
