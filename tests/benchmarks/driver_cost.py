"""What a calculation costs the driver, beside Prefect's own cheapest way to show a Dask task.

Prints one line of JSON: milliseconds of the driver's CPU time, and of wall time,
for each calculation. The peer is a task run in a thread that holds a Dask future of
a function that does nothing; ours claims, dispatches, checks and records as well.

    python tests/benchmarks/driver_cost.py HELD COUNT
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leadline.flows.prefect_server import prefect_server
from leadline.flows.progress import Progress


def main(held: int, count: int) -> None:
    """Measure with ``held`` finished calculations in the store, over ``count`` more."""
    warnings.simplefilter("ignore")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        prefect_server(),
    ):
        from prefect import flow

        found: dict[str, dict[str, float]] = {}

        @flow(name="driver cost")
        def measured() -> None:
            found["peer"], found["ours"] = _compare(Path(folder), held, count)

        measured()
    print(json.dumps({"held": held, "count": count, **found}))


def _compare(folder: Path, held: int, count: int) -> tuple[dict[str, float], dict[str, float]]:
    from leadline.tasks.compute.cluster import open_cluster
    from leadline.tasks.compute.profile import load_profile
    from leadline.tasks.store.store import open_store

    with (
        open_store(directory=folder / "store", self_test=False) as store,
        open_cluster(load_profile("local"), 2) as cluster,
    ):
        peer, ours = _peer(cluster.client), _ours(store, cluster, folder, held)
        for work in (peer, ours):  # what is imported and opened once
            work(8)
        return _timed(peer, count), _timed(ours, count)


def _peer(client: Any) -> Callable[[int], None]:
    """Return Prefect's thread tasks, two at a time, each holding one Dask future."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(cache_policy=NO_CACHE, task_run_name="peer-{number}")
    def hold(number: int) -> Any:
        future = client.submit(abs, number, pure=False, retries=0)
        try:
            return future.result()
        finally:
            future.release()

    def work(count: int) -> None:
        running = []
        for number in range(count):
            running.append(hold.submit(number))
            if len(running) == 2:
                running.pop(0).result()
        for each in running:
            each.result()

    return work


def _ours(store: Any, cluster: Any, folder: Path, held: int) -> Callable[[int], None]:
    """Return our dispatch of single-point EMT calculations of one crystal, strained."""
    from pymatgen.core import Lattice, Structure

    from leadline.flows.dispatching import Dispatching
    from leadline.flows.limits import RunLimits
    from leadline.flows.watching import Watcher
    from leadline.surrogate.candidate import Candidate
    from leadline.tasks.calculate import Desk
    from leadline.tasks.calculation import Result
    from leadline.tasks.compute.dispatcher import Dispatcher
    from leadline.tasks.engines.table import engine
    from leadline.tasks.recipes.table import recipe
    from leadline.tasks.recording import calculation_of, structure_record
    from leadline.tasks.store.owner import this_process
    from leadline.tasks.structures import structure_id

    emt, static, owner = engine("emt", {}), recipe("static", {}), this_process()
    fingerprint = emt.fingerprint()
    desk = Desk(
        store=store,
        dispatcher=Dispatcher(cluster.client),
        engine=emt,
        recipe=static,
        root=folder / "calculations",
        owner=owner,
        campaign="cost",
    )
    with store.step():
        old = [calculation_of(f"{n:064x}", emt, static, fingerprint, "cost") for n in range(held)]
        store.ensure_calculations(old)
        for each in old:
            store.claim(each.id, owner, campaign="cost")
            store.finish(each.id, 1, Result(each.id, 1, converged=True, energy=1.0))
    made = 0

    def work(count: int) -> None:
        nonlocal made
        structures = [
            Structure(Lattice.cubic(3.6 + 1e-4 * (made + n)), ["Cu"], [[0, 0, 0]])
            for n in range(count)
        ]
        made += count
        records = [structure_record(Candidate(structure_id(each), each)) for each in structures]
        store.put_structures(records)
        calculations = store.ensure_calculations(
            [calculation_of(each.id, emt, static, fingerprint, "cost") for each in records]
        )
        dispatching = Dispatching(desk, 2, RunLimits(), Watcher(_Silent()))
        with dispatching.at_work():
            dispatching.add((each, "Cu") for each in calculations)
            dispatching.run(until=lambda: False, ended=lambda outcome: None)

    return work


class _Silent:
    """A display that shows nothing."""

    def show(self, snapshot: Progress) -> None:
        """Show nothing."""

    def opened(self, line: str) -> None:
        """Say nothing."""

    def note(self, line: str) -> None:
        """Say nothing."""


def _timed(work: Callable[[int], None], count: int) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work(count)
    spent = {"wall_ms": time.perf_counter() - wall, "cpu_ms": time.process_time() - cpu}
    return {name: round(1e3 * value / count, 2) for name, value in spent.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
