"""Who sees what the loop does, beside the loop itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from leadline.flows.progress import Progress
from leadline.tasks.calculate import Outcome
from leadline.tasks.store.records import Proposal, Round


class Witness(Protocol):
    """Is told what the loop has done, after it is in the store."""

    def opened(self, round_: Round, picks: Sequence[Proposal]) -> None:
        """A round was committed with its picks."""

    def asked(self, number: int, picks: Sequence[Proposal], silence: str) -> None:
        """Picks of a round wait for a person; ``silence`` says what becomes of them, and when."""

    def ended(self, outcome: Outcome) -> None:
        """A calculation has ended, or waits."""

    def assessed(self) -> None:
        """Answers were assessed, and rounds that have ended are closed."""

    def shown(self, now: Progress) -> None:
        """The campaign has come so far."""


class Nobody:
    """Sees nothing."""

    def opened(self, round_: Round, picks: Sequence[Proposal]) -> None:
        """Ignore it."""

    def asked(self, number: int, picks: Sequence[Proposal], silence: str) -> None:
        """Ignore it."""

    def ended(self, outcome: Outcome) -> None:
        """Ignore it."""

    def assessed(self) -> None:
        """Ignore it."""

    def shown(self, now: Progress) -> None:
        """Ignore it."""
