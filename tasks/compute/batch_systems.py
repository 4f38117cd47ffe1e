"""Batch systems by name: how each is asked for a job, and what it says of those it has.

Directives and submission are dask-jobqueue's; here stand what it leaves to its user, the
resources of a calculation in each system's words, and the reading of each queue.
"""

from __future__ import annotations

import getpass
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from leadline.tasks.compute.queue_settings import QueueCluster


class JobState(StrEnum):
    """What a batch system says of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "BOOT_FAIL": "node-failed",
        "CANCELLED": "job-cancelled",
        "DEADLINE": "walltime",
        "NODE_FAIL": "node-failed",
        "OUT_OF_MEMORY": "out-of-memory",
        "PREEMPTED": "preempted",
        "TIMEOUT": "walltime",
    }
)
"""Reasons of failures by what a batch system said of the job."""


_NOWHERE = re.compile(r"(?!)")


@dataclass(frozen=True)
class Said:
    """What a batch system said of one job, its own word for it, and why if it said that too."""

    state: JobState
    word: str
    why: str = ""


@dataclass(frozen=True)
class BatchSystem:
    """One batch system.

    Parameters
    ----------
    cluster
        Name of its cluster in dask-jobqueue.
    words
        From a profile to the arguments of that cluster's jobs.
    look
        The command that lists a user's jobs, ``{user}`` being the user.
    line
        What a job's line looks like, with the groups ``id`` and ``word``, and perhaps ``why``.
    waiting, ended
        Its words for jobs that wait, and for jobs that are over; all others run.
    submitted
        How its answer to a submission names the job, as the group ``job_id``: sites add words
        and numbers of their own. None where dask-jobqueue knows.
    which, called
        The command that says which cluster or server answers here, and how it is named there,
        as the group ``name``. Without them it is told by the host from which it is asked.
    held
        Its words, or its reasons, for jobs that run only once a person has done something.
    explain, because
        The command that tells all of the job ``{id}``, and where it says why that is held, as
        the group ``why``. Without them the listing says it.
    rehearse, never
        The command that says of a script whether the system would take it now, and submits
        nothing; and what it says of a job that it would take at no other time either.
    """

    cluster: str
    words: Callable[[QueueCluster], dict[str, Any]]
    look: tuple[str, ...]
    line: re.Pattern[str]
    waiting: frozenset[str]
    ended: frozenset[str]
    submitted: str | None = None
    which: tuple[str, ...] = ()
    called: re.Pattern[str] = _NOWHERE
    held: re.Pattern[str] = _NOWHERE
    explain: tuple[str, ...] = ()
    because: re.Pattern[str] = _NOWHERE
    rehearse: tuple[str, ...] = ()
    never: re.Pattern[str] = _NOWHERE

    @property
    def command(self) -> list[str]:
        """The command that lists this user's jobs."""
        return [part.format(user=getpass.getuser()) for part in self.look]

    def read(self, listing: str) -> dict[str, Said]:
        """Return what a listing says, by job id; a job that is not in it is over."""
        return dict(self._said(listing))

    def _said(self, listing: str) -> Iterator[tuple[str, Said]]:
        for match in self.line.finditer(listing):
            word = match["word"]
            state = JobState.WAITING if word in self.waiting else JobState.RUNNING
            why = match.groupdict().get("why") or ""
            yield match["id"], Said(JobState.ENDED if word in self.ended else state, word, why)

    def holds(self, said: Said) -> bool:
        """Tell whether a job waits for a person."""
        return any(self.held.fullmatch(each) for each in (said.word, said.why) if each)


