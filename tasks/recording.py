"""From what was decided to the records that are kept of it."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.pool import Pool
from leadline.tasks.calculation import calculation_id
from leadline.tasks.engines.engine import Engine
from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.store.records import (
    ArtefactRef,
    Calculation,
    Proposal,
    StructureRecord,
    SurrogateRecord,
)
from leadline.tasks.store.store import Store
from leadline.tasks.structures import to_plain

if TYPE_CHECKING:  # torch takes seconds to import, and who reads records needs none
    from leadline.tasks.learn import Learned
    from leadline.tasks.propose import Outlook, Pick

NPZ = "application/x-npz"


def structure_record(candidate: Candidate) -> StructureRecord:
    """Return the record of a candidate that is proposed or computed."""
    structure = candidate.material
    if not isinstance(structure, Structure):
        raise TypeError(f"{candidate.formula} is a molecule; only crystals are recorded so far")
    return StructureRecord(
        id=candidate.id,
        structure=to_plain(structure),
        formula=candidate.formula,
        chemical_system=structure.chemical_system,
        sites=len(structure),
        space_group=space_group(structure),
        provenance=candidate.provenance,
    )


def space_group(structure: Structure) -> str:
    """Return the Hermann-Mauguin symbol of a structure, or '' where it has none."""
    try:
        return str(SpacegroupAnalyzer(structure, symprec=1e-3).get_space_group_symbol())
    except (SymmetryUndeterminedError, TypeError, ValueError):
        return ""


def proposal_of(campaign: str, round_: int, rank: int, pick: Pick) -> Proposal:
    """Return the record of a pick: stored before any answer is read."""
    return Proposal(campaign, round_, rank, pick.id, pick.why.to_plain())


def calculation_of(
    structure: str, engine: Engine, recipe: Recipe, fingerprint: str, campaign: str
) -> Calculation:
    """Return the calculation that answers what a structure is worth."""
    return Calculation(
        id=calculation_id(structure, recipe.id, fingerprint),
        structure=structure,
        engine={"name": engine.name, "settings": engine.settings.model_dump(mode="json")},
        recipe={"name": recipe.name, "settings": recipe.settings.model_dump(mode="json")},
        fingerprint=fingerprint,
        campaign=campaign,
    )


def surrogate_record(
    campaign: str, number: int, learned: Learned, checkpoint: ArtefactRef
) -> SurrogateRecord:
    """Return the record of the model that a round was picked by."""
    return SurrogateRecord(
        campaign=campaign,
        round=number,
        hyperparameters=asdict(learned.model.hyperparameters),
        training_digest=learned.digest,
        training_size=len(learned.training),
        calibration=learned.calibration,
        notes=learned.notes,
        checkpoint=checkpoint,
    )


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of the whole pool: the content of a round's artefact."""

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    elements: tuple[str, ...]
    fractions: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    energy_above_hull: NDArray[np.float64] | None
    probability: NDArray[np.float64] | None

    def to_npz(self) -> bytes:
        """Return the bytes of an npz file; it holds no objects."""
        arrays: dict[str, Any] = {
            "ids": np.array(self.ids),
            "formulas": np.array(self.formulas),
            "elements": np.array(self.elements),
            "fractions": self.fractions,
            "mean": self.mean,
            "sd": self.sd,
        }
        if self.energy_above_hull is not None:
            arrays["energy_above_hull"] = self.energy_above_hull
        if self.probability is not None:
            arrays["probability"] = self.probability
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, data: bytes) -> Predictions:
        """Rebuild from :meth:`to_npz`."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(
                ids=_strings(arrays["ids"]),
                formulas=_strings(arrays["formulas"]),
                elements=_strings(arrays["elements"]),
                fractions=arrays["fractions"],
                mean=arrays["mean"],
                sd=arrays["sd"],
                energy_above_hull=arrays.get("energy_above_hull"),
                probability=arrays.get("probability"),
            )


def predictions_of(pool: Pool, outlook: Outlook) -> Predictions:
    """Return what is kept of an outlook."""
    return Predictions(
        ids=pool.ids,
        formulas=pool.formulas,
        elements=pool.elements,
        fractions=pool.fractions,
        mean=outlook.mean,
        sd=outlook.sd,
        energy_above_hull=outlook.energy_above_hull,
        probability=outlook.probability,
    )


def _strings(array: NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(str(each) for each in array)


def kept_model(
    store: Store, campaign: str, number: int, learned: Learned | None
) -> SurrogateRecord | None:
    """Keep the model of a round, and return its record; its file stands before it."""
    if learned is None:
        return None
    checkpoint = store.artefacts.put(learned.model.to_npz(), NPZ)
    return surrogate_record(campaign, number, learned, checkpoint)


def kept_predictions(store: Store, pool: Pool, outlook: Outlook | None) -> ArtefactRef | None:
    """Keep what the model of a round says of the whole pool, and return where it stands."""
    if outlook is None:
        return None
    return store.artefacts.put(predictions_of(pool, outlook).to_npz(), NPZ)
