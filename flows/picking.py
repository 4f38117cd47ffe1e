"""The picks of a round: results at hand first, then what is promising."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leadline.flows.importing import imported_structures
from leadline.flows.reviewing import waiting
from leadline.tasks.calculate import Desk
from leadline.tasks.propose import Pick, propose, start_picks
from leadline.tasks.store.records import StructureRecord

if TYPE_CHECKING:
    from leadline.flows.loop import Loop


def new_imports(loop: Loop) -> list[StructureRecord]:
    """Return the structures whose results were imported since the last round."""
    taken = set(loop.book.structures)
    new = [each for each in imported_structures(loop.store, loop.name) if each not in taken]
    return list(loop.store.structures(new).values())


def next_picks(loop: Loop) -> list[Pick]:
    """Return the next picks, at random until there is a model."""
    bench, book, closed, rng = loop.bench, loop.book, loop.closed, chance(loop, "picks")
    if not book.picks or loop.learned is None:
        size = None if book.picks else bench.spec.start.random
        return start_picks(bench.pool, room(loop, size), rng, closed)
    return propose(
        loop.learned,
        bench.pool,
        bench.problem,
        bench.proposing,
        room(loop),
        rng,
        pending=book.pending(bench.rows),
        closed=closed,
        failed=book.failed(bench.rows),
        cost=None if bench.spec.stop.node_hours is None else partial(_costs, loop),
    )


def with_costs(
    desk: Desk, picks: Sequence[Pick], structures: Sequence[StructureRecord]
) -> list[Pick]:
    """Return picks whose reasons say what their calculations may take, where that is known."""
    costs = [desk.seconds(each.structure) or None for each in structures]
    return [
        replace(pick, why=replace(pick.why, expected_cost=cost))
        for pick, cost in zip(picks, costs, strict=True)
    ]


def _costs(loop: Loop, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the node-hours that the calculations of rows may take; alike while unknown."""
    bench = loop.bench
    species = bench.pool.species(rows)
    seconds = np.array([bench.desk.seconds({"species": each}) for each in species])
    nodes = [loop.nodes(len(each)) for each in species]
    return np.maximum(seconds * nodes / 3600, 1e-9) if seconds.all() else np.ones(len(rows))


def room(loop: Loop, size: int | None = None) -> int:
    """Return how many picks the next round may hold."""
    spec, queued = loop.bench.spec, len(loop.dispatching.waiting)
    wanted = size or (_vacant(loop) if loop.steady else spec.acquisition.batch)
    budget, startable = spec.stop.calculations, loop.limits.room()
    left = None if budget is None else budget - len(loop.book.picks)
    unclaimed = None if startable is None else startable - queued
    bounds = [each for each in (left, unclaimed, _affordable(loop)) if each is not None]
    return max(min([wanted, *bounds]), 0)


def _affordable(loop: Loop) -> int | None:
    """Return how many more calculations the campaign's node-hours pay for, if that is known."""
    limit = loop.bench.spec.stop.node_hours
    if limit is None or not (price := loop.price()):
        return None
    return math.floor((limit - loop.spent()) / price) - len(loop.book.unended)


def _vacant(loop: Loop) -> int:
    """Picks that workers could start now, and while another round is made."""
    ahead = loop.pace.ahead(loop.dispatching.slots)
    return loop.dispatching.room(ahead) - len(waiting(loop))


def chance(loop: Loop, what: str) -> np.random.Generator:
    """Return chance that a resumed driver draws again: by seed, round and purpose."""
    return np.random.default_rng([loop.bench.spec.seed, len(loop.rounds), *what.encode()])
