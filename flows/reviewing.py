"""A person's verdict on picks: asked for, waited for beside all else, and taken in.

A round's picks are on record before anybody is asked, so a driver that is killed while they
wait finds them again, and what was said of them meanwhile in its inbox.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from leadline.flows.adding import added_pick
from leadline.flows.asking import by_whom
from leadline.flows.verdicts import deadline_words, shown_picks, waiting_among
from leadline.tasks.errors import ConflictError, InputError
from leadline.tasks.notebook import turn
from leadline.tasks.quantities import written_time
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.base import now
from leadline.tasks.store.records import Message, Proposal, ProposalState
from leadline.tasks.store.rounds import round_id

if TYPE_CHECKING:
    from leadline.flows.loop import Loop

ASKED = "review.asked"
"""Kind of the store's own event of it, by round: nobody is asked twice."""
NOBODY = "nobody"


@dataclass
class Decided:
    """What became of a message: structures by what was decided, and what could not be done."""

    approved: list[str] = field(default_factory=list)
    vetoed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def words(self) -> str:
        """Return it as a person reads it."""
        counts = (
            (self.approved, "approved"),
            (self.vetoed, "vetoed"),
            (self.added, "added"),
        )
        told = [f"{len(each)} {word}" for each, word in counts if each]
        return "; ".join([", ".join(told) or "nothing changed", *self.refused])


def waiting(loop: Loop) -> list[Proposal]:
    """Return the picks that wait for a person; none where the spec asks nobody."""
    return waiting_among(loop.book.proposals) if loop.bench.spec.review else []


def ready(loop: Loop) -> list[Proposal]:
    """Return the picks that may be calculated, in the order that they are to start in."""
    asked = {(each.round, each.rank) for each in waiting(loop)}
    free = [each for each in loop.book.unlinked if (each.round, each.rank) not in asked]
    return sorted(free, key=turn)


def ask(loop: Loop) -> None:
    """Say that picks wait, once for each round, whatever is killed in between."""
    picks = waiting(loop)
    if not picks:
        return
    asked = {each.subject for each in loop.store.events(loop.name) if each.kind == ASKED}
    lines = [each.line for each in shown_picks(picks, loop.book.structures)]
    for number in dict.fromkeys(each.round for each in picks):
        mine = [each for each in picks if each.round == number]
        loop.witness.asked(number, mine, _until(loop, number))
        key = round_id(loop.name, number)
        if key in asked:
            continue
        loop.watcher.note(
            f"{counted(len(mine), 'pick')} of round {number} {_verb(mine)} for review "
            f"({_until(loop, number)}): leadline review {loop.name}"
        )
        for each, line in zip(picks, lines, strict=True):
            if each.round == number:
                loop.watcher.note(line)
        loop.store.log(loop.name, ASKED, key, {"picks": len(mine)})


def speak_for_silence(loop: Loop) -> None:
    """Apply the rule for picks that nobody has spoken about in time."""
    rule = loop.bench.spec.review
    if rule is None or rule.silence == "wait":
        return
    state = ProposalState.APPROVED if rule.silence == "approve" else ProposalState.VETOED
    late = [each for each in waiting(loop) if now() >= _due(loop, each.round)]
    for each in late:
        why = f"nobody spoke within {written_time(rule.after)}"
        verdict = {"by": NOBODY, "at": _at(now()), "why": why, "how": "review.silence"}
        _decide(loop, each, state, verdict)
    if late:
        done = "approved" if state is ProposalState.APPROVED else "vetoed"
        loop.watcher.note(f"{counted(len(late), 'pick')} {done} by silence, as the spec says")


