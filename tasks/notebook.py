"""What a campaign knows, read from its records: proposals, answers, failures.

Nothing here is kept between runs; a resumed driver reads it all again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from leadline.tasks.answers import Answer, Answers, answer
from leadline.tasks.calculation import calculation_id
from leadline.tasks.store.records import (
    Calculation,
    CalculationState,
    Proposal,
    ProposalState,
    StructureRecord,
)
from leadline.tasks.store.store import Store

FREE = ("reference", "known")
"""Shares that count against no budget."""
UNLINKED = (ProposalState.PROPOSED, ProposalState.APPROVED)
"""States of proposals whose calculation is not queued yet."""


@dataclass
class Notebook:
    """Proposals of a campaign and what came of them.

    Parameters
    ----------
    proposals
        In the order of round and rank.
    calculations
        By id, as last seen.
    structures
        Records of what was proposed, by id.
    answers
        In the order in which the calculations ended.
    """

    proposals: list[Proposal] = field(default_factory=list)
    calculations: dict[str, Calculation] = field(default_factory=dict)
    structures: dict[str, StructureRecord] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)

    @classmethod
    def read(cls, store: Store, campaign: str) -> Notebook:
        """Read everything that the store knows of a campaign."""
        proposals = store.proposals(campaign)
        linked = [each.calculation for each in proposals if each.calculation]
        book = cls(
            proposals=proposals,
            calculations=store.calculations(linked),
        )
        asked = {each.structure for each in proposals}
        computed = {each.structure for each in book.calculations.values()}
        book.structures = store.structures(asked | computed)
        ended = sorted(book.calculations.values(), key=_end)
        for record in ended:
            book.take_in(record)
        return book

    def add(self, proposals: Iterable[Proposal], structures: Iterable[StructureRecord]) -> None:
        """Take in the proposals of a new round."""
        self.proposals.extend(proposals)
        self.structures.update({each.id: each for each in structures})

    def link(self, proposal: Proposal, record: Calculation) -> None:
        """Note which calculation answers a proposal."""
        place = self.proposals.index(proposal)
        self.proposals[place] = _linked(proposal, record.id)
        self.calculations[record.id] = record
        self.take_in(record)

    def unlink(self, recipe: str, fingerprint: str) -> None:
        """Let what was asked with other settings wait to be asked again.

        Settings change only where the earlier ones gave no answer, so nothing is lost.
        """
        changed = {
            id_
            for id_, each in self.calculations.items()
            if id_ != calculation_id(each.structure, recipe, fingerprint)
        }
        if changed and not self.answers:
            self.calculations = {i: c for i, c in self.calculations.items() if i not in changed}
            self.proposals = [
                replace(each, state=ProposalState.PROPOSED, calculation=None)
                if each.calculation in changed
                else each
                for each in self.proposals
            ]

    def take_in(self, record: Calculation) -> None:
        """Take in a calculation as it stands now."""
        self.calculations[record.id] = record
        if record.state is CalculationState.DONE:
            for proposal in self.proposals:
                if proposal.calculation == record.id:
                    asked = self.structures[proposal.structure]
                    settled = self.structures.get(record.structure, asked)
                    self.answers.add(answer(record, asked, settled))

    @property
    def picks(self) -> list[Proposal]:
        """Proposals that count against the budget: all but references and imports."""
        return [each for each in self.proposals if each.why["share"] not in FREE]

    @property
    def unlinked(self) -> list[Proposal]:
        """Proposals that wait for their calculation to be queued."""
        return [each for each in self.proposals if each.state in UNLINKED]

    @property
    def unended(self) -> list[Calculation]:
        """Calculations that are neither done nor quarantined."""
        over = (CalculationState.DONE, CalculationState.QUARANTINED)
        return [each for each in self.calculations.values() if each.state not in over]

    @property
    def ended(self) -> int:
        """How many picks have an answer, or are quarantined."""
        over = (CalculationState.DONE, CalculationState.QUARANTINED)
        return sum(self._state(each) in over for each in self.picks)

    def count(self, *states: CalculationState) -> int:
        """Return how many picks have a calculation in one of the states."""
        return sum(self._state(each) in states for each in self.picks)

    def closed(self, rows: Mapping[str, int]) -> list[int]:
        """Return the rows of the pool that are never to be proposed again."""
        return [rows[each.structure] for each in self.proposals if each.structure in rows]

    def pending(self, rows: Mapping[str, int]) -> list[int]:
        """Return the rows of the pool whose calculations run or wait."""
        waiting = {each.id for each in self.unended}
        return [
            rows[each.structure]
            for each in self.proposals
            if each.structure in rows and (each.calculation in waiting or each.state in UNLINKED)
        ]

    def nth(self) -> dict[str, int]:
        """Return the place of each pick's answer among the campaign's answers, from 1.

        By the end of the engine, not by when this process heard of it: so the run
        that computes and those who read it later count alike.
        """
        ends = {
            each.structure: _end(self.calculations[each.calculation])
            for each in self.picks
            if each.calculation and self.answer_of(each)
        }
        return {
            structure: place
            for place, structure in enumerate(sorted(ends, key=ends.__getitem__), start=1)
        }

    def answer_of(self, proposal: Proposal) -> Answer | None:
        """Return the answer of a proposal, or None."""
        return self.answers.by_structure.get(proposal.structure)

    def _state(self, proposal: Proposal) -> CalculationState | None:
        record = self.calculations.get(proposal.calculation or "")
        return record.state if record else None


def _linked(proposal: Proposal, calculation: str) -> Proposal:
    return replace(proposal, state=ProposalState.LINKED, calculation=calculation)


def _end(record: Calculation) -> float:
    return float(record.times.get("end", 0.0))
