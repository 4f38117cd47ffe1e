"""Plays seeds, several at a time, on one laid-out Prefect home and one shared server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from invariants import Labels, labels, violations
from plan import VARIANTS, Plan, campaign, drawn
from play import play
from stage import Stage

from leadline.flows.loopback_server import HOST, Server


@dataclass(frozen=True)
class Outcome:
    """What came of a seed."""

    plan: Plan
    said: list[str]
    wrong: list[str]

    def __str__(self) -> str:
        plan = self.plan
        head = f"seed {plan.seed}: {plan.variant}, {plan.mode}, " + (
            "a Prefect server for itself" if plan.own_server else "the shared Prefect server"
        )
        head += ", a Dask scheduler beside it" if plan.yard else ""
        steps = [f"  {each}" for each in plan.steps]
        wrong = [f"  {each}" for each in self.wrong] or ["  nothing"]
        done = [f"  {each}" for each in self.said]
        again = f"Again: make chaos SEEDS=1 FIRST_SEED={plan.seed}"
        return "\n".join(
            [head, "planned:", *steps, "done:", *done, "wrong at the end:", *wrong, again]
        )


class Theatre:
    """Plays seeds, several at a time, on one laid-out home and one shared Prefect server."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(jobs)
        self._played: dict[int, Future[Outcome]] = {}
        self._undisturbed: dict[str, Labels] = {}
        self._locks = {name: Lock() for name in VARIANTS}
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

    def _play(self, plan: Plan) -> Outcome:
        known = self._labels(plan.variant) if plan.mode == "batch" else None
        stage = self._stage(f"seed-{plan.seed}", plan)
        try:
            if plan.yard:
                stage.open_yard()
            play(stage, plan)
            wrong = violations(stage, known)
        except Exception:
            wrong = [*stage.faults, traceback.format_exc()]
        finally:
            stage.end_all()
        outcome = Outcome(plan, stage.said, wrong)
        (stage.folder / "outcome.txt").write_text(f"{outcome}\n")
        return outcome

    def _stage(self, name: str, plan: Plan) -> Stage:
        folder = self._folder / name
        own = {"PREFECT_HOME": str(folder / "prefect")}
        stage = Stage(folder, plan.campaign(), own if plan.own_server else self._shared)
        if plan.own_server:
            shutil.copytree(self._home, folder / "prefect")
        return stage

    def _labels(self, variant: str) -> Labels:
        """Return what an undisturbed run comes to, run once."""
        with self._locks[variant]:
            if variant not in self._undisturbed:
                folder = self._folder / f"undisturbed-{variant}"
                stage = Stage(folder, campaign(variant), self._shared)
                stage.ensure_driver()
                stage.await_end()
                assert not stage.faults, stage.faults
                with stage.opened() as store:
                    self._undisturbed[variant] = labels(store)
            return self._undisturbed[variant]


def _laid_out(home: Path) -> None:
    home.mkdir()
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
        env={**os.environ, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"},
        check=True,
        capture_output=True,
    )