def clock(seconds: float) -> str:
    """Return a time as batch systems write it: hours, minutes, seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _slurm(cluster: QueueCluster) -> dict[str, Any]:
    need = cluster.resources
    directives = [
        f"--nodes={need.nodes}",
        f"--ntasks={need.ranks}",
        f"--cpus-per-task={need.threads}",
        "--no-requeue",
        *([f"--gres=gpu:{need.gpus}"] if need.gpus else []),
    ]
    return {
        "account": cluster.account,
        "walltime": clock(need.walltime),
        "job_mem": f"{need.memory / 2**20:.0f}M",
        "job_directives_skip": ["#SBATCH -n 1", "#SBATCH --cpus-per-task"],
        "job_extra_directives": [*directives, *cluster.directives],
    }


def _pbs(cluster: QueueCluster) -> dict[str, Any]:
    need = cluster.resources
    chunk = [
        f"select={need.nodes}",
        f"ncpus={need.cores}",
        f"mpiprocs={need.ranks // need.nodes}",
        f"ompthreads={need.threads}",
        f"mem={need.memory / 2**20:.0f}MB",
        *([f"ngpus={need.gpus}"] if need.gpus else []),
    ]
    return {
        "account": cluster.account,
        "walltime": clock(need.walltime),
        "resource_spec": ":".join(chunk),
        # Without it, chunks that fit on one host may share it.
        "job_extra_directives": [
            "-r n",
            *(["-l place=scatter"] if need.nodes > 1 else []),
            *cluster.directives,
        ],
    }


def _sge(cluster: QueueCluster) -> dict[str, Any]:
    need = cluster.resources
    slots = need.ranks * need.threads
    of_each = need.memory * need.nodes / slots / 2**20
    parallel = [f"-pe {cluster.parallel_environment} {slots}"] if slots > 1 else []
    return {
        "project": cluster.account,
        "walltime": clock(need.walltime),
        # Both are of each slot.
        "resource_spec": f"h_vmem={of_each:.0f}M{_gpus_of_a_slot(need.gpus, need.cores)}",
        # Many sites start scripts with csh, whatever their first line says.
        "job_extra_directives": ["-S /bin/bash", *parallel, "-r n", *cluster.directives],
    }


def _gpus_of_a_slot(gpus: int, slots: int) -> str:
    """Return the GPUs of a node as Grid Engine takes them, which counts none by halves."""
    return f",gpu={math.ceil(gpus / slots)}" if gpus else ""


def _lsf(cluster: QueueCluster) -> dict[str, Any]:
    need = cluster.resources
    slots = need.ranks * need.threads
    return {
        "project": cluster.account,
        # It counts minutes: those that are begun are asked for.
        "walltime": clock(math.ceil(need.walltime / 60) * 60).rpartition(":")[0],
        "ncpus": slots,
        "mem": int(need.memory),
        "job_directives_skip": ["span[hosts=1]"],
        "job_extra_directives": [
            f'-R "span[ptile={need.cores}]"',
            # -M limits memory; this has it kept free, and the unit is no matter of the site.
            f'-R "rusage[mem={need.memory / 2**20:.0f}MB]"',
            "-rn",
            *([f'-gpu "num={need.gpus}"'] if need.gpus else []),
            *cluster.directives,
        ],
    }


def _oar(cluster: QueueCluster) -> dict[str, Any]:
    need = cluster.resources
    # The cores below a GPU are counted for each of them.
    gpus = f"/gpu={need.gpus}" if need.gpus else ""
    cores = math.ceil(need.cores / max(need.gpus, 1))
    return {
        "project": cluster.account,
        "walltime": clock(need.walltime),
        "resource_spec": f"/nodes={need.nodes}{gpus}/core={cores}",
        # OAR grants memory with the cores; sites that name it do so in `directives`.
        "memory_per_core_property_name": "not_applicable",
        "job_extra_directives": list(cluster.directives),
    }


_ENDED_BY_CONDOR = (
    "(JobStatus == 5 && HoldReasonCode != 1 && HoldReasonCode != 15 && HoldReasonCode != 16) "
    "|| (JobStatus == 1 && NumJobStarts > 0)"
)
"""When HTCondor is to remove a job: once it is held for another reason than a person's word (1),
its submission (15) or its files under way (16), as past its time; or evicted, and would run again.
"""


def _htcondor(cluster: QueueCluster) -> dict[str, Any]:
    need = cluster.resources
    asked = [line.partition("=") for line in cluster.directives]
    return {
        "disk": f"{cluster.disk:.0f}B",
        "job_extra_directives": {
            "request_cpus": need.cores,
            "request_memory": f"{need.memory / 2**20:.0f}MB",
            "allowed_job_duration": int(need.walltime),
            "periodic_remove": _ENDED_BY_CONDOR,
            "environment": '"LEADLINE_JOB_ID=$(ClusterId).$(ProcId)"',
            **({"request_gpus": need.gpus} if need.gpus else {}),
            **({"accounting_group": cluster.account} if cluster.account else {}),
            **{key.strip(): value.strip() for key, _, value in asked},
        },
        "job_directives_skip": ["RequestCpus", "RequestMemory"],
    }


BATCH_SYSTEMS: Mapping[str, BatchSystem] = MappingProxyType(
    {
        "slurm": BatchSystem(
            cluster="SLURMCluster",
            words=_slurm,
            look=("squeue", "--noheader", "--states=all", "--user={user}", "--format=%i|%T|%r"),
            line=re.compile(r"^(?P<id>\d+)\|(?P<word>\w+)(?:\|(?P<why>.*))?$", re.MULTILINE),
            held=re.compile(
                r"JobHeld.*|JobHoldMaxRequeue|launch.failed.*|BadConstraints|Invalid.*|ReqNode.*|"
                r"DependencyNeverSatisfied|Partition(Down|Inactive|NodeLimit|TimeLimit)|"
                r"(Account|QOS)NotAllowed|SPECIAL_EXIT|REQUEUE_HOLD|RESV_DEL_HOLD"
            ),
            waiting=frozenset(
                {
                    "PENDING",
                    "CONFIGURING",
                    "REQUEUED",
                    "REQUEUE_HOLD",
                    "REQUEUE_FED",
                    "RESV_DEL_HOLD",
                }
            ),
            ended=frozenset(
                {
                    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
                    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
                }
            ),
            submitted=r"Submitted batch job (?P<job_id>\d+)",
            which=("scontrol", "show", "config"),
            called=re.compile(r"^ClusterName\s*=\s*(?P<name>\S+)", re.MULTILINE),
            rehearse=("sbatch", "--test-only"),
            never=re.compile("invalid", re.IGNORECASE),
        ),
        "pbs": BatchSystem(
            cluster="PBSCluster",
            words=_pbs,
            look=("qstat", "-u", "{user}"),
            line=re.compile(r"^(?P<id>\d+)\S*(?:\s+\S+){8}\s+(?P<word>[A-Z])\s", re.MULTILINE),
            waiting=frozenset("QHWT"),
            ended=frozenset("CFX"),
            submitted=r"(?m)^(?P<job_id>\d+)(?:\.\S+)?\s*$",
            which=("qstat", "-B", "-f"),
            called=re.compile(r"^Server:\s*(?P<name>\S+)", re.MULTILINE),
            held=re.compile("H"),
            explain=("qstat", "-f", "{id}"),
            because=re.compile(r"^\s*comment = (?P<why>.+)$", re.MULTILINE),
        ),
        "sge": BatchSystem(
            cluster="SGECluster",
            words=_sge,
            look=("qstat", "-u", "{user}"),
            line=re.compile(r"^\s*(?P<id>\d+)(?:\s+\S+){3}\s+(?P<word>\w+)\s", re.MULTILINE),
            waiting=frozenset({"qw", "hqw", "hRwq"}),
            # A job in error waits for a person, and never runs by itself.
            ended=frozenset({"Eqw", "Ehqw", "EhRqw"}),
            submitted=r"[Yy]our job (?P<job_id>\d+)",
            which=("qconf", "-sss"),
            called=re.compile(r"^(?P<name>[\w.-]+)\s*$", re.MULTILINE),
            held=re.compile("hqw|hRwq|Eqw|Ehqw|EhRqw"),
            explain=("qstat", "-j", "{id}"),
            because=re.compile(r"^error reason\s+\d+:\s+(?P<why>.+)$", re.MULTILINE),
        ),
        "lsf": BatchSystem(
            cluster="LSFCluster",
            words=_lsf,
            look=("bjobs", "-u", "{user}", "-noheader", "-o", "jobid stat"),
            line=re.compile(r"^(?P<id>\d+)\s+(?P<word>[A-Z]+)", re.MULTILINE),
            waiting=frozenset({"PEND", "PSUSP", "WAIT"}),
            ended=frozenset({"DONE", "EXIT"}),
            submitted=r"Job <(?P<job_id>\d+)>",
            which=("lsid",),
            called=re.compile(r"^My cluster name is (?P<name>\S+)", re.MULTILINE),
            held=re.compile("PSUSP"),
            explain=("bjobs", "-noheader", "-o", "pend_reason", "{id}"),
            because=re.compile(r"^\s*(?P<why>\S.*)$", re.MULTILINE),
        ),
        "oar": BatchSystem(
            cluster="OARCluster",
            words=_oar,
            look=("oarstat", "--user", "{user}"),
            line=re.compile(r"^(?P<id>\d+)\s.*?\s(?P<word>[A-Za-z])\s+\S+\s*$", re.MULTILINE),
            waiting=frozenset("WHLt"),
            ended=frozenset("TE"),
            held=re.compile("H"),
            explain=("oarstat", "-f", "-j", "{id}"),
            because=re.compile(r"^\s*message = (?P<why>.+)$", re.MULTILINE),
        ),
        "htcondor": BatchSystem(
            cluster="HTCondorCluster",
            words=_htcondor,
            look=("condor_q", "-autoformat:j", "JobStatus"),
            line=re.compile(r"^(?P<id>\d+\.\d+)\s+(?P<word>\d)", re.MULTILINE),
            waiting=frozenset({"1", "5"}),
            ended=frozenset({"4"}),
            held=re.compile("5"),
            explain=("condor_q", "{id}", "-autoformat", "HoldReason"),
            because=re.compile(r"^(?P<why>.+)$", re.MULTILINE),
        ),
    }
)
"""By the name that a profile gives as ``cluster.kind``."""
