"""What a run writes into Prefect's log: the lines of a lab book.

A round is opened with what was picked and why; each result stands with what it means
for what is known; the round is closed with how well the model predicted. An engine
faster than any reader gets a line now and then, with the number of those left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from leadline.tasks.answers import Answer
from leadline.tasks.report.formatting import counted, fixed, formula
from leadline.tasks.store.records import Proposal, Round, StructureRecord

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

AT_ONCE = 300
"""Lines that may be left out, and yet are written one after the other."""
PER_S = 0.2
"""Such lines a second in the long run."""
MOST_REASONS = 5
"""Reasons of a round that are written out, and picks named with each."""


class LabBook:
    """Writes a run's lines, no more of them than somebody could want to read."""

    def __init__(self, logger: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._clock = logger, clock
        self._allowed, self._since, self._left_out = float(AT_ONCE), clock(), 0

    def write(self, line: str) -> None:
        """Write a line that must be there."""
        if self._left_out:
            self._logger.info("(%s left out)", counted(self._left_out, "line"))
            self._left_out = 0
        self._logger.info("%s", line)

    def jot(self, line: str) -> None:
        """Write a line that is left out where such lines come too fast."""
        now = self._clock()
        self._allowed = min(self._allowed + PER_S * (now - self._since), AT_ONCE)
        self._since = now
        if self._allowed < 1:
            self._left_out += 1
            return
        self._allowed -= 1
        self.write(line)


def opening(
    number: int, picks: Sequence[Proposal], structures: Mapping[str, StructureRecord]
) -> str:
    """Return what a round is opened with: its picks, and why they were chosen."""
    reasons: dict[str, list[str]] = {}
    for each in picks:
        raw = structures[each.structure].formula
        reason = str(each.why["words"]).removeprefix(f"{raw} is ")
        reasons.setdefault(reason, []).append(named(raw, each.structure))
    lines = [f"Round {number} opens with {counted(len(picks), 'pick')}."]
    for reason, names in list(reasons.items())[:MOST_REASONS]:
        left = len(names) - MOST_REASONS
        rest = f" and {left} more" if left > 0 else ""
        lines.append(f"  {', '.join(names[:MOST_REASONS])}{rest}: {reason}")
    if len(reasons) > MOST_REASONS:
        lines.append(f"  and {len(reasons) - MOST_REASONS} more, in the report.")
    return "\n".join(lines)


def result(answer: Answer, meaning: str, why: Mapping[str, Any]) -> str:
    """Return the line of an answer: its value, what it means, and what was predicted."""
    said = f"{named(answer.formula, answer.structure)}: {meaning}"
    if why.get("mean") is not None:
        said += f" (predicted {fixed(why['mean'], 4)} ± {fixed(why['sd'], 4)})"
    return said + "."


def closing(round_: Round, budget: int | None) -> str:
    """Return what a round is closed with: how far it came, and how well was predicted."""
    counts, metrics = round_.counts, round_.metrics
    of = f" of {budget:,}" if budget else ""
    said = [f"{counts['ended']:,}{of} calculations", counted(counts["found"], "find")]
    if counts["quarantined"]:
        said.append(f"{counts['quarantined']:,} in quarantine")
    if (missed := metrics.get("expected_missed")) is not None:
        said.append(f"about {missed:.1f} more expected")
    words = f"Round {round_.number} is closed: {', '.join(said)}."
    if (spread := metrics.get("z_std")) is not None:
        made = counted(int(metrics.get("count") or 0), "prediction")
        words += f" {made} so far, off by {spread:.2f} times their stated spread."
    return words


def named(raw: str, structure: str) -> str:
    """Return how a structure is called in a line: by formula, and the start of its id."""
    return f"{formula(raw)} {structure[:8]}"
