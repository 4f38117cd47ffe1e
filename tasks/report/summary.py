"""The few sentences and tables that say how a campaign went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leadline.tasks.report.chance import expected_calculations
from leadline.tasks.report.formatting import (
    count,
    counted,
    duration,
    fixed,
    mev,
    percent,
    size,
    tolerance,
)
from leadline.tasks.report.view import ON_HULL, CampaignView
from leadline.tasks.requested import Requested

CONDITION = (
    "Expected of random draws without replacement (hypergeometric), on the condition that "
    "these finds are all there are and that each is one candidate of the pool."
)
LEDGER_WORDS = {
    "engine": "engine",
    "remedies": "remedies apart",
    "references": "references",
    "queue": "waiting",
    "learning": "learning",
    "proposing": "proposing",
    "store": "record keeping",
}


def finds(view: CampaignView) -> str:
    """Return what was found, in a few words."""
    number = len(view.phases)
    if view.objective.kind == "property":
        return f"{counted(number, 'candidate')} found"
    return f"{counted(number, 'phase')} found"


def finds_detail(view: CampaignView) -> str:
    """Return what the finds have in common, in a few words."""
    objective = view.objective
    if objective.kind == "hull":
        on_hull = sum((phase.energy_above_hull or 0.0) <= ON_HULL for phase in view.phases)
        if on_hull == len(view.phases):
            return "on the hull" if on_hull == 1 else "all on the hull"
        return f"{on_hull} on the hull, the rest within {tolerance(objective.tolerance)} of it"
    sought = objective.sought
    if sought is None or sought.reach is None:
        several = "" if sought is None or sought.best == 1 else f"the {sought.best} "
        if sought is None or sought.target is None:
            return f"{several}best {objective.quantity}"
        near = objective.with_unit(fixed(sought.target))
        return f"{several}{objective.quantity} nearest to {near}"
    edges = " to ".join(fixed(edge) for edge in sought.marks[1])
    side = "at most" if sought.direction == "minimise" else "at least"
    return f"{objective.quantity} {'from' if sought.window else side} {objective.with_unit(edges)}"


def computed(view: CampaignView) -> str:
    """Return how much of the pool was computed."""
    return f"{count(view.computed)} of {count(view.pool_size)}"


def last_find(view: CampaignView) -> int:
    """Return the number of calculations at the last find, 0 before the first."""
    return max((phase.nth for phase in view.found), default=0)


def random_need(view: CampaignView) -> float | None:
    """Return the calculations that a random search is expected to need for the same finds.

    None where nothing was found by calculating, or where more was found than the pool holds.
    """
    number = len(view.found)
    if not 0 < number <= view.pool_size:
        return None
    return expected_calculations(view.pool_size, number)


def saved(view: CampaignView) -> float | None:
    """Return the calculations saved beside the random expectation, never less than none.

    All that was computed is counted, also what came after the last find.
    """
    need = random_need(view)
    return None if need is None else max(need - view.computed, 0.0)


def headline(view: CampaignView) -> str:
    """Return the campaign in one sentence."""
    if not view.computed:
        return f"No candidate of {count(view.pool_size)} is computed yet."
    said = f"{finds(view)} with {computed(view)} candidates computed."
    need = random_need(view)
    if need is None:
        return said
    return f"{said} A random search would need about {count(need)} for the same finds."


def sentence(words: str) -> str:
    """Return words as a sentence: a capital first, a full stop last."""
    said = words[:1].upper() + words[1:]
    return said if not said or said.endswith((".", "!", "?")) else said + "."


def why(view: CampaignView) -> str:
    """Return why the campaign stopped, rests, or goes on."""
    if view.verdict is not None:
        return sentence(view.verdict.words)
    if view.reason:
        return sentence(view.reason)
    going = {"new": "It has not started.", "running": "It is running."}
    return going.get(view.state, f"It is {view.state}.")


def in_flight(view: CampaignView) -> str:
    """Return what is not finished and what failed, "" where nothing is."""
    numbers = {
        "running": view.running,
        "waiting": view.waiting,
        "failed": view.failed,
        "quarantined": view.quarantined,
    }
    return ", ".join(f"{count(number)} {word}" for word, number in numbers.items() if number)


def energy_words(view: CampaignView, value: float | None) -> str:
    """Return an error or a width with its unit: small energies in meV/atom."""
    if view.objective.unit == "eV/atom":
        return f"{mev(value)} meV/atom"
    return view.objective.with_unit(fixed(value))


def calibration_rows(view: CampaignView) -> list[tuple[str, str, str]]:
    """Return the calibration as (name, number with its unit, what would be ideal)."""
    widths = {
        "rmse": "root mean square error",
        "mae": "mean absolute error",
        "sharpness": "mean predicted sd",
        "crps": "continuous ranked probability score",
    }
    shares = {"coverage_50": "answers within the 50 % interval, 50 %",
              "coverage_95": "answers within the 95 % interval, 95 %"}  # fmt: skip
    plain = {
        "z_std": "spread of error over predicted sd, 1",
        "nll": "negative log likelihood, lower",
        "miscalibration_area": "miscalibration area, 0",
        "error_sd_rank_correlation": "rank correlation of error and sd, over 0",
    }
    known = {name: value for name, value in view.calibration.items() if value is not None}
    rows = [(words, energy_words(view, known[name]), "small") for name, words in widths.items()
            if name in known]  # fmt: skip
    for table, spell in ((shares, percent), (plain, fixed)):
        for name, words in table.items():
            if name in known:
                label, _, ideal = words.rpartition(", ")
                rows.append((label, spell(known[name]), ideal))
    return rows


def ledger_rows(view: CampaignView) -> list[tuple[str, float, str]]:
    """Return where the time went as (words, seconds, time as people read it)."""
    known = {**dict.fromkeys(LEDGER_WORDS, 0.0), **view.ledger.seconds}
    return [
        (LEDGER_WORDS.get(name, name), seconds, duration(seconds))
        for name, seconds in known.items()
        if seconds > 0
    ]


def use_words(view: CampaignView) -> str:
    """Return how busy the workers were."""
    use = view.ledger.use
    if use is None:
        return ""
    return (
        f"Workers computed {percent(use.busy)} of the time from the first start to the last; "
        f"{percent(use.starting)} of it they waited for what was picked to start, and "
        f"{percent(use.unpicked)} for a pick. Then the last ones ran for {duration(use.drain)}."
    )


def request_words(asked: Requested | None) -> str:
    """Return what batch jobs asked for, and what their calculations used of it."""
    if asked is None:
        return ""
    jobs = "A batch job" if asked.jobs == 1 else f"{count(asked.jobs)} batch jobs"
    said = (
        f"{jobs} asked for {duration(asked.walltime)}, of which engines ran for "
        f"{duration(asked.used_walltime)} ({percent(asked.used_walltime / asked.walltime)})"
    )
    if asked.memory is None or asked.used_memory is None:
        return said + "."
    share = percent(asked.used_memory / asked.memory)
    each = "" if asked.jobs == 1 else " on average"
    return (
        f"{said}, and for {size(asked.memory)}{each}, of which {size(asked.used_memory)} ({share})."
    )


def saved_words(view: CampaignView) -> str:
    """Return the calculations, and the engine time, that the campaign saved."""
    number = saved(view)
    if number is None:
        return ""
    engine = view.ledger.seconds.get("engine", 0.0)
    said = f"about {counted(round(number), 'calculation')}"
    if not view.computed or not engine:
        return said
    return f"{said}, or {duration(number * engine / view.computed)} of engine time"


def evidence_rows(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the evidence of a verdict as words and values."""
    return [(name.replace("_", " "), _plain(value)) for name, value in evidence.items()]


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value[:20]) or "none"
    return str(value)[:500]
