"""What a batch job asks for: the profile's resources, or less where a prediction is trusted.

Never more than the profile gives and never less than the least that was asked for. What ran
out of time or memory with less than the profile gives asks for twice as much, then for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leadline.tasks.compute.estimates import MARGIN, Estimates
from leadline.tasks.compute.queue_settings import Resources
from leadline.tasks.report.formatting import duration, size
from leadline.tasks.store.records import Attempt

AGAIN = 2.0
"""Factor on what was not enough."""
OWN_MEMORY = 4e8
"""Bytes of the processes around an engine: worker, nursery and guardian."""
WHOLE_WALLTIME, WHOLE_MEMORY = 60.0, 1e8
"""Seconds and bytes in whole numbers of which a job asks."""
UNCLEAR = frozenset({"engine-exit", "engine-killed", "killed", "worker-lost"})
"""Reasons of failures behind which a limit may stand that nobody named."""
OUT_OF = {"walltime": frozenset({"walltime"}), "memory": frozenset({"out-of-memory"})}
"""Reasons of failures by what was too little."""


@dataclass(frozen=True)
class Rule:
    """How a request follows what is predicted.

    Parameters
    ----------
    margin
        Factor on the prediction.
    after
        Finished calculations from which a prediction is trusted.
    least
        What a calculation is given at least: seconds or bytes.
    """

    margin: float
    after: int
    least: float


@dataclass(frozen=True)
class RightSizing:
    """The rules of a campaign; None asks for what the profile gives."""

    walltime: Rule | None = None
    memory: Rule | None = None


@dataclass(frozen=True)
class Need:
    """What a calculation is thought to need.

    Parameters
    ----------
    seconds
        In its engine, for plans: a job that has less left is no place for it.
    walltime, memory
        Seconds in its engine, and bytes, that its job is to ask for; None asks for all
        that the profile gives.
    predicted
        What was predicted, before any margin: ``seconds`` and ``memory``, where known.
    """

    seconds: float = 0.0
    walltime: float | None = None
    memory: float | None = None
    predicted: Mapping[str, float] = field(default_factory=dict)

    def within(self, full: Resources, stop: float, several: int = 1) -> Resources:
        """Return the resources of a job: no more than ``full``.

        Parameters
        ----------
        full
            The profile's.
        stop
            Seconds before the end of a job at which its engine is ended.
        several
            Calculations that the job is to hold, one after the other.
        """
        walltime, memory = full.walltime, full.memory
        if self.walltime is not None:
            asked = _whole(several * self.walltime + stop, WHOLE_WALLTIME)
            walltime = min(walltime, max(asked, _whole(2 * stop + 1, WHOLE_WALLTIME)))
        if self.memory is not None:
            memory = min(memory, _whole(self.memory + OWN_MEMORY, WHOLE_MEMORY))
        return full.model_copy(update={"walltime": walltime, "memory": memory})

    def asked(self, resources: Resources, full: Resources) -> dict[str, float]:
        """Return what a job asked for as an attempt's record has it.

        ``walltime`` (s) and ``memory`` (bytes of a node), what the profile gives at most
        (``most_…``), and what was predicted (``predicted_…``).
        """
        return {
            "walltime": resources.walltime,
            "memory": resources.memory,
            "most_walltime": full.walltime,
            "most_memory": full.memory,
            **{f"predicted_{name}": value for name, value in self.predicted.items()},
        }


ANY = Need()
"""Of a calculation of which nothing is known."""


def largest(needs: Sequence[Need]) -> Need:
    """Return the need of a job in which any of several calculations may run."""
    walltimes = [each.walltime for each in needs if each.walltime is not None]
    memories = [each.memory for each in needs if each.memory is not None]
    return Need(
        max((each.seconds for each in needs), default=0.0),
        max(walltimes) if needs and len(walltimes) == len(needs) else None,
        max(memories) if needs and len(memories) == len(needs) else None,
    )


def need_of(
    rules: RightSizing,
    estimates: Estimates,
    cell: float,
    cores: int,
    attempts: Sequence[Attempt] = (),
) -> Need:
    """Return what a calculation needs, by those that have ended and by its own attempts.

    Parameters
    ----------
    rules, estimates
        The campaign's, and what is known of calculations like it.
    cell, cores
        Its size, as estimates count it, and the cores that it gets.
    attempts
        Those that have ended.
    """
    seconds, memory = estimates.seconds(cell, cores), estimates.memory(cell, cores)
    known = {"seconds": seconds, "memory": memory}
    trusted = estimates.count(cores)
    took = [_seconds_had(each) for each in attempts if _reason(each) in OUT_OF["walltime"]]
    return Need(
        max([MARGIN * seconds, *(AGAIN * each for each in took)]),
        _following(rules.walltime, seconds, trusted, [
            _seconds_had(each) for each in attempts if ran_short(each, "walltime")
        ]),
        _following(rules.memory, memory, trusted, [
            each.asked["memory"] for each in attempts if ran_short(each, "memory")
        ]),
        {name: value for name, value in known.items() if value},
    )  # fmt: skip


def ran_short(attempt: Attempt, what: str) -> bool:
    """Tell whether ``walltime`` or ``memory`` was less than all, and too little or perhaps so."""
    asked = attempt.asked
    short = what in asked and asked[what] < asked[f"most_{what}"]
    return short and _reason(attempt) in OUT_OF[what] | UNCLEAR


def is_own_doing(attempt: Attempt) -> bool:
    """Tell whether an attempt was lost to a request that was less than the profile gives."""
    return any(
        ran_short(attempt, what) and _reason(attempt) in reasons for what, reasons in OUT_OF.items()
    )


def more_in_words(attempt: Attempt) -> str:
    """Return what the attempt after this one asks more of, and why; or nothing."""
    short = [what for what in OUT_OF if ran_short(attempt, what)]
    named = [what for what in short if _reason(attempt) in OUT_OF[what]] or short
    if not named:
        return ""
    more = f"again with more {' and '.join(named)}, after {_reason(attempt)}"
    return f"{more}: {asked_in_words(attempt)}"


def asked_in_words(attempt: Attempt) -> str:
    """Return what was asked for an attempt, predicted, and used."""
    asked, wall, memory = attempt.asked, attempt.times.get("wall"), attempt.used.get("memory")
    parts = {
        "asked for": (asked.get("walltime"), asked.get("memory")),
        "predicted": (asked.get("predicted_seconds"), asked.get("predicted_memory")),
        "used": (wall, memory),
    }
    said = {name: _pair(*numbers) for name, numbers in parts.items()}
    return ", ".join(f"{name} {words}" for name, words in said.items() if words)


def _pair(seconds: float | None, memory: float | None) -> str:
    known = [*([duration(seconds)] if seconds else []), *([size(memory)] if memory else [])]
    return " and ".join(known)


def _following(
    rule: Rule | None, predicted: float, trusted: int, short: Sequence[float]
) -> float | None:
    """Return what to ask for by a rule; None for all that there is."""
    if rule is None or not predicted or trusted < rule.after or len(short) > 1:
        return None
    return max([rule.margin * predicted, rule.least, *(AGAIN * each for each in short)])


def _seconds_had(attempt: Attempt) -> float:
    """Return the seconds that an attempt had at least."""
    return float(attempt.times.get("wall") or attempt.asked.get("walltime", 0.0))


def _reason(attempt: Attempt) -> str:
    return str(attempt.failure["reason"]) if attempt.failure else ""


def _whole(number: float, unit: float) -> float:
    return math.ceil(round(number / unit, 6)) * unit
