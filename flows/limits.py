"""How far one run of a campaign may go."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from leadline.tasks.errors import InputError
from leadline.tasks.report.formatting import counted


@dataclass
class RunLimits:
    """Limits of one run; the campaign's own rules stand in its spec.

    Parameters
    ----------
    calculations
        Calculations that this run may start, or None.
    hours
        Wall time after which this run shall have ended, or None.
    node_hours
        Node-hours that this run may spend, or None.
    detaches
        Whether what was started goes on after this run, as batch jobs do.
    outlook
        Says how many seconds the next calculation may take; 0 while nothing is known.
    price
        Says how many node-hours the next calculation may take; 0 while nothing is known.
    started, ended
        Calculations of this run.
    spent
        Node-hours of those that have ended.
    """

    calculations: int | None = None
    hours: float | None = None
    node_hours: float | None = None
    detaches: bool = False
    started: int = 0
    ended: int = 0
    spent: float = 0.0
    begun: float = field(default_factory=time.monotonic)
    outlook: Callable[[], float] = lambda: 0.0
    price: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        """Refuse a limit in which nothing can be done.

        Raises
        ------
        InputError
            If one is zero, negative or endless.
        """
        if self.calculations is not None and self.calculations < 1:
            raise InputError(
                f"--calculations: found {self.calculations}; allowed: 1 or more. Without it a run "
                "goes on until the campaign's own rules answer"
            )
        for name, value in (("--hours", self.hours), ("--node-hours", self.node_hours)):
            if value is not None and not 0 < value < math.inf:
                raise InputError(
                    f"{name}: found {value:g}; allowed: more than 0, e.g. 0.5 for half an hour. "
                    "Without it a run takes the time that it needs"
                )

    @property
    def parameters(self) -> dict[str, float | None]:
        """The limits as parameters of the flow."""
        return {
            "calculations": self.calculations,
            "hours": self.hours,
            "node_hours": self.node_hours,
        }

    @property
    def words(self) -> str:
        """The limits as the end of a sentence; empty where there are none."""
        given = [
            counted(self.calculations, "calculation") if self.calculations else "",
            f"{self.hours:g} hours" if self.hours else "",
            f"{self.node_hours:g} node-hours" if self.node_hours else "",
        ]
        said = " or ".join(each for each in given if each)
        return f" by {said} at the most" if said else ""

    def charge(self, node_hours: float) -> None:
        """Take in a calculation of this run that has ended, and what it spent."""
        self.ended += 1
        self.spent += node_hours

    def room(self) -> int | None:
        """Return how many calculations this run may still start; None without a limit."""
        if self.hours is not None and self._left() < self._expected():
            return 0
        left = None if self.calculations is None else max(self.calculations - self.started, 0)
        return min((each for each in (left, self._affordable()) if each is not None), default=None)

    def reached(self) -> str:
        """Return why this run starts nothing more, in words, or an empty string."""
        if self.calculations is not None and self.started >= self.calculations:
            verb = "is" if self.calculations == 1 else "are"
            return f"this run's {counted(self.calculations, 'calculation')} {verb} done"
        if self.hours is not None and self._left() < self._expected():
            return f"another calculation would not end within this run's {self.hours:g} hours"
        if self._affordable() == 0:
            return (
                "another calculation would not fit into this run's "
                f"{self.node_hours:g} node-hours, of which it has spent {self.spent:.3g}"
            )
        return ""

    @property
    def over(self) -> bool:
        """True once this run's hours are over."""
        return self.hours is not None and self._left() <= 0

    def _left(self) -> float:
        return (self.hours or 0.0) * 3600 - (time.monotonic() - self.begun)

    def _expected(self) -> float:
        return 0.0 if self.detaches else self.outlook()

    def _affordable(self) -> int | None:
        """Return how many more fit into the node-hours, beside what runs; None where unknown."""
        if self.node_hours is None:
            return None
        left, one = self.node_hours - self.spent, self.price()
        if left <= 0:
            return 0
        return max(math.floor(left / one) - (self.started - self.ended), 0) if one > 0 else None
