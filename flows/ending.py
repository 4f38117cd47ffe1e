"""How a run of a campaign ends: the state that is left, and the summary of it."""

from __future__ import annotations

from leadline.flows.summary import CampaignSummary, FoundPhase, RunEnd
from leadline.surrogate.chance import expected_random_draws
from leadline.surrogate.stopping import Verdict
from leadline.tasks.answers import Answer
from leadline.tasks.assess import Assessment
from leadline.tasks.notebook import Notebook
from leadline.tasks.problem import HullProblem, Problem, PropertyProblem
from leadline.tasks.store.records import CalculationState

ON_HULL = 1e-6


def found_phases(assessment: Assessment, book: Notebook) -> tuple[FoundPhase, ...]:
    """Return the finds as a person reads them."""
    nth = book.nth()
    return tuple(
        FoundPhase(
            formula=find.answer.formula,
            structure=find.answer.structure,
            space_group=find.answer.space_group,
            value=find.value,
            energy_above_hull=find.energy_above_hull,
            nth=nth.get(find.answer.structure, 0),
            changed=find.answer.changed,
        )
        for find in assessment.finds
    )


def on_hull(assessment: Assessment, book: Notebook) -> tuple[Answer, ...]:
    """Return the answers that stand on the hull, elements included."""
    return tuple(
        each
        for each in book.answers
        if assessment.above_hull.get(each.structure, 1.0) <= ON_HULL and each.final is not None
    )


def summary_of(
    name: str,
    book: Notebook,
    assessment: Assessment,
    verdict: Verdict,
    *,
    state: str,
    reason: str,
    pool: int,
    waiting: dict[str, str],
    problem: Problem,
    end: RunEnd,
) -> CampaignSummary:
    """Return what a run came to."""
    found = found_phases(assessment, book)
    counted = sum(each.nth > 0 for each in found)
    return CampaignSummary(
        name=name,
        state=state,
        reason=reason,
        found=found,
        computed=book.count(CalculationState.DONE),
        pool=pool,
        random_expected=expected_random_draws(pool, counted, counted) if counted else None,
        hull=on_hull(assessment, book),
        failed=book.count(CalculationState.QUARANTINED),
        free=book.free,
        waiting=waiting,
        verdict={"stop": verdict.stop, "rule": verdict.rule, "evidence": dict(verdict.evidence)},
        nothing_found="" if found else why_nothing(assessment, book, problem),
        end=end,
    )


def why_nothing(assessment: Assessment, book: Notebook, problem: Problem) -> str:
    """Return the likely reason why nothing counts as a find, as the end of a sentence."""
    values, above = assessment.values, assessment.above_hull
    known = [each for each in book.answers if each.structure in values]
    if isinstance(problem, HullProblem):
        known = [each for each in known if not each.element]
    if not known:
        return "no calculation of a candidate has an answer that can be judged"
    if isinstance(problem, PropertyProblem):
        best = min(known, key=lambda each: problem.aim.distance(values[each.structure]))
        return (
            f"what counts as found is {problem.criterion}, and the best, {best.formula}, has "
            f"{values[best.structure]:.6g}"
        )
    lowest = min(known, key=lambda each: above[each.structure])
    unbound = all(values[each.structure] >= 0 for each in known)
    sign = "no candidate that was computed has a negative formation energy; " if unbound else ""
    return (
        f"{sign}the lowest, {lowest.formula}, is {above[lowest.structure] * 1e3:.1f} meV/atom "
        f"above the hull, and up to {problem.tolerance * 1e3:g} counts as found"
    )
