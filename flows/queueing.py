"""What is to be computed becomes a queued calculation, once: picks, and remedies of the physics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from leadline.flows.bench import Bench
from leadline.tasks.notebook import Notebook
from leadline.tasks.recording import calculation_of
from leadline.tasks.remedies import remedy_calculation
from leadline.tasks.store.records import Calculation, CalculationState, Proposal, ProposalState
from leadline.tasks.twins import twin

OVER = (CalculationState.DONE, CalculationState.QUARANTINED)


class Queue:
    """Puts calculations into the store, where another campaign may have put or computed them.

    Parameters
    ----------
    bench, book
        What the campaign works with, and what it knows.
    say
        Told what a person may want to know.
    """

    def __init__(self, bench: Bench, book: Notebook, say: Callable[[str], object]) -> None:
        self.bench, self.book, self.say = bench, book, say
        self.store = bench.store

    def picks(self, new: Sequence[Proposal]) -> list[Calculation]:
        """Queue the calculations of picks in their order, and return those that are open.

        One that is done answers without an engine.
        """
        bench = self.bench
        with self.store.step():
            wanted = [
                calculation_of(
                    self._computed_as(each.structure),
                    bench.engine,
                    bench.recipe,
                    bench.fingerprint,
                    bench.spec.name,
                )
                for each in new
            ]
            stored = self.store.ensure_calculations(wanted)
            for proposal, record in zip(new, stored, strict=True):
                self._link(proposal, record)
        for proposal, record in zip(new, stored, strict=True):
            self.book.link(proposal, record)
        return [*_open(stored), *self.remedies()]

    def remedies(self) -> list[Calculation]:
        """Queue the remedies that the campaign asks for, and return those new ones that are open.

        What names them stands with the records in quarantine, so that a driver that died
        in between is carried on by the next one.
        """
        if self.book.remedies == "never":
            return []
        named = [each for each in self.book.set_aside if each.remedy]
        new = [e for e in named if (e.remedy or {})["calculation"] not in self.book.calculations]
        wanted = [remedy_calculation(each, self.bench.spec.name) for each in new]
        stored = self.store.ensure_calculations(wanted) if wanted else []
        for record in stored:
            self.settle(record)
        return _open(stored)

    def settle(self, remedy: Calculation) -> None:
        """Take in a remedy's calculation; a phase that was computed apart is judged now."""
        judge, final = self.bench.desk.judge, remedy.final_structure
        if judge and final is not None and self.book.remedies == "together":
            judge.settle(self.book.structures[remedy.structure], final)
            self.book.structures.update(self.store.structures([remedy.structure]))
        self.book.take_in(remedy)

    def _link(self, proposal: Proposal, record: Calculation) -> None:
        linked, round_, rank = ProposalState.LINKED, proposal.round, proposal.rank
        self.store.set_proposal(self.bench.spec.name, round_, rank, linked, calculation=record.id)

    def _computed_as(self, structure: str) -> str:
        """Return the structure whose calculation answers: its own, or a twin's elsewhere."""
        asked, book = self.book.structures[structure], self.book
        found = twin(self.store, asked, book.structures, scale=self.bench.recipe.relaxes_cell)
        if found is None:
            return structure
        self.store.relate(structure, same_as=found.id)
        self.say(f"{asked.formula} was computed before, as {found.id[:12]}")
        book.structures[found.id] = found
        return found.id


def _open(records: Iterable[Calculation]) -> list[Calculation]:
    return [each for each in records if each.state not in OVER]
