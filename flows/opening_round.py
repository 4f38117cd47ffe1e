"""Round 0: what formation energies are measured from; it counts against no budget."""

from __future__ import annotations

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from leadline.flows.bench import Bench
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_objective import ComputedReferences, HullObjective
from leadline.surrogate.candidate import Candidate
from leadline.surrogate.explain import without_model
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.notebook import Notebook
from leadline.tasks.problem import HullProblem, Problem
from leadline.tasks.propose import Pick
from leadline.tasks.recording import structure_record
from leadline.tasks.references import reference_structures
from leadline.tasks.remedies import changed_words
from leadline.tasks.store.records import Calculation, CalculationState, StructureRecord
from leadline.tasks.structures import structure_id


def reference_picks(bench: Bench) -> tuple[list[Pick], list[StructureRecord]]:
    """Return the picks of the first round and their structures: the elements' phases."""
    found = reference_candidates(bench.spec, bench.file, magnetic=bench.engine.magnetic)
    picks = [
        Pick(bench.rows.get(each.id, -1), each.id, without_model("reference")) for each in found
    ]
    return picks, [structure_record(each) for each in found]


def reference_candidates(spec: CampaignSpec, file: PoolFile, *, magnetic: bool) -> list[Candidate]:
    """Return the elements' phases to compute before the first pick.

    The phases named in ``objective.references.phases``, or each element's structure
    at room temperature; where the pool holds the same crystal, the pool's own cell
    stands for it. An engine that answers from a data set has the pool's alone.
    ``magnetic`` starts Fe, Co and Ni from ferromagnetic moments.
    """
    objective = spec.objective
    if not isinstance(objective, HullObjective):
        return []
    references = objective.references
    if not isinstance(references, ComputedReferences):
        return []
    own = file.some([file.ids[row] for row in np.flatnonzero(file.fractions.max(axis=1) == 1.0)])
    if spec.engine.name == "replay":
        return own
    found: dict[str, Candidate] = {}
    for element in file.elements:
        phases = references.phases.get(element, ())
        for name, structure in reference_structures(element, phases, magnetic=magnetic):
            alone = Candidate(
                structure_id(structure),
                structure,
                {"source": "reference", "element": element, "phase": name},
            )
            found |= {each.id: each for each in _in_pool(structure, own) or [alone]}
    return list(found.values())


def no_ground(campaign: str, book: Notebook, problem: Problem) -> str:
    """Say which element has no energy although all of its references ended; or ''.

    Formation energies then mean nothing, and every further calculation is spent blindly.
    """
    lost: dict[str, Calculation] = {}
    for each in book.proposals if isinstance(problem, HullProblem) else ():
        record = book.deciding(each)
        element = book.structures[each.structure].chemical_system
        if each.why["share"] != "reference" or book.answers.lowest(element):
            continue
        if record is None or record.state is not CalculationState.QUARANTINED:
            return ""  # it is still to come
        lost[element] = record
    return next((_without(element, campaign, record) for element, record in lost.items()), "")


def _without(element: str, campaign: str, record: Calculation) -> str:
    failure = record.failure or {"reason": "quarantined", "message": ""}
    return (
        f"no energy of {element} came out, and without it nothing has a formation energy: "
        f"{failure['reason']}: {failure['message']}. {_remedy(record)}"
        f"Look at it with `leadline show {campaign} {element}`; send it back with "
        f"`leadline reconcile {campaign} --retry {record.id[:12]}`, or name "
        "other phases under objective.references.phases"
    )


def _remedy(record: Calculation) -> str:
    """Say that other physics may help, where no such calculation was tried yet; or ''."""
    if record.remedy is None or record.remedy_of is not None:
        return ""
    return f"With {changed_words(record)} it may converge: set that for all under engine. "


def _in_pool(structure: Structure, own: list[Candidate]) -> list[Candidate]:
    """Return the pool's cell of a crystal, in all its magnetic orderings: the lowest counts."""
    matcher = StructureMatcher(scale=True)
    same = [
        each
        for each in own
        if isinstance(each.material, Structure) and matcher.fit(structure, each.material)
    ]
    ordered = [each for each in same if "magnetic_ordering" in each.provenance]
    return ordered or same[:1]
