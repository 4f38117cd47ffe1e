"""A batch system as a driver uses it: submit a job, cancel it, ask what became of it."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from types import ModuleType
from typing import Any

import dask
import yaml

from leadline.tasks.compute.batch_systems import BATCH_SYSTEMS, JobState, Said
from leadline.tasks.compute.environment import for_commands
from leadline.tasks.compute.processes import host
from leadline.tasks.compute.queue_settings import QueueCluster, Resources
from leadline.tasks.engines.compute import JOB_BEGAN, JOB_QUEUE
from leadline.tasks.errors import ComputeError

GONE = Said(JobState.ENDED, "no longer in the queue")
ANSWER_SECONDS = 60.0
"""How long a batch system has to answer."""
CAUSE_SECONDS = 30.0
"""How long it has to say what became of a job."""
AWAY_SECONDS = 3600.0
"""How long one that did answer may be silent before that is called a refusal."""
_BEGIN = f"export {JOB_BEGAN}=`date +%s`"
"""First line of each job; by backticks, as HTCondor reads ``$(...)`` as a macro of its own."""
_STRANGE = re.compile(r"[^\w.@-]")
"""What stands in no name of a queue, which a shell gets to read."""
_TORN = re.compile(r"""[\s"'`$\\&;|<>()*?#!%]""")
"""What a shell, or the header of a job script, does not take as part of a path."""


