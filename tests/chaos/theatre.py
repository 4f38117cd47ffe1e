"""Plays seeds, several at a time, on what is slow to start and can be shared.

Shared are a laid-out Prefect home, a Prefect server, a database server, and the process
from which drivers are forked; whatever a fault hits, a stage has for itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import pytest
from database import Database
from drivers import DriverNursery
from invariants import Labels, labels, violations
from java_server import JavaServer
from layout import PLUGINS
from plan import VARIANTS, Plan, campaign, drawn
from play import play
from slurm_here import Slurm, missing, slurm_here
from small_disk import KB, mounted
from stage import Stage

from leadline.flows.loopback_server import HOST, Server

DISK = 24_000 * KB
"""Room of a small disk: twice what a campaign takes."""


@dataclass(frozen=True)
class Outcome:
    """What came of a seed."""

    plan: Plan
    said: list[str]
    wrong: list[str]

    def __str__(self) -> str:
        plan = self.plan
        head = ", ".join(
            [
                f"seed {plan.seed}: {plan.variant}, {plan.mode}",
                "a Prefect server for itself" if plan.own_server else "the shared Prefect server",
                *(["a Dask scheduler beside it"] if plan.yard else []),
                *([f"in the {plan.queue} of a queue"] if plan.queue else []),
                *(["jobs that end soon"] if plan.short_jobs else []),
                *([f"a clock wrong by {plan.skew:g} s"] if plan.yard and plan.skew else []),
                *(["a database server"] if plan.database else []),
                *([f"{plan.disk} on a small disk"] if plan.disk else []),
            ]
        )
        steps = [f"  {each}" for each in plan.steps]
        wrong = [f"  {each}" for each in self.wrong] or ["  nothing"]
        done = [f"  {each}" for each in self.said]
        again = f"Again: make chaos SEEDS=1 FIRST_SEED={plan.seed}"
        return "\n".join(
            [head, "planned:", *steps, "done:", *done, "wrong at the end:", *wrong, again]
        )


class Theatre:
    """Plays seeds, several at a time.

    Parameters
    ----------
    folder
        Where all of them have a folder of their own.
    jobs
        How many are played at a time.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(jobs)
        self._played: dict[int, Future[Outcome]] = {}
        self._undisturbed: dict[str, Labels] = {}
        self._locks = {name: Lock() for name in VARIANTS}
        plain = {**os.environ, "PYTHONPATH": str(PLUGINS), "DO_NOT_TRACK": "1"}
        self._nursery = DriverNursery(folder / "nursery.log", plain | {"OMP_NUM_THREADS": "1"})
        self._java: JavaServer | None = None
        self._java_lock = Lock()
        self._home = folder / "home"
        _laid_out(self._home)
        shared = Path(shutil.copytree(self._home, folder / "shared"))
        variables = {"PREFECT_HOME": str(shared), "DO_NOT_TRACK": "1"}
        self._server = Server.start(variables, shared / "server.log", first=0)
        self._server.wait_until_it_answers(shared / "server.log")
        api = f"http://{HOST}:{self._server.port}/api"
        self._shared = variables | {"PREFECT_API_URL": api}

    def announce(self, seeds: Iterable[int]) -> None:
        """Begin to play seeds."""
        for seed in seeds:
            self._played[seed] = self._pool.submit(self._play, drawn(seed))

    def outcome(self, seed: int) -> Outcome:
        """Wait for what came of a seed."""
        return self._played[seed].result()

    def close(self) -> None:
        """End what runs."""
        self._pool.shutdown(cancel_futures=True)
        self._server.end()
        self._nursery.close()
        if self._java is not None:
            self._java.stop()

    def _play(self, plan: Plan) -> Outcome:
        known = self._labels(plan.variant) if plan.mode == "batch" else None
        with self._staged(plan) as stage:
            try:
                play(stage, plan)
                wrong = violations(stage, known)
            except Exception:
                wrong = [*stage.faults, traceback.format_exc()]
            if wrong and stage.disk is not None:
                shutil.copytree(stage.disk.path, stage.folder / "disk-at-the-end")
        outcome = Outcome(plan, stage.said, wrong)
        (stage.folder / "outcome.txt").write_text(f"{outcome}\n")
        return outcome

    @contextmanager
    def _staged(self, plan: Plan) -> Iterator[Stage]:
        """Set the stage of a plan; a test is skipped where what the plan needs is not here."""
        folder = self._folder / f"seed-{plan.seed}"
        folder.mkdir()
        with ExitStack() as stack:
            disk = stack.enter_context(mounted(folder / "disk", DISK)) if plan.disk else None
            database = stack.enter_context(self._database(folder, plan)) if plan.database else None
            stage = Stage(
                folder,
                plan.campaign(),
                self._own_prefect(folder) if plan.own_server else self._shared,
                database=database,
                slurm=stack.enter_context(_queue(folder / "slurm")) if plan.queue else None,
                disk=disk,
                on_disk=plan.disk,
                cold=plan.cold,
            )
            stack.callback(stage.end_all)
            stage.nursery = self._nursery.for_stage(stage.environment)
            if plan.yard:
                stage.open_yard(plan.skew)
            if plan.queue:
                stage.use_queue(plan.queue, short_jobs=plan.short_jobs)
            yield stage

    def _own_prefect(self, folder: Path) -> dict[str, str]:
        return {"PREFECT_HOME": str(shutil.copytree(self._home, folder / "prefect"))}

    @contextmanager
    def _database(self, folder: Path, plan: Plan) -> Iterator[Database]:
        server = _serving(folder) if plan.own_database else self._shared_java()
        database = Database(server, f"seed-{plan.seed}")
        try:
            yield database
        finally:
            database.close()
            if plan.own_database:
                server.kill()

    def _shared_java(self) -> JavaServer:
        with self._java_lock:
            self._java = self._java or _serving(self._folder)
            return self._java

    def _labels(self, variant: str) -> Labels:
        """Return what an undisturbed run comes to, run once."""
        with self._locks[variant]:
            if variant not in self._undisturbed:
                folder = self._folder / f"undisturbed-{variant}"
                stage = Stage(folder, campaign(variant), self._shared)
                stage.nursery = self._nursery.for_stage(stage.environment)
                stage.ensure_driver()
                stage.await_end()
                assert not stage.faults, stage.faults
                with stage.opened() as store:
                    self._undisturbed[variant] = labels(store)
                stage.end_all()
            return self._undisturbed[variant]


@contextmanager
def _queue(folder: Path) -> Iterator[Slurm]:
    if why := missing():
        pytest.skip(why)
    with slurm_here(folder) as running:
        yield running


def _serving(folder: Path) -> JavaServer:
    server = JavaServer(folder)
    server.start()
    return server


def _laid_out(home: Path) -> None:
    home.mkdir()
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
        env={**os.environ, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"},
        check=True,
        capture_output=True,
    )
