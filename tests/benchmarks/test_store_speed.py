"""Time of a compare-and-set by id in the embedded store, commit included, as it grows."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import Store, open_store

SIZES = (500, 5_000, 50_000)
SWAPS = 100


def swap_time(store: Store, ids: list[str]) -> float:
    """Median wall seconds of a compare-and-set by id."""
    times = []
    for id in ids:
        start = time.perf_counter()
        query = {"pk": id, "state": CalculationState.QUEUED, "tries": 0}
        assert store._set(store._documents.calculations, query, {"state": CalculationState.CUT})
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_a_compare_and_set_does_not_grow_with_the_store(tmp_path: Path) -> None:
    found = {}
    with open_store(directory=tmp_path, self_test=False) as store:
        store.ensure_calculations([Calculation("first", "s", {"name": "emt"}, {}, "f")])
        [raw] = store._documents.calculations.objects(pk="first").as_pymongo()
        documents, size = store._connection.database["calculations"], 1
        for wanted in SIZES:
            with store.step():
                for number in range(size, wanted):
                    documents.insert_one(raw | {"_id": f"{number:064x}"})
            fresh = range(size, wanted, max((wanted - size) // SWAPS, 1))
            found[wanted] = swap_time(store, [f"{number:064x}" for number in fresh])
            size = wanted
    for wanted, seconds in found.items():
        print(f"{wanted:6d} records: {seconds * 1e3:.2f} ms a compare-and-set, commit included")
    assert found[50_000] < 5 * found[500]
