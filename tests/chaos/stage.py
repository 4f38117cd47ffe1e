"""One campaign with its processes, as a harness sees it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Timer

import psutil
from drivers import Driver, StageNursery, cold_start
from layout import TOKEN, Layout
from plan import QUEUE_PROFILE, YARD_PROFILE
from yard import Yard

from leadline.flows.server_register import Register
from leadline.tasks.compute import processes
from leadline.tasks.compute.attempt_files import Running, is_signed_off
from leadline.tasks.store.lock import HOLDER
from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import Store, open_store

PATIENCE = 300.0
"""Seconds after which a run that should end is taken to hang, on a loaded machine too."""

INTERRUPTED = (130, -signal.SIGINT, -signal.SIGTERM)
"""How a driver ends that was asked to before it had begun."""
WORKERS = ("compute.local_worker", "compute.queue_worker", "compute.batch_job")
"""Modules of the processes from which engines are started."""
LOOK = 0.05
"""Seconds between two looks at what is waited for."""
LAST_WORDS = 20.0
"""Seconds that processes have to end after their driver."""
UNKNOWN_JOB = 90.0
"""Seconds that a batch job may be left whose driver was killed before it could note the job."""
SUBMITTING = 3.0
"""Seconds around the death of a driver in which a job may come to the queue unnoted."""


@dataclass
class Trouble:
    """What a driver may end of, with a sentence, until it is over.

    Parameters
    ----------
    words
        Part of that sentence.
    since, until
        The first and the last driver that it befell, by number.
    """

    words: str
    since: int
    until: int = 10**6
    over: Event = field(default_factory=Event)


@dataclass
class Stage(Layout):
    """A campaign with its driver, and a log of what was done to it.

    Parameters
    ----------
    cold
        The drivers, by number, that start cold.
    """

    cold: frozenset[int] = frozenset()
    nursery: StageNursery | None = None
    """What forks the drivers that do not start cold; without it all do."""
    yard: Yard | None = None
    """The Dask scheduler that stands beside it, if the campaign uses one."""
    driver: Driver | None = None
    started: list[Driver] = field(default_factory=list)
    runs: int = 0
    asked: bool = False
    """Whether the driver was asked to end."""
    excused: bool = False
    """Whether the last driver ended of what was in its way, and said so."""
    said: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What must not be: what was seen to be wrong on the way."""
    damaged: set[tuple[str, int]] = field(default_factory=set)
    """Attempts whose result was cut short from outside."""
    unguarded: set[tuple[str, int]] = field(default_factory=set)
    """Attempts whose guardian was killed: no end of theirs stands in the log."""
    lost_jobs: set[tuple[str, int]] = field(default_factory=set)
    """Attempts that were under way in a job of the queue when that was ended."""
    results: dict[str, float] = field(default_factory=dict)
    """Energies of the complete results that were seen in files, by calculation."""
    deaths: list[float] = field(default_factory=list)
    """When drivers were killed, by the clock."""
    timers: list[Timer] = field(default_factory=list)
    """What is to be resumed later."""
    troubles: list[Trouble] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def open_yard(self, skew: float) -> None:
        """Put up a Dask scheduler whose workers outlive the drivers."""
        unknown = {"LEADLINE_MONGODB_URI"}
        environment = {n: v for n, v in self.environment.items() if n not in unknown}
        self.yard = Yard(self.folder, environment, skew)
        self.add_profile(YARD_PROFILE, self.yard.cluster)

    def use_queue(self, way: str, *, short_jobs: bool) -> None:
        """Let the campaign compute in the jobs of its Slurm, one way or the other."""
        need = {"memory": "300 MB", "walltime": "90 s" if short_jobs else "10 min"}
        settings = {"poll": 1, "margin": 30, "interface": "lo"}
        cluster = {"kind": "slurm", "way": way, "resources": need, "dashboard": None, **settings}
        self.add_profile(QUEUE_PROFILE, cluster)

    def jobs_at_work(self) -> list[str]:
        """Return the jobs of the queue that run; none while its controller is away."""
        assert self.slurm is not None
        with suppress(subprocess.CalledProcessError):
            return [job for job, state in self.slurm.jobs().items() if state == "RUNNING"]
        return []

    def loses(self, *jobs: str) -> None:
        """Remember what is under way in jobs that are ended now."""
        under_way = (each for each in self.guarded() if each.job in jobs)
        self.lost_jobs |= {(each.calculation, each.attempt) for each in under_way}

    def may_be_unknown(self, submitted: float) -> bool:
        """Tell whether a job may have come to the queue as its driver was killed."""
        return any(abs(submitted - death) < SUBMITTING for death in self.deaths)

    def note(self, words: str) -> None:
        """Write down what was done."""
        self.said.append(f"{time.monotonic() - self._began:6.1f} s  {words}")

    def wrong(self, words: str) -> None:
        """Write down what must not be."""
        self.note(f"WRONG: {words}")
        self.faults.append(words)

    def opened(self) -> Store:
        """Open the store for reading, once there is nothing in the way."""
        self.await_calm()
        uri = self.database.calm_uri if self.database else None
        return open_store(uri, self.store, write=False)

    def await_calm(self) -> None:
        """Wait until nothing is in the way."""
        for trouble in self.troubles:
            trouble.over.wait()

    @property
    def in_trouble(self) -> bool:
        """Whether something is in the way that a driver may end of."""
        return any(not each.over.is_set() for each in self.troubles)

    # --- the driver

    def start(self, *options: str, cold: bool = False) -> Driver:
        """Start a driver beside whatever runs, its words in a file of its own."""
        self.runs += 1
        arguments = ["run", str(self.file), *options]
        log = self.folder / f"driver-{self.runs}.log"
        log.touch()  # a driver may be ended before it opens it
        if cold or self.nursery is None or self.runs in self.cold:
            self.note(f"driver {self.runs} starts, cold")
            driver = cold_start(arguments, self.folder, log, self.environment)
        else:
            driver = self.nursery.start(arguments, self.folder, log)
            self.note(f"driver {self.runs} starts")
        self.started.append(driver)
        return driver

    def ensure_driver(self, *, cold: bool = False) -> Driver:
        """Return the driver that runs; a new one if none does."""
        if self.driver is None:
            self.driver, self.asked = self.start(cold=cold), False
        return self.driver

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
        self.excused = code == 2 and any(
            each.words in words and each.since <= self.runs <= each.until for each in self.troubles
        )
        if not (code in clean or self.excused) or "Traceback" in words:
            self.wrong(f"driver {self.runs} ended with {code} and said:\n{words[-1500:]}")
        return True

    def await_end(self) -> None:
        """Wait until the driver ends; one that hangs, and starts no more engines, says where."""
        assert self.driver is not None
        lines = -1
        while self.driver.poll() is None and lines < (lines := len(self.engine_log())):
            self._wait_for_driver()
        if self.driver.poll() is None:
            self.driver.send_signal(signal.SIGABRT)
            self.driver.wait(30)
            self.wrong(f"driver {self.runs} hung; threads stand in its log")
        self.has_ended()

    def kill_driver(self) -> None:
        """Kill the driver, which has nothing to say about it."""
        driver = self.ensure_driver()
        driver.kill()
        self.deaths.append(time.time())
        driver.wait()
        self.driver = None
        self.collect()

    def _wait_for_driver(self) -> None:
        """Wait for its end, and meanwhile look after the node that its jobs wait for."""
        assert self.driver is not None
        deadline = time.monotonic() + PATIENCE
        while self.driver.poll() is None and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                self.driver.wait(5.0)
            if self.slurm is not None:
                self.slurm.trust_the_node()

    def kill_all(self) -> int:
        """Kill all processes of this stage, until none is left; return how many."""
        killed = 0
        self.deaths.append(time.time())
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
            if self.slurm is not None:
                self.slurm.trust_the_node()
            time.sleep(LOOK)
        return True

    @property
    def is_over(self) -> bool:
        """Whether the campaign has said that it stopped, and its last driver has left it."""
        if not self.has_store:
            return False
        with self.opened() as store:
            return any(
                each.state is CampaignState.STOPPED and each.owner is None
                for each in store.campaigns()
            )

    def holder(self) -> int | None:
        """Return the process that holds the store, or the campaign, for writing."""
        if self.database is not None:
            with self.opened() as store:
                campaign = store.campaign("chaos")
            return int(campaign.owner.split("/")[2]) if campaign and campaign.owner else None
        with suppress(OSError, ValueError, KeyError):
            return int(json.loads((self.store / HOLDER).read_text())["pid"])
        return None

    def done(self) -> frozenset[str]:
        """Return the calculations whose answer is recorded."""
        if not self.has_store:
            return frozenset()
        with self.opened() as store:
            return frozenset(each.id for each in store.by_state(CalculationState.DONE))

    def collect(self) -> None:
        """Remember which results stand complete in files now."""
        for _, result in self.finished():
            if (result.calculation, result.attempt) not in self.damaged:
                assert result.energy is not None
                self.results[result.calculation] = result.energy

    # --- processes

    def processes(self) -> list[psutil.Process]:
        """Return what this stage started, whoever its parent is now, oldest first.

        Told by a variable, but for drivers that were forked: theirs is their nursery's.
        """
        mark = f"{TOKEN}={self.token}".encode()
        pids = {each.pid for each in self.started if each.poll() is None}
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in environment.read_bytes():
                    pids.add(int(environment.parent.name))
        found = []
        for pid in pids - {os.getpid()}:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return sorted(found, key=_age)

    def workers(self) -> list[psutil.Process]:
        """Return the Dask workers."""
        if self.yard is not None:
            found = [
                each
                for each in _children(self.yard.nanny.pid)
                if _runs(each, "--multiprocessing-fork")
            ]
            with suppress(psutil.Error):
                found.append(psutil.Process(self.yard.elsewhere.pid))
            return sorted(found, key=_age)
        return [each for each in self.processes() if any(_runs(each, name) for name in WORKERS)]

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
        for timer in self.timers:
            timer.join()
        if self.slurm is not None:
            self.slurm.end_jobs()
        if self.yard is not None:
            self.yard.close()
        processes.kill(self.processes())
        for driver in self.started:
            driver.wait()
        if self.nursery is not None:
            self.nursery.close()


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
