"""A desk whose dispatcher answers as a test tells it to, with one calculation queued."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from told import (
    COPPER,
    Answer,
    Careful,
    Told,
)

from leadline.surrogate.candidate import Candidate
from leadline.tasks.calculate import Desk
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.engines.engine import Engine, EngineSite
from leadline.tasks.recipes.static import Static
from leadline.tasks.recording import calculation_of, structure_record
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.store import Store, open_store
from leadline.tasks.structures import structure_id


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Callable[..., Desk]:
    def make(*answers: Answer, engine: Engine | None = None, **changes: Any) -> Desk:
        return Desk(
            store=store,
            dispatcher=cast(Dispatcher, Told(*answers)),
            engine=engine or Careful({}, EngineSite()),
            recipe=Static({}),
            root=tmp_path / "calculations",
            owner=this_process(),
            campaign="test",
            **changes,
        )

    return make


@pytest.fixture
def queued(store: Store) -> str:
    candidate = Candidate(structure_id(COPPER), COPPER, {"source": "test"})
    engine, recipe = Careful({}, EngineSite()), Static({})
    wanted = calculation_of(candidate.id, engine, recipe, engine.fingerprint(), "test")
    store.put_structures([structure_record(candidate)])
    store.ensure_calculations([wanted])
    return wanted.id
