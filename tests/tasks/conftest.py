"""Records of a campaign as its driver would leave them, in an embedded store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.recipes.static import Static
from leadline.tasks.recording import calculation_of, structure_record
from leadline.tasks.store.records import (
    Calculation,
    CalculationState,
    Campaign,
    Proposal,
    ProposalState,
    Round,
    StructureRecord,
)
from leadline.tasks.store.store import Store, open_store
from leadline.tasks.structures import structure_id, to_plain

FCC: list[list[float]] = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
SPEC = {
    "name": "test",
    "objective": {"kind": "hull", "tolerance": 0.001, "references": {"kind": "computed"}},
}


class Records:
    """Writes the records of one campaign, round by round."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.engine, self.recipe = EmtEngine({}, EngineSite()), Static({})
        self.rounds = 0
        self.clock = 0.0
        store.create_campaign(Campaign("test", SPEC))

    def crystal(self, species: str, a: float = 3.8) -> Structure:
        """Return four atoms on the fcc lattice, e.g. ``Cu Cu Au Au``."""
        return Structure(Lattice.cubic(a), species.split(), FCC)

    def record(self, structure: Structure) -> StructureRecord:
        return structure_record(Candidate(structure_id(structure), structure, {"source": "test"}))

    def round(self, *structures: Structure, share: str = "random", **why: Any) -> list[Proposal]:
        """Commit a round with these picks, and queue their calculations."""
        number, self.rounds = self.rounds, self.rounds + 1
        records = [self.record(each) for each in structures]
        reasons = {"share": share, "words": "because", **why}
        picks = [Proposal("test", number, rank, r.id, reasons) for rank, r in enumerate(records)]
        self.store.commit_round(Round("test", number, {"proposed": len(picks)}), picks, records)
        for pick in picks:
            self._queue(pick)
        return self.store.proposals("test", number)

    def _queue(self, pick: Proposal) -> None:
        fingerprint = self.engine.fingerprint()
        wanted = calculation_of(pick.structure, self.engine, self.recipe, fingerprint, "test")
        (stored,) = self.store.ensure_calculations([wanted])
        linked = ProposalState.LINKED
        self.store.set_proposal("test", pick.round, pick.rank, linked, calculation=stored.id)

    def done(
        self, pick: Proposal, energy: float, campaign: str = "", **numbers: float
    ) -> Calculation:
        """Finish the calculation of a pick with an energy in eV/atom, perhaps for another."""
        assert pick.calculation is not None
        attempt = self.store.claim(pick.calculation, "driver", campaign=campaign)
        structure = self.store.structure(pick.structure)
        assert attempt is not None
        assert structure is not None
        self.clock += 1.0
        result = Result(
            pick.calculation,
            attempt.number,
            converged=True,
            energy=energy * structure.sites,
            structure=structure.structure,
            properties={"energy_per_atom": energy, **numbers},
            times={"start": self.clock - 0.5, "end": self.clock, "wall": 0.5},
        )
        self.store.finish(pick.calculation, attempt.number, result)
        return self.now(pick)

    def failed(self, pick: Proposal) -> Calculation:
        """Let the calculation of a pick fail and be set aside."""
        assert pick.calculation is not None
        attempt = self.store.claim(pick.calculation, "driver")
        assert attempt is not None
        failure = Failure(FailureKind.PHYSICS, "scf", "it did not converge")
        left = Result(
            pick.calculation, attempt.number, converged=False, failure=failure, times={"wall": 2.0}
        )
        self.store.fail(pick.calculation, attempt.number, failure, CalculationState.FAILED, left)
        self.store.quarantine(pick.calculation, "physics: scf")
        return self.now(pick)

    def now(self, pick: Proposal) -> Calculation:
        found = self.store.calculation(pick.calculation or "")
        assert found is not None
        return found

    def plain(self, structure: Structure) -> dict[str, Any]:
        return to_plain(structure)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def records(store: Store) -> Records:
    return Records(store)