class BatchQueue:
    """One batch system under one profile's settings.

    Parameters
    ----------
    settings
        The profile's.
    folder
        Where jobs write what they say; on a disk that their nodes see.
    """

    def __init__(self, settings: QueueCluster, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self._python = settings.python or sys.executable
        _refuse_torn_paths(settings, folder, self._python)
        self._system = BATCH_SYSTEMS[settings.kind]
        jobqueue = _dask_jobqueue()
        self._config = _own_config(jobqueue, settings.kind)
        self._job_class = _ours(getattr(jobqueue, self._system.cluster).job_cls)
        if self._system.submitted is not None:
            self._job_class.job_id_regexp = self._system.submitted
        self._lock, self._looking = Lock(), Lock()
        self._submitted: dict[str, float] = {}
        self._listed: dict[str, Said] = {}
        self._asked = self._looked = self._answered = -float("inf")
        self._name: str | None = None
        self._named = -float("inf")

    @property
    def name(self) -> str | None:
        """What tells this queue from all others, or None while the system does not say.

        The system, its cluster or server, and the user, whose jobs alone it lists for us.
        """
        due = time.monotonic() - self._named >= self.settings.poll
        if self._name is None and due and (cluster := self._cluster()):
            words = (self.settings.kind, cluster, getpass.getuser())
            self._name = "/".join(_STRANGE.sub("_", each) for each in words)
        return self._name

    def script(
        self,
        module: str,
        target: str,
        name: str,
        options: Sequence[str] = (),
        resources: Resources | None = None,
    ) -> str:
        """Return the script of a job that runs ``python -m module target --name name …``.

        It asks for ``resources``, or for those of the settings.
        """
        return str(self._job(module, target, name, options, resources).job_script())

    def submit(
        self,
        module: str,
        target: str,
        name: str,
        options: Sequence[str] = (),
        resources: Resources | None = None,
    ) -> str:
        """Submit the job of such a script, and return its id.

        Raises
        ------
        ComputeError
            If the system refuses it, in its own words, or does not answer.
        """
        job = self._job(module, target, name, options, resources)
        try:
            asyncio.run(job.start())
        except (RuntimeError, ValueError, OSError) as error:
            raise self._refusal(_last_line(str(error) or type(error).__name__)) from None
        with self._lock:
            self._submitted[str(job.job_id)] = self._answered = time.monotonic()
        return str(job.job_id)

    def rehearse(self) -> str:
        """Ask whether the system would take a job as the settings ask for it, and submit none.

        Returns
        -------
        str
            What it says against it now, or '' where it would take it or cannot be asked.

        Raises
        ------
        ComputeError
            If it would never take one, or its command is not there.
        """
        command = str(self._job_class.submit_command).split()[0]
        if shutil.which(command) is None:
            raise self._refusal(f"there is no command {command}")
        if not self._system.rehearse:
            return ""
        with NamedTemporaryFile("w", prefix="leadline-", suffix=".sh") as script:
            script.write(self.script("module", "target", "name"))
            script.flush()
            try:
                done = _answered([*self._system.rehearse, script.name])
            except subprocess.TimeoutExpired:
                return f"no answer within {ANSWER_SECONDS:g} s"
        if done.returncode == 0:
            return ""
        words = _last_line(done.stderr or done.stdout)
        if self._system.never.search(done.stderr):
            raise self._refusal(words)
        return words

    def _refusal(self, why: str) -> ComputeError:
        return ComputeError(
            f"{self.settings.kind} takes no job ({why}); see that "
            f"`{self._job_class.submit_command.split()[0]}` works here, and queue, account and "
            "resources under `cluster` of the profile"
        )

    def is_away(self) -> bool:
        """Tell whether the system does not answer now, as it did not long ago.

        Controllers are started again, and fall silent under load: that is no refusal.
        """
        asked = time.monotonic()
        if self._ask(self._system.command) is not None:
            self._answered = asked
            return False
        return asked - self._answered < AWAY_SECONDS

    def cancel(self, *ids: str) -> bool:
        """Ask for the end of jobs; tell whether that was heard, or none of them is left."""
        if not ids or self._ask([*self._job_class.cancel_command.split(), *ids]) is not None:
            return True
        listing = self._ask(self._system.command)
        if listing is None:
            return False
        listed = self._system.read(listing)
        said = (listed.get(self.listed_as(id), GONE) for id in ids)
        return all(each.state is JobState.ENDED for each in said)

    def listed_as(self, id: str) -> str:
        """Return a job's id as listings have it: a job of PBS adds the server's name to its own."""
        return id if self.settings.kind == "htcondor" else id.partition(".")[0]

    def said(self, id: str) -> Said | None:
        """Return what the system says of a job; None while it does not answer.

        Many threads may ask: the queue is listed at most once in ``settings.poll``
        seconds, whether it answers or not, and nobody waits for the listing of another.
        A job that a listing from before its submission lacks is not over.
        """
        id = self.listed_as(id)
        if self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        with self._lock:
            since = self._submitted.get(id, -float("inf"))
            if id in self._listed:
                return self._listed[id]
            return GONE if self._looked > since + self.settings.poll else None

    def held(self, ids: Iterable[str]) -> dict[str, str]:
        """Return why jobs wait for a person, in the system's own words, by id.

        Those that do not, and those of which it says nothing, are left out.
        """
        listed = self._system.read(self._ask(self._system.command) or "")
        said = {id: listed[self.listed_as(id)] for id in ids if self.listed_as(id) in listed}
        return {id: self._why(id, each) for id, each in said.items() if self._system.holds(each)}

    def _why(self, id: str, said: Said) -> str:
        explain = [part.format(id=id) for part in self._system.explain]
        found = self._system.because.search((explain and self._ask(explain)) or "")
        return found["why"].strip() if found else said.why or said.word

    def last_word(self, id: str) -> Said | None:
        """Return what the system says of a job once it is over; None if it says nothing in time."""
        deadline = time.monotonic() + CAUSE_SECONDS
        while time.monotonic() < deadline:
            said = self.said(id)
            if said is not None and said.state is JobState.ENDED:
                return said
            time.sleep(1.0)
        return None

    def _cluster(self) -> str | None:
        """Return the name of the cluster or server that answers here, if it tells one."""
        self._named = time.monotonic()
        if not self._system.which:
            return host()
        found = self._system.called.search(self._ask([*self._system.which]) or "")
        return found and found["name"]

    def _look(self) -> None:
        """List the queue if that is due."""
        began = time.monotonic()
        if began - self._asked < self.settings.poll:
            return
        self._asked = began
        listing = self._ask(self._system.command)
        if listing is not None:
            with self._lock:
                self._listed = self._system.read(listing)
                self._looked = self._answered = began

    def _ask(self, command: list[str]) -> str | None:
        """Return what a command of the system prints, or None where it fails."""
        try:
            done = _answered(command)
        except (OSError, subprocess.TimeoutExpired):
            return None
        # An empty queue is no error, whatever the exit code with which some systems say so.
        empty = any(words in done.stderr for words in _EMPTY)
        return done.stdout if done.returncode == 0 or empty else None

    def _job(
        self,
        module: str,
        target: str,
        name: str,
        options: Sequence[str],
        resources: Resources | None,
    ) -> Any:
        asked = {"resources": resources or self.settings.resources}
        settings = self.settings.model_copy(update=asked)
        queue = {"queue": settings.queue} if settings.kind != "htcondor" else {}
        named = [f"export {JOB_QUEUE}={self.name}"] if self.name else []
        return self._job_class(
            target,
            name=name,
            cores=1,
            memory=f"{settings.resources.memory:.0f}B",
            processes=1,
            python=self._python,
            worker_command=module,
            worker_extra_args=[*options],
            local_directory=settings.scratch and str(settings.scratch),
            job_script_prologue=[_BEGIN, *named, *settings.prologue],
            log_directory=str(self.folder),
            job_name="leadline",
            config_name=self._config,
            **queue,
            **self._system.words(settings),
        )


_EMPTY = ("No unfinished job found", "No job found")


def _dask_jobqueue() -> ModuleType:
    """Import dask-jobqueue, and leave Ctrl-C to us: its import makes it end the process.

    Only the main thread may set a handler at all, so elsewhere the import would fail.
    """
    setting = signal.signal
    signal.signal = lambda *_: None
    try:
        return import_module("dask_jobqueue")
    finally:
        signal.signal = setting


def _own_config(jobqueue: ModuleType, kind: str) -> str:
    """Return the name of dask-jobqueue's defaults for our jobs.

    What a person's own configuration says of theirs must not change ours.
    """
    defaults = (files(jobqueue) / "jobqueue.yaml").read_text(encoding="utf-8")
    name = f"leadline-{kind}"
    dask.config.set({f"jobqueue.{name}": yaml.safe_load(defaults)["jobqueue"][kind]})
    return name


def _refuse_torn_paths(settings: QueueCluster, folder: Path, python: str) -> None:
    """Refuse paths that do not pass whole through the shells and headers of job scripts.

    Raises
    ------
    ComputeError
        If there is one.
    """
    named = {"calculations": folder, "cluster.scratch": settings.scratch, "cluster.python": python}
    for key, path in named.items():
        if torn := _TORN.search(str(path or "")):
            raise ComputeError(
                f"{key} of the profile: found {str(path)!r}; allowed in the scripts of batch jobs "
                f"is no space and none of the shell's own signs, found {torn[0]!r}: name another"
            )


def _ours(job_class: type[Any]) -> type[Any]:
    """Return a job class of our own, whose commands are called as all of ours."""

    class Ours(job_class):  # type: ignore[misc]
        @staticmethod
        async def _call(cmd: list[str], *, shell: bool = False) -> str:
            try:
                done = _answered(cmd, shell=shell)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"no answer within {ANSWER_SECONDS:g} s") from None
            if done.returncode != 0:
                said = f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
                raise RuntimeError(said)
            return done.stdout

    return Ours


def _answered(command: list[str], *, shell: bool = False) -> subprocess.CompletedProcess[str]:
    """Call a command of the system, without the driver's secrets.

    Where it has no end in time, all that it started is killed: it would hold who waits for it.

    Raises
    ------
    OSError
        If there is no such command.
    subprocess.TimeoutExpired
        After ``ANSWER_SECONDS``.
    """
    with subprocess.Popen(
        command,
        shell=shell,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=for_commands(os.environ),
        start_new_session=True,
    ) as process:
        try:
            said, warned = process.communicate(timeout=ANSWER_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, said, warned)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why"
