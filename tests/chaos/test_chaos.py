"""Faults from a seed over a campaign with real processes: whatever happens, nothing is lost."""

from __future__ import annotations

import pytest
from theatre import Theatre

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]


def test_whatever_happens_nothing_is_lost_or_done_twice(seed: int, theatre: Theatre) -> None:
    outcome = theatre.outcome(seed)
    print(outcome)  # noqa: T201  # shown where it failed, and with -s
    assert not outcome.wrong, "\n".join(outcome.wrong)
