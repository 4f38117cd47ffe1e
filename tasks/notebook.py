"""What a campaign knows, read from its records: proposals, answers, failures.

Nothing here is kept between runs; a resumed driver reads it all again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from leadline.tasks.answers import Answer, Answers, answer
from leadline.tasks.calculation import FailureKind, calculation_id
from leadline.tasks.remedies import Use, changed_words, use_of
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
        By id, as last seen: those of the proposals, and remedies of their physics.
    structures
        Records of what was proposed, by id.
    answers
        In the order in which the calculations ended.
    remedies
        What is done with a remedy that changes the physics.
    """

    proposals: list[Proposal] = field(default_factory=list)
    calculations: dict[str, Calculation] = field(default_factory=dict)
    structures: dict[str, StructureRecord] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)
    remedies: Use = "never"

    @classmethod
    def read(cls, store: Store, campaign: str) -> Notebook:
        """Read everything that the store knows of a campaign."""
        proposals, known = store.proposals(campaign), store.campaign(campaign)
        own = store.calculations([each.calculation for each in proposals if each.calculation])
        named = [each.remedy["calculation"] for each in own.values() if each.remedy]
        book = cls(
            proposals=proposals,
            calculations={**store.calculations(named), **own},
            remedies=use_of(known.spec) if known else "never",
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

    def amend(self, proposal: Proposal) -> None:
        """Take in what was decided of a proposal, or one more proposal of a round."""
        places = {(each.round, each.rank): nth for nth, each in enumerate(self.proposals)}
        place = places.get((proposal.round, proposal.rank))
        if place is None:
            self.proposals.append(proposal)
        else:
            self.proposals[place] = proposal

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
            each.id
            for each in self.own()
            if each.id != calculation_id(each.structure, recipe, fingerprint)
        }
        if changed and not self.answers:
            changed |= {each.id for each in self.calculations.values() if each.remedy_of in changed}
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
                    self._answer(proposal, record, "")
                elif self.remedies == "together" and self.remedy(proposal) is record:
                    self._answer(proposal, record, self.changed(proposal))

    def _answer(self, proposal: Proposal, record: Calculation, changed: str) -> None:
        asked = self.structures[proposal.structure]
        settled = self.structures.get(record.structure, asked)
        self.answers.add(answer(record, asked, settled, changed))

    def own(self) -> list[Calculation]:
        """Return the calculations of the proposals themselves, in the order of their turns."""
        linked = dict.fromkeys(each.calculation for each in sorted(self.proposals, key=turn))
        return [self.calculations[each] for each in linked if each in self.calculations]

    def own_of(self, proposal: Proposal) -> Calculation | None:
        """Return the calculation that a proposal asked for, or None before it is queued."""
        return self.calculations.get(proposal.calculation or "")

    def remedy(self, proposal: Proposal) -> Calculation | None:
        """Return the calculation with changed physics beside a proposal's own, or None."""
        own = self.own_of(proposal)
        return self.calculations.get(own.remedy["calculation"]) if own and own.remedy else None

    def is_apart(self, record: Calculation) -> bool:
        """Tell whether a calculation is a remedy of the physics whose label counts nowhere."""
        own = any(each.calculation == record.id for each in self.proposals)
        return record.remedy_of is not None and not own and self.remedies != "together"

    def changed(self, proposal: Proposal) -> str:
        """Return what that one changes of the engine's settings, in words."""
        own = self.own_of(proposal)
        return changed_words(own) if own else ""

    def settled_by(self, calculation: str) -> list[Proposal]:
        """Return the proposals that the end of a calculation settles."""
        ends = ((each, self.deciding(each)) for each in self.proposals)
        return [each for each, record in ends if record is not None and record.id == calculation]

    def deciding(self, proposal: Proposal) -> Calculation | None:
        """Return the calculation whose end settles a proposal, or None before it is queued.

        That is its own, or a remedy of its physics where its label is to count.
        """
        own = self.own_of(proposal)
        if self.remedies != "together" or not own or own.state is not CalculationState.QUARANTINED:
            return own
        return self.remedy(proposal) or own

    @property
    def picks(self) -> list[Proposal]:
        """Proposals that count against the budget: no references, no imports, nothing vetoed."""
        return [
            each
            for each in self.proposals
            if each.why["share"] not in FREE and each.state is not ProposalState.VETOED
        ]

    @property
    def free(self) -> int:
        """How many references and imports there are."""
        return sum(each.why["share"] in FREE for each in self.proposals)

    @property
    def vetoed(self) -> list[Proposal]:
        """Proposals that a person refused, less those that a person asked for after all."""
        asked = {
            each.structure for each in self.proposals if each.state is not ProposalState.VETOED
        }
        return [
            each
            for each in self.proposals
            if each.state is ProposalState.VETOED and each.structure not in asked
        ]

    @property
    def unlinked(self) -> list[Proposal]:
        """Proposals that wait for their calculation to be queued."""
        return [each for each in self.proposals if each.state in UNLINKED]

    @property
    def unended(self) -> list[Calculation]:
        """Calculations that this campaign carries, and that are neither done nor quarantined.

        A remedy's is carried as long as it is asked for, and the structure's own is set aside.
        """
        over = (CalculationState.DONE, CalculationState.QUARANTINED)
        carried = {each.id: each for each in self.own()}
        for each in self.set_aside if self.remedies != "never" else ():
            named = self.calculations.get(each.remedy["calculation"]) if each.remedy else None
            carried |= {named.id: named} if named else {}
        return [each for each in carried.values() if each.state not in over]

    @property
    def set_aside(self) -> list[Calculation]:
        """Calculations of the proposals themselves that are in quarantine."""
        return [each for each in self.own() if each.state is CalculationState.QUARANTINED]

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

    def failed(self, rows: Mapping[str, int]) -> list[int]:
        """Return the rows of the pool that no engine could compute, for physics' sake."""
        return [
            rows[each.structure]
            for each in self.proposals
            if each.structure in rows and (record := self.deciding(each)) and _defied(record)
        ]

    def pending(self, rows: Mapping[str, int]) -> list[int]:
        """Return the rows of the pool whose calculations run or wait."""
        waiting = {each.id for each in self.unended}
        return [
            rows[each.structure]
            for each in self.proposals
            if each.structure in rows
            and (each.state in UNLINKED or ((n := self.deciding(each)) and n.id in waiting))
        ]

    def waits(self, proposal: Proposal, unended: Container[str]) -> bool:
        """Tell whether a proposal's calculation, or a remedy of its physics, is still to end."""
        remedy = self.remedy(proposal)
        asked = [proposal.calculation, *([remedy.id] if remedy else [])]
        return any(each is None or each in unended for each in asked)

    def nth(self) -> dict[str, int]:
        """Return the place of each pick's answer among the campaign's answers, from 1.

        By the end of the engine, not by when this process heard of it: so the run
        that computes and those who read it later count alike.
        """
        ends = {
            each.structure: _end(self.calculations[found.calculation])
            for each in self.picks
            if (found := self.answer_of(each))
        }
        return {
            structure: place
            for place, structure in enumerate(sorted(ends, key=ends.__getitem__), start=1)
        }

    def answer_of(self, proposal: Proposal) -> Answer | None:
        """Return the answer of a proposal, or None."""
        return self.answers.by_structure.get(proposal.structure)

    def _state(self, proposal: Proposal) -> CalculationState | None:
        record = self.deciding(proposal)
        return record.state if record else None


def _defied(record: Calculation) -> bool:
    """Tell whether a calculation was set aside because of what it computes."""
    if record.state is not CalculationState.QUARANTINED or record.failure is None:
        return False
    return bool(record.failure.get("kind") == FailureKind.PHYSICS)


def _linked(proposal: Proposal, calculation: str) -> Proposal:
    return replace(proposal, state=ProposalState.LINKED, calculation=calculation)


def turn(proposal: Proposal) -> tuple[int, int, int]:
    """Return what sorts picks: by round, by the place that a person gave them, by rank."""
    place = (proposal.verdict or {}).get("place", proposal.rank)
    return proposal.round, int(place), proposal.rank


def _end(record: Calculation) -> float:
    return float(record.times.get("end", 0.0))
