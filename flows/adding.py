"""A pick that a person asks for by id or formula, with what the model says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pymatgen.core import Composition

from leadline.surrogate.explain import Why
from leadline.tasks.errors import InputError
from leadline.tasks.problem import PropertyProblem
from leadline.tasks.propose import Pick
from leadline.tasks.recording import structure_record
from leadline.tasks.store.records import ProposalState, StructureRecord

if TYPE_CHECKING:
    from leadline.flows.loop import Loop

SHORTEST = 4
"""Characters of an id at least."""


def added_pick(loop: Loop, words: str, verdict: Mapping[str, Any]) -> tuple[Pick, StructureRecord]:
    """Return the candidate that a person means, as a pick.

    Parameters
    ----------
    loop, words
        The campaign; start of an id of its pool, or a formula: then the candidate of that
        formula that the model likes best, of those that were not picked.
    verdict
        Who asks, and why.

    Raises
    ------
    InputError
        If no candidate is meant, more than one, or one that was picked before.
    """
    row = _row(loop, words)
    id_ = loop.bench.pool.ids[row]
    candidate = loop.bench.file.candidate(id_)
    return Pick(row, id_, _why(loop, row, verdict)), structure_record(candidate)


def _row(loop: Loop, words: str) -> int:
    pool, taken = loop.bench.pool, _taken(loop)
    by_id = [row for row, each in enumerate(pool.ids) if each.startswith(words)]
    if len(words) >= SHORTEST and by_id:
        if len(by_id) > 1:
            raise InputError(f"{words} begins the ids of {len(by_id)} candidates; write more of it")
        if pool.ids[by_id[0]] in taken:
            raise InputError(f"{pool.formulas[by_id[0]]} {words} was picked already")
        return by_id[0]
    formula = _reduced(words)
    rows = [row for row, each in enumerate(pool.formulas) if each == formula]
    free = [row for row in rows if pool.ids[row] not in taken]
    if not free:
        found = f"all {len(rows)} of {words} were picked already" if rows else "none is"
        raise InputError(f"no candidate can be added as {words!r}: by id or formula {found}")
    return min(free, key=lambda row: _promise(loop, row))


def _taken(loop: Loop) -> set[str]:
    """Structures that are picked; what was vetoed a person may ask for after all."""
    picked = (each for each in loop.book.proposals if each.state is not ProposalState.VETOED)
    return {each.structure for each in picked}


def _promise(loop: Loop, row: int) -> float:
    """Return what the model says of a candidate: lower is better; its row without a model."""
    outlook, problem = loop.outlook, loop.bench.problem
    if outlook is None:
        return float(row)
    if isinstance(problem, PropertyProblem):
        return float(problem.aim.distance(outlook.mean[row]))
    return float(
        outlook.mean[row] if outlook.energy_above_hull is None else (outlook.energy_above_hull[row])
    )


def _why(loop: Loop, row: int, verdict: Mapping[str, Any]) -> Why:
    because = f": {verdict['why']}" if verdict["why"] else ""
    words = f"Picked because: {verdict['by']} asked for it{because}."
    outlook = loop.outlook
    if outlook is None:
        return Why("person", words)
    above = outlook.energy_above_hull
    return Why(
        "person",
        words,
        mean=float(outlook.mean[row]),
        sd=float(outlook.sd[row]),
        energy_above_hull=None if above is None else float(above[row]),
        stable_probability=float(outlook.probability[row]),
    )


def _reduced(words: str) -> str:
    """Return a formula as the pool has it, in whatever order or multiple it was written."""
    try:
        return str(Composition(words).reduced_formula)
    except ValueError:  # no formula
        return words
