"""A Slurm of its own on this machine: real daemons on loopback ports, ended with the block.

Needs Debian's ``slurm-wlm`` and ``munge``, and root, since slurmd drops to the user of a
job. No systemd, no cgroups, no accounting: what stands in the configuration is all of it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
from loopback import free_port

CORES, MEMORY = 8, 8000
"""What the one node pretends to have, MB: engines of tests are small, and two cores too few."""
LOOK_AT_NODE = 5.0
"""Seconds between two looks whether the controller has drained the node."""
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
CONFIGURATION = """\
ClusterName=leadline
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/none
InactiveLimit=0
KillWait=5
MinJobAge=300
OverTimeLimit=0
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Boards=1 SocketsPerBoard=1 \
CoresPerSocket={cores} ThreadsPerCore=1 RealMemory={memory} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=01:00:00 State=UP OverSubscribe=NO
"""


def missing() -> str:
    """Say why no Slurm can be started here, or nothing."""
    lacking = [each for each in PROGRAMS if shutil.which(each) is None]
    if lacking:
        return f"needs Debian's slurm-wlm and munge: there is no {', '.join(lacking)}"
    return "" if os.geteuid() == 0 else "needs root: slurmd starts jobs as their user"


@dataclass
class Slurm:
    """A Slurm that runs.

    Parameters
    ----------
    folder
        Configuration, state and logs.
    host
        Name of its one node.
    """

    folder: Path
    host: str
    _looked: float = 0.0

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment in which its commands find it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command: str) -> str:
        """Return what a command of it prints."""
        return subprocess.run(
            command,
            env={**os.environ, **self.variables},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def jobs(self) -> dict[str, str]:
        """Return the state of each job that waits or runs, by id."""
        lines = self.call("squeue", "--noheader", "--format=%i %T").splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

    def submitted(self) -> dict[str, float]:
        """Return when each job that waits or runs was submitted, in whole seconds, by id."""
        lines = self.call("squeue", "--noheader", "--format=%i %V").splitlines()
        return {
            line.split()[0]: datetime.fromisoformat(line.split()[1]).timestamp() for line in lines
        }

    def jobs_on_the_node(self) -> set[str]:
        """Return the jobs that have processes, whatever the controller remembers."""
        with suppress(subprocess.CalledProcessError):
            lines = self.call("scontrol", "listpids").splitlines()
            return {line.split()[1] for line in lines[1:]}
        return set()

    def limit(self, job: str) -> str:
        """Return the walltime that a job asked for, as Slurm writes it."""
        said = re.search(r"TimeLimit=(\S+)", self.call("scontrol", "show", "job", job))
        assert said is not None
        return said[1]

    def memory(self, job: str) -> str:
        """Return the memory that a job asked for, as Slurm writes it."""
        said = re.search(r"MinMemoryNode=(\S+)", self.call("scontrol", "show", "job", job))
        assert said is not None
        return said[1]

    def set_node_down(self) -> None:
        """Set the node down, as an administrator does."""
        self.call("scontrol", "update", f"NodeName={self.host}", "State=DOWN", "Reason=test")

    def set_node_up(self) -> None:
        """Set the node up again; it may have come back by itself."""
        with suppress(subprocess.CalledProcessError):
            self.call("scontrol", "update", f"NodeName={self.host}", "State=RESUME")
        _wait_until_up(self)

    def trust_the_node(self) -> None:
        """Set a node up again that the controller drained, as whoever looks after it does.

        A controller that was killed forgets what was submitted last, gives the job's number
        to another, and drains the node that has a job of that number. Whoever waits may call
        this as often as it likes: it looks every few seconds.
        """
        if time.monotonic() < self._looked + LOOK_AT_NODE:
            return
        self._looked = time.monotonic()
        with suppress(subprocess.CalledProcessError):
            if self.call("sinfo", "--noheader", "--format=%t").startswith("dr"):
                self.call("scontrol", "update", f"NodeName={self.host}", "State=RESUME")

    def start(self, daemon: str) -> None:
        """Start ``slurmctld`` or ``slurmd``."""
        subprocess.run([daemon], env={**os.environ, **self.variables}, check=True)

    def kill(self, daemon: str) -> None:
        """Kill one of the two at once; jobs go on."""
        process = self._process(daemon)
        process.kill()
        process.wait(20)

    def pause_controller(self) -> None:
        """Let the controller fall silent: it takes calls and answers none."""
        self._process("slurmctld").suspend()

    def resume_controller(self) -> None:
        """Let the controller go on."""
        self._process("slurmctld").resume()

    def _process(self, daemon: str) -> psutil.Process:
        return psutil.Process(int((self.folder / f"{daemon}.pid").read_text()))

    def end_jobs(self) -> None:
        """Cancel what is left, and wait until it is gone."""
        if left := list(self.jobs()):
            self.call("scancel", *left)
        deadline = time.monotonic() + 30
        while self.jobs() and time.monotonic() < deadline:
            time.sleep(0.2)


@contextmanager
def slurm_here(folder: Path) -> Iterator[Slurm]:
    """Start a Slurm, and end all of it at the end."""
    slurm = Slurm(folder, socket.gethostname().partition(".")[0])
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=slurm.host,
            folder=folder,
            controller=free_port(),
            node=free_port(),
            cores=CORES,
            memory=MEMORY,
        )
    )
    with ExitStack() as stack:
        stack.enter_context(_munge(folder))
        for daemon in ("slurmctld", "slurmd"):
            stack.callback(_end, folder / f"{daemon}.pid")
            slurm.start(daemon)
        stack.callback(slurm.end_jobs)
        _wait_until_up(slurm)
        yield slurm


@contextmanager
def _munge(folder: Path) -> Iterator[None]:
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    files = {"key": key, "pid": folder / "munge.pid", "log": folder / "munge.log"}
    options = [f"--{name}-file={path}" for name, path in files.items()]
    subprocess.run(
        [
            *("munged", "--force", f"--socket={folder / 'munge.socket'}"),
            *(*options, f"--seed-file={folder / 'munge.seed'}"),
        ],
        check=True,
        capture_output=True,
    )
    try:
        yield
    finally:
        _end(folder / "munge.pid")


def _wait_until_up(slurm: Slurm) -> None:
    deadline = time.monotonic() + 60
    while not slurm.call("sinfo", "--noheader", "--format=%t").startswith(("idle", "mix", "alloc")):
        if time.monotonic() > deadline:
            raise TimeoutError((slurm.folder / "slurmctld.log").read_text()[-2000:])
        time.sleep(0.1)


def _end(pid_file: Path) -> None:
    """End a daemon by the process id that it wrote."""
    with suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int(pid_file.read_text()))
        process.send_signal(signal.SIGTERM)
        process.wait(20)
