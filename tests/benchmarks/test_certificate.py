"""Whether a campaign that says that nothing is missing is right.

Replays on random halves of the ordered Cu-Ag-Au alloys, judged at the first round that
makes the claim. LEADLINE_BENCHMARK=full runs 100 replays at each tolerance and fails
where a claim is worse than it says; fewer cannot tell, and only guard against a break.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from contest import contest
from replays import ENOUGH, SURE, Claim, interval, replays

FULL = os.environ.get("LEADLINE_BENCHMARK") == "full"
SEEDS = range(int(os.environ.get("LEADLINE_REPLAYS", "100" if FULL else "2")))
HELD = 0.85
"""Share of the claims that none is missing which are to hold."""
NO_CLAIM = 0.2
"""Share of replays without a claim that is allowed."""

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(0),
    pytest.mark.skipif(
        "LEADLINE_DATA" not in os.environ, reason="LEADLINE_DATA names no data sets"
    ),
]


@pytest.mark.parametrize("tolerance", [0.001, 0.005])
def test_what_a_certificate_claims_holds(
    tolerance: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LEADLINE_STORE", str(tmp_path))
    games = contest("backtest-cuagau.yaml", None)
    found = replays(games.data, games.plan, tolerance, SEEDS, os.cpu_count() or 1)
    few, none = [each.few for each in found], [each.none for each in found]
    missing = np.array([claim.missing for claim in few if claim.missing is not None], dtype=float)
    held = np.array(
        [claim.missing == 0 for claim in none if claim.missing is not None], dtype=float
    )
    with capsys.disabled():
        print(f"\nwithin {tolerance * 1e3:g} meV/atom, {len(found)} replays")
        print(f"E < {ENOUGH}: {made(few)}; really missing {mean_of(missing)}")
        print(f"P0 >= {SURE}: {made(none)}; none missing in {mean_of(held)}")
    assert len(missing)
    assert len(held)
    if FULL:
        assert len(missing) > (1 - NO_CLAIM) * len(found)
        assert len(held) > (1 - NO_CLAIM) * len(found)
        assert interval(missing)[0] <= ENOUGH
        assert held.mean() >= HELD


def made(claims: list[Claim]) -> str:
    """Return how many claims were made, and after how many calculations in the middle."""
    after = [claim.calculations for claim in claims if claim.calculations is not None]
    middle = f", after {np.median(after):.0f} calculations in the median" if after else ""
    return f"claimed {len(after)} times{middle}"


def mean_of(values: np.ndarray) -> str:
    """Return a mean with its interval."""
    if not len(values):
        return "not known"
    low, high = interval(values)
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"