def take_verdicts(loop: Loop, message: Message) -> None:
    """Take in what a person decided; twice is as good as once.

    Raises
    ------
    InputError
        If the message holds no verdicts.
    """
    said = message.payload
    if _is_decided(loop, message):
        return
    verdict = {
        "by": str(said["by"]),
        "at": _at(message.sent),
        "why": str(said.get("why", "")),
        "how": str(said["how"]),
        "message": message.id,
    }
    decided = Decided()
    for structure, why in _mapping(said.get("veto", {})).items():
        own = {**verdict, "why": str(why)}
        _speak(loop, structure, ProposalState.VETOED, own, decided)
    places = {structure: place for place, structure in enumerate(_names(said.get("order", ())))}
    for structure in _names(said.get("approve", ())):
        place = {"place": places[structure]} if structure in places else {}
        _speak(loop, structure, ProposalState.APPROVED, verdict | place, decided)
    for words in _names(said.get("add", ())):
        _add(loop, words, verdict, decided)
    loop.watcher.note(f"review by {by_whom(message)}: {decided.words()}")
    loop.store.log(
        loop.name, "review.decided", loop.name, {"verdicts_of": message.id, **vars(decided)}
    )


def _is_decided(loop: Loop, message: Message) -> bool:
    events = loop.store.events(loop.name)
    return any(each.details.get("verdicts_of") == message.id for each in events)


def _speak(
    loop: Loop,
    structure: str,
    state: ProposalState,
    verdict: Mapping[str, Any],
    decided: Decided,
) -> None:
    """Decide one pick, or say why it cannot be decided any more."""
    mine = [each for each in loop.book.proposals if each.structure == structure]
    if any((each.verdict or {}).get("message") == verdict["message"] for each in mine):
        return  # a driver that died did it before
    open_ = next((each for each in mine if each.state in _OPEN), None)
    if open_ is None:
        found = mine[-1].state if mine else "no pick of this campaign"
        decided.refused.append(f"{loop.formula(structure)} is {found} already: not {state}")
        return
    try:
        _decide(loop, open_, state, verdict)
    except ConflictError as error:
        decided.refused.append(f"{loop.formula(structure)}: {error}")
        return
    done = decided.vetoed if state is ProposalState.VETOED else decided.approved
    done.append(structure)


def _decide(
    loop: Loop, proposal: Proposal, state: ProposalState, verdict: Mapping[str, Any]
) -> None:
    loop.store.set_proposal(loop.name, proposal.round, proposal.rank, state, verdict=verdict)
    loop.book.amend(replace(proposal, state=state, verdict=verdict))
    if state is ProposalState.VETOED:
        near = len(loop.near_vetoed())
        loop.watcher.note(
            f"vetoed {loop.formula(proposal.structure)} ({verdict['why']}); it is not proposed "
            f"again, nor {counted(near, 'near duplicate')} of what was vetoed"
        )


def _add(loop: Loop, words: str, verdict: Mapping[str, Any], decided: Decided) -> None:
    """Add a pick that a person asked for to the last round."""
    verdict = {**verdict, "asked_for": words}
    if any(each.verdict == verdict for each in loop.book.proposals):
        return  # a driver that died did it before
    if not loop.rounds:
        raise InputError("there is no round yet; add picks once the first was proposed")
    try:
        pick, structure = added_pick(loop, words, verdict)
    except InputError as error:
        decided.refused.append(str(error))
        return
    number = max(loop.rounds)
    rank = 1 + max((each.rank for each in loop.book.proposals if each.round == number), default=-1)
    proposal = Proposal(
        loop.name,
        number,
        rank,
        pick.id,
        pick.why.to_plain(),
        ProposalState.APPROVED,
        verdict=verdict,
    )
    loop.store.add_proposal(proposal, structure)
    loop.book.structures[structure.id] = structure
    loop.book.amend(proposal)
    decided.added.append(pick.id)


def _due(loop: Loop, number: int) -> datetime:
    rule = loop.bench.spec.review
    assert rule is not None, "who asks when has a rule"
    return (loop.rounds[number].created or now()) + timedelta(hours=rule.after)


def _until(loop: Loop, number: int) -> str:
    rule = loop.bench.spec.review
    assert rule is not None, "who asks when has a rule"
    return deadline_words(rule, loop.rounds[number].created)


def _verb(picks: list[Proposal]) -> str:
    return "waits" if len(picks) == 1 else "wait"


def _at(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _names(value: Any) -> Iterable[str]:
    if isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise InputError(f"found {value!r}; allowed: a list of ids")
    return tuple(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"found {value!r}; allowed: a reason for each id")
    return value


_OPEN = (ProposalState.PROPOSED, ProposalState.APPROVED)
