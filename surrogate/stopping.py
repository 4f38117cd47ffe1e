"""When a search has done enough: each rule answers with its evidence, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from leadline.surrogate.missed import Missed, kept

Evidence = dict[str, float | int | None]

TRUSTED_Z = 2.0
"""Largest spread of (answer - mean) / sd, of predictions made before the answer, that is believed.

Up to it what is expected is stretched by as much; a model that is further off knows too little.
"""
TRUSTED_LABELS = 20
"""Predictions that must have been answered before their spread says anything."""


@dataclass(frozen=True)
class Verdict:
    """Whether to stop, by which rule, on what evidence.

    Parameters
    ----------
    stop
        True if the search ends here.
    rule
        ``calculations``, ``hours``, ``node_hours``, ``rounds_without_discovery``,
        ``expected_missed`` or ``pool_exhausted``; None to go on.
    evidence
        The numbers that decided.
    words
        One or two sentences for people.
    """

    stop: bool
    rule: str | None = None
    evidence: Evidence = field(default_factory=dict)
    words: str = "The search goes on."


@dataclass(frozen=True)
class Limits:
    """The rules of a campaign; None leaves a rule out.

    Parameters
    ----------
    calculations
        Calculations at most, the elements' references not counted.
    hours
        Hours of wall time at most.
    node_hours
        Node-hours of engines at most.
    rounds_without_discovery
        Rounds in a row without a new find.
    expected_missed
        Finds expected to be left among the unknown candidates.
    """

    calculations: int | None = None
    hours: float | None = None
    node_hours: float | None = None
    rounds_without_discovery: int | None = None
    expected_missed: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far a search has come.

    Parameters
    ----------
    calculations, hours, node_hours
        Spent so far.
    price
        Node-hours that another calculation may take; 0 while that is not known.
    unknown
        Candidates that can still be proposed.
    barren_rounds
        Rounds in a row that found nothing new.
    missed
        What the model expects of the unknown candidates; None before a model, or where
        nothing counts as a find.
    z_spread
        Standard deviation of (answer - mean) / sd over predictions made before
        their answers were known; None where there are too few.
    predictions
        How many such predictions there are.
    """

    calculations: int
    hours: float
    unknown: int
    barren_rounds: int
    missed: Missed | None = None
    z_spread: float | None = None
    predictions: int = 0
    node_hours: float = 0.0
    price: float = 0.0


def verdict(limits: Limits, progress: Progress) -> Verdict:
    """Return the answer of the first rule that says stop, else to go on.

    Budgets come first, then what the search itself shows.
    """
    for rule in RULES:
        answer = rule(limits, progress)
        if answer is not None:
            return answer
    words = f"The search goes on. {_left(progress)}{_not_yet(limits, progress)}"
    return Verdict(False, evidence=_evidence(progress), words=words)


def calculations_spent(limits: Limits, progress: Progress) -> Verdict | None:
    """Stop at the number of calculations asked for."""
    if limits.calculations is None or progress.calculations < limits.calculations:
        return None
    return Verdict(
        True,
        "calculations",
        {"calculations": progress.calculations, "limit": limits.calculations},
        f"The budget is spent: {progress.calculations} of {limits.calculations} calculations. "
        + _left(progress),
    )


def hours_spent(limits: Limits, progress: Progress) -> Verdict | None:
    """Stop at the wall time asked for."""
    if limits.hours is None or progress.hours < limits.hours:
        return None
    return Verdict(
        True,
        "hours",
        {"hours": progress.hours, "limit": limits.hours},
        f"The time is spent: {progress.hours:.2f} of {limits.hours:g} hours. " + _left(progress),
    )


def node_hours_spent(limits: Limits, progress: Progress) -> Verdict | None:
    """Stop where another calculation would not fit into the node-hours asked for."""
    limit, spent = limits.node_hours, progress.node_hours
    if limit is None or (spent < limit and spent + progress.price <= limit):
        return None
    more = f", and another may take {progress.price:.3g}" if spent < limit else ""
    return Verdict(
        True,
        "node_hours",
        {"node_hours": spent, "limit": limit, "price": progress.price},
        f"The budget is spent: {spent:.3g} of {limit:g} node-hours{more}. " + _left(progress),
    )


