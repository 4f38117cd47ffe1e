"""How many seeds are played, and where their outcomes are asked for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from theatre import Theatre

SEEDS = int(os.environ.get("LEADLINE_CHAOS_SEEDS", "20"))
FIRST = int(os.environ.get("LEADLINE_CHAOS_FIRST_SEED", "1"))
JOBS = int(os.environ.get("LEADLINE_CHAOS_JOBS", str(1 + (os.cpu_count() or 1))))
"""Campaigns at a time; engines and whoever is stopped take no CPU, so one more than cores."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each seed."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(FIRST, FIRST + SEEDS))


@pytest.fixture(scope="session")
def theatre(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Theatre]:
    """Plays all seeds that this session asks for, from now on."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    seeds = [call.params["seed"] for call in calls if call and "seed" in call.params]
    # What a shell runs in the background ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    playing = Theatre(tmp_path_factory.mktemp("chaos"), JOBS)
    try:
        playing.announce(seeds)
        yield playing
    finally:
        playing.close()
