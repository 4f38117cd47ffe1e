"""One campaign with its processes, as a harness sees it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from threading import Timer
from typing import Any

import psutil
import yaml
from plan import HERE, PW_FAULTS, YARD_PROFILE
from yard import Yard

from leadline.flows.server_register import Register
from leadline.tasks.calculation import Result
from leadline.tasks.compute import processes
from leadline.tasks.compute.attempt_files import Running, is_signed_off, read_result, turns
from leadline.tasks.store.lock import HOLDER
from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import Store, open_store

PLUGINS = Path(__file__).parents[1] / "plugins" / "moody_emt"
STAND_IN = Path(__file__).parents[1] / "plugins" / "stand_in_pw"
MAIN = "from leadline.flows.cli import main; main()"
TOKEN = "LEADLINE_CHAOS"
"""Environment variable that all processes of one stage share."""
PATIENCE = 300.0
"""Seconds after which a run that should end is taken to hang, on a loaded machine too."""

INTERRUPTED = (130, -signal.SIGINT, -signal.SIGTERM)
"""How a driver ends that was asked to before it had begun."""
LAST_WORDS = 20.0
"""Seconds that processes have to end after their driver."""


@dataclass
class Stage:
    """A campaign's folder, its driver, and a log of what was done to it.

    Parameters
    ----------
    folder
        Where everything is, but for a shared Prefect server.
    campaign
        Content of the campaign file.
    prefect
        Variables that name the Prefect server, or the home of one for itself.
    """

    folder: Path
    campaign: Mapping[str, Any]
    prefect: Mapping[str, str]
    yard: Yard | None = None
    """The Dask scheduler that stands beside it, if the campaign uses one."""
    token: str = field(default_factory=lambda: token_hex(8))
    driver: subprocess.Popen[bytes] | None = None
    runs: int = 0
    asked: bool = False
    """Whether the driver was asked to end."""
    said: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What must not be: what was seen to be wrong on the way."""
    damaged: set[tuple[str, int]] = field(default_factory=set)
    """Attempts whose result was cut short from outside."""
    unguarded: set[tuple[str, int]] = field(default_factory=set)
    """Attempts whose guardian was killed: no end of theirs stands in the log."""
    results: dict[str, float] = field(default_factory=dict)
    """Energies of the complete results that were seen in files, by calculation."""
    timers: list[Timer] = field(default_factory=list)
    """What is to be resumed later."""
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir()
        (self.folder / "profiles").mkdir()
        self._add_profile(HERE, {"kind": "local", "dashboard": None})
        (self.folder / "pw-faults.json").write_text(json.dumps(dict(PW_FAULTS)))
        self.file.write_text(yaml.safe_dump(dict(self.campaign)))

    def open_yard(self) -> None:
        """Put up a Dask scheduler whose workers outlive the drivers."""
        self.yard = Yard(self.folder, self.environment)
        self._add_profile(YARD_PROFILE, self.yard.cluster)

    def _add_profile(self, name: str, cluster: Mapping[str, object]) -> None:
        site = {
            "command": f"{sys.executable} {STAND_IN / 'stand_in_pw.py'}",
            "pseudopotentials": str(STAND_IN / "pseudo"),
        }
        profile = {"cluster": dict(cluster), "engines": {"espresso": site}}
        (self.folder / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(profile))

    @property
    def file(self) -> Path:
        return self.folder / "chaos.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def has_store(self) -> bool:
        return (self.store / "store.sqlite").exists()

    @property
    def calculations(self) -> Path:
        return self.store / "calculations"

    def note(self, words: str) -> None:
        """Write down what was done."""
        self.said.append(f"{time.monotonic() - self._began:6.1f} s  {words}")

    def wrong(self, words: str) -> None:
        """Write down what must not be."""
        self.note(f"WRONG: {words}")
        self.faults.append(words)

    def opened(self) -> Store:
        """Open the store for reading."""
        return open_store(None, self.store, write=False)

    # --- the driver

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a driver beside whatever runs, its words in a file of its own."""
        self.runs += 1
        self.note(f"driver {self.runs} starts")
        with (self.folder / f"driver-{self.runs}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", MAIN, "run", str(self.file), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )

    def ensure_driver(self) -> subprocess.Popen[bytes]:
        """Return the driver that runs; a new one if none does."""
        if self.driver is None:
            self.driver, self.asked = self.start(), False
        return self.driver

    @property
    def environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "COV_"))}
        paths = [str(PLUGINS), kept.get("PYTHONPATH")]
        return {
            **kept,
            **self.prefect,
            TOKEN: self.token,
            "LEADLINE_STORE": str(self.store),
            "LEADLINE_PROFILES": str(self.folder / "profiles"),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "STAND_IN_PW": str(self.folder / "pw-faults.json"),
            "PYTHONFAULTHANDLER": "1",
            "TMPDIR": str(self.folder / "tmp"),
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
        }

    def words(self, run: int) -> str:
        """Return what a driver said."""
        return (self.folder / f"driver-{run}.log").read_text(errors="replace")

    def has_ended(self) -> bool:
        """Tell whether the driver ended by itself; judge how."""
        if self.driver is None or self.driver.poll() is None:
            return False
        code, self.driver = self.driver.returncode, None
        self.note(f"driver {self.runs} ended with {code}")
        words = self.words(self.runs)
        clean = (0, *INTERRUPTED) if self.asked else (0,)
        if code not in clean or "Traceback" in words:
            self.wrong(f"driver {self.runs} ended with {code} and said:\n{words[-1500:]}")
        return True

    def await_end(self) -> None:
        """Wait until the driver ends; one that hangs says where."""
        assert self.driver is not None
        try:
            self.driver.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.driver.send_signal(signal.SIGABRT)
            self.driver.wait(30)
            self.wrong(f"driver {self.runs} hung; threads stand in its log")
        self.has_ended()

    def kill_driver(self) -> None:
        """Kill the driver, which has nothing to say about it."""
        driver = self.ensure_driver()
        driver.kill()
        driver.wait()
        self.driver = None
        self.collect()

    def kill_all(self) -> int:
        """Kill all processes of this stage, until none is left; return how many."""
        killed = 0
        while found := self.processes():
            killed += len(found)
            processes.kill(found)
        if self.driver is not None:
            self.driver.wait()
            self.driver = None
        for folder, running in self.attempts():
            if not is_signed_off(folder, running.attempt):
                self.unguarded.add((running.calculation, running.attempt))
        self.collect()
        return killed

    def wait_for_lines(self, number: int) -> bool:
        """Wait until the engines' log has so many lines; False if the driver ended before."""
        driver, deadline = self.ensure_driver(), time.monotonic() + PATIENCE
        while len(self.engine_log()) < number:
            if driver.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.wrong(f"driver {self.runs} starts no engine")
                return False
            time.sleep(0.02)
        return True

    @property
    def is_over(self) -> bool:
        """Whether the campaign has said that it stopped."""
        if not self.has_store:
            return False
        with self.opened() as store:
            return any(each.state is CampaignState.STOPPED for each in store.campaigns())

    def holder(self) -> int | None:
        """Return the process that holds the store for writing."""
        with suppress(OSError, ValueError, KeyError):
            return int(json.loads((self.store / HOLDER).read_text())["pid"])
        return None

    def done(self) -> frozenset[str]:
        """Return the calculations whose answer is recorded."""
        if not self.has_store:
            return frozenset()
        with self.opened() as store:
            return frozenset(each.id for each in store.by_state(CalculationState.DONE))

    # --- what the engines left

    def engine_log(self) -> list[dict[str, Any]]:
        """Return the lines of the engines' own log."""
        file = self.calculations / "engines.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def attempts(self) -> Iterator[tuple[Path, Running]]:
        """Return the folder of a calculation and who ran it, for each attempt."""
        for folder in sorted(self.calculations.glob("*/turns")):
            for running in turns(folder.parent):
                yield folder.parent, running

    def finished(self) -> Iterator[tuple[Path, Result]]:
        """Return the folder of a calculation and its result, for each complete one."""
        for folder, running in self.attempts():
            result = read_result(folder, running.attempt)
            if result is not None and result.complete:
                yield folder, result

    def collect(self) -> None:
        """Remember which results stand complete in files now."""
        for _, result in self.finished():
            if (result.calculation, result.attempt) not in self.damaged:
                assert result.energy is not None
                self.results[result.calculation] = result.energy

    # --- processes

    def processes(self) -> list[psutil.Process]:
        """Return what this stage started, whoever its parent is now, oldest first."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if (
                    process.pid != os.getpid()
                    and process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get(TOKEN) == self.token
                ):
                    found.append(process)
        return sorted(found, key=_age)

    def workers(self) -> list[psutil.Process]:
        """Return the Dask workers."""
        if self.yard is not None:
            children = _children(self.yard.nannies.pid)
            return sorted(
                (each for each in children if _runs(each, "--multiprocessing-fork")), key=_age
            )
        return [each for each in self.processes() if _runs(each, "compute.local_worker")]

    def nurseries(self) -> list[psutil.Process]:
        """Return the processes that fork guardians."""
        workers = {each.pid for each in self.workers()}
        found = []
        for each in self.processes():
            with suppress(psutil.Error):
                if _runs(each, "compute.nursery") and each.ppid() in workers:
                    found.append(each)
        return found

    def guarded(self) -> list[Running]:
        """Return the attempts whose guardians live."""
        return [
            running
            for folder, running in self.attempts()
            if processes.start_time(running.pid) == running.start
            and not is_signed_off(folder, running.attempt)
        ]

    def engines(self) -> list[psutil.Process]:
        """Return the engines that live: children of living guardians."""
        found: list[psutil.Process] = []
        for running in self.guarded():
            found += _children(running.pid)
        return found

    def prefect_server(self) -> psutil.Process | None:
        """Return the Prefect server that this stage's drivers started, if it lives."""
        home = Path(self.prefect["PREFECT_HOME"]) / "leadline" / processes.host()
        server = Register.read(home / "server.json").server
        return psutil.Process(server.process.pid) if server else None

    def end_all(self) -> None:
        """End whatever is left."""
        if self.yard is not None:
            self.yard.close()
        processes.kill(self.processes())
        if self.driver is not None:
            self.driver.wait()


def _age(process: psutil.Process) -> tuple[float, int]:
    with suppress(psutil.Error):
        return process.create_time(), process.pid
    return 0.0, process.pid


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _runs(process: psutil.Process, module: str) -> bool:
    with suppress(psutil.Error):
        return any(word.endswith(module) for word in process.cmdline())
    return False
