"""The picks that wait for a person, as they are shown, and the verdicts that come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from leadline.flows.asking import said, wait_until_taken_up
from leadline.flows.lab_book import named
from leadline.flows.spec import ReviewSpec
from leadline.tasks.errors import InputError
from leadline.tasks.store.owner import in_words, is_gone
from leadline.tasks.store.records import Message, Proposal, ProposalState, StructureRecord
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import known_campaign

VERDICT = "verdict"
"""Kind of the message; its payload: ``approve`` and ``order`` (structures), ``veto`` (a reason
for each), ``add`` (ids or formulas), and who decides, why and how."""
UNASKED = ("reference", "known", "person")
"""Shares of picks that nobody is asked about: elements, results at hand, what a person added."""


@dataclass(frozen=True)
class WaitingPick:
    """A pick that waits; ``rank`` is the name that a person gives it, `3` or `2.3`."""

    rank: str
    structure: str
    formula: str
    space_group: str
    words: str

    @property
    def line(self) -> str:
        """The pick in a line of a log: its rank, its name, and why it was picked."""
        return f"{self.rank}: {named(self.formula, self.structure)}. {self.words}"


@dataclass(frozen=True)
class Waiting:
    """What waits for review in a campaign: its picks, and what silence does, in words."""

    campaign: str
    rounds: tuple[int, ...] = ()
    picks: tuple[WaitingPick, ...] = ()
    silence: str = ""

    def named(self, rank: str) -> WaitingPick:
        """Return the pick that a rank, or the start of an id, names.

        Raises
        ------
        InputError
            If none is, or more than one.
        """
        wanted = str(rank).strip()
        found = [each for each in self.picks if each.rank == wanted]
        if not found and len(wanted) >= 4:
            found = [each for each in self.picks if each.structure.startswith(wanted)]
        if len(found) != 1:
            ranks = ", ".join(each.rank for each in self.picks) or "none"
            raise InputError(f"rank {wanted!r} names no pick that waits; there: {ranks}")
        return found[0]


@dataclass(frozen=True)
class Decision:
    """What a person decides, picks by rank.

    Parameters
    ----------
    approve
        Ranks, or ``all`` for those that are not vetoed.
    veto
        A reason for each rank.
    add
        Candidates to calculate as well: starts of ids, or formulas.
    order
        Ranks in the order in which they are to start.
    """

    approve: Sequence[str] = ()
    veto: Mapping[str, str] = field(default_factory=dict)
    add: Sequence[str] = ()
    order: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """True if nothing is decided."""
        return not (self.approve or self.veto or self.add or self.order)

    def payload(self, waiting: Waiting) -> dict[str, Any]:
        """Return the decision by structures, as a message holds it.

        Raises
        ------
        InputError
            If a rank names nothing, a veto gives no reason, or a pick is approved and vetoed.
        """
        veto = {waiting.named(rank).structure: why.strip() for rank, why in self.veto.items()}
        if lacking := [rank for rank, why in self.veto.items() if not why.strip()]:
            raise InputError(f"the veto of {', '.join(lacking)} gives no reason; say why")
        order = [waiting.named(rank).structure for rank in self.order]
        if list(self.approve) == ["all"]:
            approve = [each.structure for each in waiting.picks if each.structure not in veto]
        else:
            approve = [waiting.named(rank).structure for rank in self.approve]
        if both := set(approve) & set(veto):
            names = ", ".join(each.rank for each in waiting.picks if each.structure in both)
            raise InputError(f"{names} is approved and vetoed; decide for one")
        if apart := set(order) - set(approve):
            names = ", ".join(each.rank for each in waiting.picks if each.structure in apart)
            raise InputError(f"{names} stands in the order and is not approved")
        approve.sort(key=lambda each: order.index(each) if each in order else len(order))
        order = approve if order else []
        return {"approve": approve, "veto": veto, "add": list(self.add), "order": order}


def waiting_among(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Return the proposals that nobody has decided about, and somebody is to."""
    return [
        each
        for each in proposals
        if each.state is ProposalState.PROPOSED and each.why["share"] not in UNASKED
    ]


def what_waits(store: Store, name: str) -> Waiting:
    """Return what waits for review in a campaign.

    Raises
    ------
    InputError
        If there is no campaign of that name.
    """
    campaign = known_campaign(store, name)
    asked = campaign.spec.get("review")  # alone: an engine's plugin may not be installed here
    rule = ReviewSpec.model_validate(asked) if asked else None
    spoken = _spoken_of(store, name)
    picks = [each for each in waiting_among(store.proposals(name)) if each.structure not in spoken]
    if rule is None or not picks:
        return Waiting(name)
    rounds = tuple(dict.fromkeys(each.round for each in picks))
    created = next(each.created for each in store.rounds(name) if each.number == rounds[0])
    shown = shown_picks(picks, store.structures(each.structure for each in picks))
    return Waiting(name, rounds, shown, deadline_words(rule, created))


def shown_picks(
    picks: Sequence[Proposal], structures: Mapping[str, StructureRecord]
) -> tuple[WaitingPick, ...]:
    """Return all picks that wait as they are shown; of several rounds a rank says which."""
    alone = len({each.round for each in picks}) == 1
    return tuple(
        WaitingPick(
            rank=str(each.rank + 1) if alone else f"{each.round}.{each.rank + 1}",
            structure=each.structure,
            formula=structures[each.structure].formula,
            space_group=structures[each.structure].space_group,
            words=str(each.why["words"]),
        )
        for each in picks
    )


def send_decision(
    store: Store, waiting: Waiting, decision: Decision, why: str, how: str, by: str = ""
) -> str:
    """Send a decision to the campaign; return what became of it, in words.

    Raises
    ------
    InputError
        As of :meth:`Decision.payload`.
    """
    payload = decision.payload(waiting)
    message = store.send(waiting.campaign, VERDICT, {**payload, **said(why, how, by)})
    owner = known_campaign(store, waiting.campaign).owner
    if owner is None or is_gone(owner):
        return f"no run works on {waiting.campaign} now: the next takes these verdicts over"
    if not wait_until_taken_up(store, message):
        return f"{in_words(owner)} is busy, and takes these verdicts over after this step"
    return _became(store, message)


def deadline_words(rule: ReviewSpec, created: datetime | None) -> str:
    """Return what silence does, and when."""
    if rule.silence == "wait" or created is None:
        return "until somebody decides"
    until = created + timedelta(hours=rule.after)
    does = "approves" if rule.silence == "approve" else "vetoes"
    return f"silence {does} at {until:%Y-%m-%d %H:%M} UTC"


def _spoken_of(store: Store, name: str) -> set[str]:
    """Structures that a message speaks of which no driver has taken up yet."""
    sent = [each.payload for each in store.inbox(name) if each.kind == VERDICT]
    return {id_ for each in sent for id_ in (*each.get("approve", ()), *each.get("veto", {}))}


def _became(store: Store, message: Message) -> str:
    """Return what a driver made of verdicts, by the store's log."""
    for event in reversed(store.events(message.campaign)):
        if event.details.get("verdicts_of") == message.id:
            counts = ("approved", "vetoed", "added")
            told = [f"{len(event.details[each])} {each}" for each in counts if event.details[each]]
            return "; ".join([", ".join(told) or "nothing changed", *event.details["refused"]])
        if event.details.get("message") == message.id:
            return f"refused: {event.details['why']}"
    return "taken over"
