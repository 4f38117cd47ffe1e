"""What a check found, said line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leadline.surrogate.errors import LeadlineError

Say = Callable[[str], None]


@dataclass
class Findings:
    """Says each finding as it is made, and whether all of it was good."""

    say: Say
    good: bool = True

    def fine(self, what: str, words: str) -> None:
        """Say what is as it should be."""
        self.say(f"  ok    {what:<11} {words}")

    def hint(self, what: str, words: str) -> None:
        """Say what a person should know."""
        self.say(f"  note  {what:<11} {words}")

    def bad(self, what: str, error: LeadlineError) -> None:
        """Say what keeps a campaign from running."""
        self.good = False
        self.say(f"  FAIL  {what:<11} {error}")