def pool_exhausted(limits: Limits, progress: Progress) -> Verdict | None:
    """Stop when there is nothing left to propose."""
    if progress.unknown:
        return None
    return Verdict(
        True,
        "pool_exhausted",
        {"unknown": 0, "calculations": progress.calculations},
        "Every candidate of the pool is known, failed, vetoed or excluded: nothing is left to "
        "propose.",
    )


def barren(limits: Limits, progress: Progress) -> Verdict | None:
    """Stop after a number of rounds in a row without a new find."""
    limit = limits.rounds_without_discovery
    if limit is None or progress.barren_rounds < limit:
        return None
    return Verdict(
        True,
        "rounds_without_discovery",
        {"barren_rounds": progress.barren_rounds, "limit": limit},
        f"The last {_rounds(progress.barren_rounds)} found nothing new. " + _left(progress),
    )


def few_missed(limits: Limits, progress: Progress) -> Verdict | None:
    """Stop when few finds are expected to be left, if the model's spread can be believed."""
    limit, missed = limits.expected_missed, progress.missed
    if limit is None or missed is None or missed.expected >= limit or not trusted(progress):
        return None
    return Verdict(
        True,
        "expected_missed",
        {
            "limit": limit,
            **kept(missed),
            "z_spread": progress.z_spread,
            "predictions": progress.predictions,
        },
        f"The model expects {missed.expected:.2f} finds among the {progress.unknown} candidates "
        f"not calculated, fewer than the {limit:g} asked for; that none is missed has a "
        f"probability of {missed.none:.2f}. Its {progress.predictions} predictions made before "
        f"the answers were off by {progress.z_spread:.2f} times their stated spread, "
        "which both numbers allow for.",
    )


def trusted(progress: Progress) -> bool:
    """Tell whether the model's own uncertainty has been borne out by enough answers."""
    return (
        progress.predictions >= TRUSTED_LABELS
        and progress.z_spread is not None
        and progress.z_spread <= TRUSTED_Z
    )


RULES: Iterable[Callable[[Limits, Progress], Verdict | None]] = (
    calculations_spent,
    hours_spent,
    node_hours_spent,
    pool_exhausted,
    barren,
    few_missed,
)


def _rounds(number: int) -> str:
    return "round" if number == 1 else f"{number} rounds"


def _left(progress: Progress) -> str:
    if progress.missed is None:
        return "How many finds are left is not known."
    doubt = "" if trusted(progress) else ", though its spread is not borne out yet"
    return (
        f"The model expects {progress.missed.expected:.2f} finds among the {progress.unknown} "
        f"candidates not calculated{doubt}; that none is missed has a probability of "
        f"{progress.missed.none:.2f}."
    )


def _not_yet(limits: Limits, progress: Progress) -> str:
    """Return why the evidence does not end the search, where a rule asks for it; or ''."""
    limit, missed = limits.expected_missed, progress.missed
    if limit is None or missed is None:
        return ""
    if missed.expected >= limit:
        return f" It ends by that once fewer than {limit:g} are expected."
    if progress.predictions < TRUSTED_LABELS or progress.z_spread is None:
        return (
            f" That is fewer than the {limit:g} asked for, and counts once {TRUSTED_LABELS} "
            f"predictions were answered; {progress.predictions} are."
        )
    return (
        f" That is fewer than the {limit:g} asked for, and does not count: predictions were off "
        f"by {progress.z_spread:.2f} times their stated spread; up to {TRUSTED_Z:g} is believed."
    )


def _evidence(progress: Progress) -> Evidence:
    return {
        "calculations": progress.calculations,
        "hours": progress.hours,
        "unknown": progress.unknown,
        "barren_rounds": progress.barren_rounds,
        **kept(progress.missed),
        "z_spread": progress.z_spread,
        "predictions": progress.predictions,
    }
