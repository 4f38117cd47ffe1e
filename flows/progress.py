"""How far a campaign has come, for a person: one calm panel, or plain lines.

On a terminal a panel is redrawn in place and notes scroll above it. Elsewhere (a file,
a batch job, CI) the same is said in plain lines, few enough to be read.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.text import Text

from leadline.flows.progress_lines import Lines
from leadline.flows.progress_panel import Panel
from leadline.tasks.report.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leadline.tasks.assess import Find
    from leadline.tasks.store.records import Proposal


@dataclass(frozen=True)
class Progress:
    """A campaign at one moment.

    Parameters
    ----------
    campaign
        Its name.
    message
        What happens now, e.g. ``learning``.
    round
        Number of the round; the elements are round 0.
    pool
        How many candidates there are.
    spent, budget
        Calculations that count, and how many are allowed (None: no limit).
    running, done, failed, quarantined, cut
        Calculations by state; ``failed`` and ``cut`` are those that will run again.
    review
        Picks that wait for a person.
    best
        The best so far, in words with units.
    found
        Formulas of the phases (or finds) so far.
    finds_left
        How many more are expected; None while nothing is known about that.
    elapsed, time_limit
        Seconds.
    prefect, dask
        Addresses to open in a browser; empty where there is none.
    """

    campaign: str
    message: str = ""
    round: int = 0
    pool: int = 0
    spent: int = 0
    budget: int | None = None
    running: int = 0
    done: int = 0
    failed: int = 0
    quarantined: int = 0
    cut: int = 0
    review: int = 0
    best: str = ""
    found: tuple[str, ...] = ()
    finds_left: float | None = None
    elapsed: float = 0.0
    time_limit: float | None = None
    prefect: str = ""
    dask: str = ""

    @property
    def limit(self) -> int:
        """Calculations that this campaign can come to: its budget, or its pool."""
        return min(self.budget or self.pool, self.pool or self.budget or 0)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Calculations by state; what goes well always, trouble only where there is any."""
        always = [("running", self.running), ("done", self.done), ("failed", self.failed)]
        trouble = [("quarantined", self.quarantined), ("cut", self.cut)]
        return always + [each for each in trouble if each[1]]

    @property
    def review_words(self) -> str:
        """What a person is asked for, and how to answer; '' where nothing waits."""
        if not self.review:
            return ""
        verb = "waits" if self.review == 1 else "wait"
        return f"{counted(self.review, 'pick')} {verb}: leadline review {self.campaign}"

    @property
    def left_words(self) -> str:
        """The expected number of finds left, in words."""
        if self.finds_left is None:
            return "how many are left is not known yet"
        about = f"about {self.finds_left:.1f}" if self.finds_left >= 0.05 else "fewer than 0.1"
        return f"{about} more expected"

    @property
    def time_words(self) -> str:
        """Time gone, and allowed."""
        limit = f" of {duration(self.time_limit)}" if self.time_limit else ""
        return duration(self.elapsed) + limit


class ProgressDisplay:
    """Context that shows a campaign while it runs.

    Parameters
    ----------
    stream
        Where to show it, the standard output by default: a panel if it is a
        terminal that knows UTF-8, plain lines if not.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.live = _can_hold_a_panel(self._stream)
        self._display: Panel | Lines = Panel(self._stream) if self.live else Lines(self._stream)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self._display)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def show(self, snapshot: Progress) -> None:
        """Show the campaign as it is now."""
        self._display.show(snapshot)

    def opened(self, line: str) -> None:
        """Say that a round begins."""
        self._display.opened(line)

    def note(self, line: str) -> None:
        """Say something that stays on the screen."""
        self._display.note(" ".join(Text.from_ansi(line).plain.split()))


def _can_hold_a_panel(stream: TextIO) -> bool:
    # Not by rich's word alone: with FORCE_COLOR, which CI sets, it takes a file for a terminal.
    console = Console(file=stream)
    return stream.isatty() and not console.is_dumb_terminal and not console.options.ascii_only


def best_words(finds: Sequence[Find]) -> str:
    """Return the best of a property's finds, or the deepest phase; empty where there is none."""
    if not finds:
        return ""
    if finds[0].energy_above_hull is None:  # of a property, the best one comes first
        return f"{name_of(finds[0])} {finds[0].value:.4g}"
    deepest = min(finds, key=lambda find: find.value)
    return f"{name_of(deepest)} {deepest.value:.4g} eV/atom"


def name_of(find: Find) -> str:
    """Return a formula, with a mark where a remedy changed the physics."""
    return find.answer.formula + ("*" if find.answer.changed else "")


def opening_words(number: int, picks: Sequence[Proposal]) -> str:
    """Return what is said of a round that begins."""
    kinds = {"reference": "element", "known": "imported result"}
    what = kinds.get(str(picks[0].why["share"]), "pick")
    return f"round {number} begins with {counted(len(picks), what)}"


def duration(seconds: float) -> str:
    """Return a length of time as people say it, in its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
