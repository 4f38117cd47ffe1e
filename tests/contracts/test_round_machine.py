"""Rounds under any order of calls and deaths, on every store: a model of them beside it.

A round is committed once, with all its proposals, structures and its model, and the
next driver sees the same; of one whose driver died before, nothing is to be seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from store_machine import StoreMachine, run_machine

from leadline.tasks.errors import ConflictError, StoreError
from leadline.tasks.store.records import (
    Event,
    Proposal,
    ProposalState,
    Round,
    StructureRecord,
    SurrogateRecord,
)

CAMPAIGN = "cu-au"
NUMBERS = range(2)
FORWARD = {
    ProposalState.PROPOSED: (ProposalState.APPROVED, ProposalState.VETOED, ProposalState.LINKED),
    ProposalState.APPROVED: (ProposalState.APPROVED, ProposalState.VETOED, ProposalState.LINKED),
    ProposalState.VETOED: (ProposalState.VETOED,),
    ProposalState.LINKED: (ProposalState.LINKED,),
}

numbers = st.sampled_from(NUMBERS)
picks = st.integers(0, 3)
means = st.floats(-5, 5)


@dataclass(frozen=True)
class Made:
    """A round as it was committed, or was to be."""

    round: Round
    proposals: list[Proposal]
    structures: list[StructureRecord]
    model: SurrogateRecord | None

    @classmethod
    def of(cls, number: int, picks: int, mean: float) -> Made:
        ids = [f"s{number}-{rank}" for rank in range(picks)] + ["shared"] * bool(picks)
        return cls(
            Round(CAMPAIGN, number, {"picks": picks}, {"mean": mean}),
            [Proposal(CAMPAIGN, number, rank, id, {"mean": mean}) for rank, id in enumerate(ids)],
            [StructureRecord(id, {}, "Cu", "Cu", 1, "Fm-3m", {"source": "files"}) for id in ids],
            SurrogateRecord(CAMPAIGN, number, {"mean": mean}, "digest", 9, {}) if number else None,
        )


class Rounds(StoreMachine):
    """The rounds of a campaign, and what they should be."""

    def __init__(self, folder: Path, uri: str | None) -> None:
        super().__init__(folder, uri)
        self.model: dict[int, Made] = {}
        self.events: list[str] = []

    @rule(number=numbers, picks=picks, mean=means)
    def commit(self, number: int, picks: int, mean: float) -> None:
        asked = Made.of(number, picks, mean)
        if number in self.model:
            with pytest.raises(ConflictError, match=f"round {number} .* is committed already"):
                self.commit_to_the_store(asked)
        else:
            self.keep(asked, self.commit_to_the_store(asked))
            self.events.append("committed")

    @rule(
        number=numbers,
        picks=picks,
        mean=means,
        kind=st.sampled_from([Proposal, SurrogateRecord, Round]),
        nth=st.integers(0, 2),
    )
    def die_before_the_commit(
        self, number: int, picks: int, mean: float, kind: type, nth: int
    ) -> None:
        if number in self.model:
            return
        asked = Made.of(number, picks, mean)
        with self.dying_in("_insert", nth_of(kind, 0 if kind is Round else nth)):
            self.keep(asked, self.commit_to_the_store(asked))
            self.events.append("committed")

    @precondition(lambda self: self.uri is not None)
    @rule(number=numbers, picks=picks, mean=means)
    def die_after_the_commit(self, number: int, picks: int, mean: float) -> None:
        """On a server the round then stands, and its event is all that is missing."""
        if number in self.model:
            return
        asked = Made.of(number, picks, mean)
        with self.dying_in("_insert", nth_of(Event, 0)):
            self.commit_to_the_store(asked)
        stands = self.store.round(CAMPAIGN, number)
        assert stands is not None
        self.keep(asked, stands)

    @rule(number=numbers, rank=st.integers(0, 3), state=st.sampled_from(list(FORWARD)[1:]))
    def judge(self, number: int, rank: int, state: ProposalState) -> None:
        picked = self.model[number].proposals if number in self.model else []
        if rank < len(picked) and state in FORWARD[picked[rank].state]:
            verdict = {"by": "ada", "says": str(state)}
            self.store.set_proposal(CAMPAIGN, number, rank, state, verdict=verdict)
            picked[rank] = replace(picked[rank], state=state, verdict=verdict)
        elif number in self.model:
            with pytest.raises(ConflictError):
                self.store.set_proposal(CAMPAIGN, number, rank, state)

    @rule(number=numbers)
    def assess(self, number: int) -> None:
        if number in self.model:
            self.store.update_round(CAMPAIGN, number, state="assessed")
            made = self.model[number]
            self.model[number] = replace(made, round=replace(made.round, state="assessed"))
            self.events.append("assessed")
        else:
            with pytest.raises(StoreError, match="commit it first"):
                self.store.update_round(CAMPAIGN, number, state="assessed")

    @invariant()
    def what_is_stored_is_what_was_committed(self) -> None:
        made = [self.model[number] for number in sorted(self.model)]
        assert self.store.rounds(CAMPAIGN) == [each.round for each in made]
        every = [each for one in made for each in one.proposals]
        assert self.store.proposals(CAMPAIGN) == every
        for number in NUMBERS:
            assert self.store.proposals(CAMPAIGN, number) == [
                each for each in every if each.round == number
            ]
        for each in made:
            assert self.store.surrogate(CAMPAIGN, each.round.number) == each.model
            wanted = {one.id: one for one in each.structures}
            assert self.store.structures(wanted) == wanted

    @invariant()
    def events_tell_the_same(self) -> None:
        told = [each.kind for each in self.store.events(CAMPAIGN)]
        assert [each for each in told if each.startswith("round.")] == [
            f"round.{each}" for each in self.events
        ]

    def commit_to_the_store(self, asked: Made) -> Round:
        return self.store.commit_round(asked.round, asked.proposals, asked.structures, asked.model)

    def keep(self, asked: Made, committed: Round) -> None:
        assert replace(committed, created=None) == asked.round
        self.model[asked.round.number] = replace(asked, round=committed)


def nth_of(kind: type, nth: int) -> Callable[..., bool]:
    """Return what tells the nth insert of a kind of record."""
    seen = itertools.count()
    return lambda document, record, **more: isinstance(record, kind) and next(seen) == nth


@pytest.mark.timeout(900)  # to make a failure small takes minutes
@pytest.mark.parametrize("kind", ["embedded", "wire"])
def test_rounds_obey_their_model(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = str(request.getfixturevalue("wire_uri")) if kind == "wire" else None
    run_machine(Rounds, tmp_path, uri, examples=12, steps=15)
