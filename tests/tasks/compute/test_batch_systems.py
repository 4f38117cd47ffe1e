"""Each batch system: the exact script it is given, and its listings as they are read."""

from __future__ import annotations

import getpass
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.batch_systems import BATCH_SYSTEMS, JobState, clock
from leadline.tasks.compute.processes import host
from leadline.tasks.compute.profile import Profile
from leadline.tasks.compute.queue_settings import QueueCluster
from leadline.tasks.compute.right_sizing import Need
from leadline.tasks.errors import SpecError
from leadline.tasks.settings import validated

NEED = {
    "nodes": 2, "ranks": 16, "threads": 2, "gpus": 1, "memory": "64 GiB", "walltime": "12 h"
}  # fmt: skip
COMMAND = (
    f"{sys.executable} -m a.module tls://head:1 --name w1 --nthreads 1 --memory-limit 64.00GiB "
    "--death-timeout 60 --more 2"
)
BEGIN = "export LEADLINE_JOB_BEGAN=`date +%s`"
WHICH = {
    "scontrol": "AccountingStorageType   = none\nClusterName             = big\nCompleteWait = 0",
    "qstat": "Server: big\n    server_state = Active\n    total_jobs = 12",
    "qconf": "big",
    "lsid": "IBM Spectrum LSF 10.1\n\nMy cluster name is big\nMy master name is head",
}
"""What each system prints where it is asked which one it is; the others have no name."""
SCRIPTS = {
    "slurm": """\
#SBATCH -J leadline
#SBATCH -e /shared/leadline-%J.err
#SBATCH -o /shared/leadline-%J.out
#SBATCH -p long
#SBATCH -A abc
#SBATCH --mem=65536M
#SBATCH -t 12:00:00
#SBATCH --nodes=2
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=2
#SBATCH --no-requeue
#SBATCH --gres=gpu:1
#SBATCH --exclusive""",
    "pbs": """\
#PBS -N leadline
#PBS -q long
#PBS -A abc
#PBS -l select=2:ncpus=16:mpiprocs=8:ompthreads=2:mem=65536MB:ngpus=1
#PBS -l walltime=12:00:00
#PBS -e /shared/
#PBS -o /shared/
#PBS -r n
#PBS -l place=scatter
#PBS --exclusive""",
    "sge": """\
#$ -N leadline
#$ -q long
#$ -P abc
#$ -l h_vmem=4096M,gpu=1
#$ -l h_rt=12:00:00
#$ -e /shared/
#$ -o /shared/
#$ -cwd
#$ -j y
#$ -S /bin/bash
#$ -pe mpi 32
#$ -r n
#$ --exclusive""",
    "lsf": """\
#BSUB -J leadline
#BSUB -e /shared/w1-%J.err
#BSUB -o /shared/w1-%J.out
#BSUB -q long
#BSUB -P "abc"
#BSUB -n 32
#BSUB -M 68719477
#BSUB -W 12:00
#BSUB -R "span[ptile=16]"
#BSUB -R "rusage[mem=65536MB]"
#BSUB -rn
#BSUB -gpu "num=1"
#BSUB --exclusive""",
    "oar": """\
#OAR -n leadline
#OAR -q long
#OAR --project abc
#OAR -l /nodes=2/gpu=1/core=16,walltime=12:00:00
#OAR --exclusive""",
}
"""Directives of one calculation on two nodes with 16 MPI processes, two threads each."""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that need not be there: only the scripts name it."""
    monkeypatch.setattr("os.makedirs", lambda *_, **__: None)
    return Path("/shared")


def settings(kind: str, **changes: Any) -> QueueCluster:
    given = {"kind": kind, "resources": NEED, "queue": "long", "account": "abc", **changes}
    return validated(QueueCluster, given, "cluster")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Let each system tell its name; return what a job of one is told of its queue."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name, words in WHICH.items():
        (tmp_path / name).write_text(f"#!/bin/sh\ncat <<'END'\n{words}\nEND\n")
        (tmp_path / name).chmod(0o755)

    def told(kind: str) -> str:
        name = host() if kind in ("oar", "htcondor") else "big"
        return f"export LEADLINE_JOB_QUEUE={kind}/{name}/{getpass.getuser()}"

    return told


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_calculation_is_asked_for_in_each_systems_words(
    kind: str, folder: Path, queue: Callable[[str], str]
) -> None:
    asked = settings(kind, prologue=["module load dft"], directives=["--exclusive"])
    script = BatchQueue(asked, folder).script("a.module", "tls://head:1", "w1", ["--more", "2"])
    first = f"{BEGIN}\n{queue(kind)}"
    words = f"#!/usr/bin/env bash\n\n{SCRIPTS[kind]}\n{first}\nmodule load dft\n{COMMAND}\n"
    assert script == words


SIZED = {
    "slurm": {
        "#SBATCH --mem=65536M": "#SBATCH --mem=2384M",
        "#SBATCH -t 12:00:00": "#SBATCH -t 00:26:00",
    },
    "pbs": {
        "mem=65536MB": "mem=2384MB",
        "#PBS -l walltime=12:00:00": "#PBS -l walltime=00:26:00",
    },
    "sge": {"h_vmem=4096M": "h_vmem=149M", "#$ -l h_rt=12:00:00": "#$ -l h_rt=00:26:00"},
    "lsf": {
        "#BSUB -M 68719477": "#BSUB -M 2500000",
        "mem=65536MB": "mem=2384MB",
        "#BSUB -W 12:00": "#BSUB -W 00:26",
    },
    "oar": {"walltime=12:00:00": "walltime=00:26:00"},
}
"""What a right-sized request changes in the scripts: OAR grants memory with the cores."""
NEEDED = Need(walltime=1500.0, memory=2.1e9)


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_right_sized_request_changes_time_and_memory_and_nothing_else(
    kind: str, folder: Path, queue: Callable[[str], str]
) -> None:
    given = settings(kind, directives=["--exclusive"])
    asked = NEEDED.within(given.resources, stop=60)
    script = BatchQueue(given, folder).script("a.module", "tls://head:1", "w1", resources=asked)
    expected = SCRIPTS[kind]
    for full, sized in SIZED[kind].items():
        assert full in expected
        expected = expected.replace(full, sized)
    command = COMMAND.replace("64.00GiB", "2.33GiB").removesuffix(" --more 2")
    lines = ["#!/usr/bin/env bash", "", expected, BEGIN, queue(kind), command, ""]
    assert script == "\n".join(lines)


@pytest.mark.parametrize(
    ("kind", "need", "words"),
    [
        ("sge", {"ranks": 4, "gpus": 4}, ",gpu=1\n"),
        ("sge", {"ranks": 2, "gpus": 4}, ",gpu=2\n"),
        ("oar", {"ranks": 16, "gpus": 4}, "/nodes=1/gpu=4/core=4,"),
        ("oar", {"ranks": 16}, "/nodes=1/core=16,"),
        ("lsf", {"walltime": "90 s"}, "-W 00:02\n"),
        ("lsf", {"walltime": "30 min"}, "-W 00:30\n"),
    ],
)
def test_what_a_system_counts_by_slots_gpus_or_minutes_is_enough(
    kind: str, need: dict[str, Any], words: str, folder: Path
) -> None:
    asked = settings(kind, resources=need, margin=10)
    assert words in BatchQueue(asked, folder).script("a.module", "tls://head:1", "w1")


def test_chunks_of_one_node_go_wherever_there_is_room(folder: Path) -> None:
    asked = settings("pbs", resources={"ranks": 4})
    assert "place=" not in BatchQueue(asked, folder).script("a.module", "tls://head:1", "w1")


def test_htcondor_is_given_a_submit_file(folder: Path, queue: Callable[[str], str]) -> None:
    need = {**NEED, "nodes": 1}
    asked = settings("htcondor", queue=None, resources=need, directives=["rank = Memory"])
    script = BatchQueue(asked, folder).script("a.module", "tls://head:1", "w1", ["--more", "2"])
    lines = script.splitlines()
    assert lines[0] == "#!/usr/bin/env condor_submit"
    assert f"Arguments = \"-c '{BEGIN}; {queue('htcondor')}; {COMMAND}'\"" in lines
    assert {
        "request_cpus = 32",
        "request_memory = 65536MB",
        "request_gpus = 1",
        "allowed_job_duration = 43200",
        'environment = "LEADLINE_JOB_ID=$(ClusterId).$(ProcId)"',
        "accounting_group = abc",
        "rank = Memory",
        "periodic_remove = (JobStatus == 5 && HoldReasonCode != 1 && HoldReasonCode != 15 && "
        "HoldReasonCode != 16) || (JobStatus == 1 && NumJobStarts > 0)",
    } <= set(lines)
    assert not [line for line in lines if line.startswith("RequestCpus")]


def test_htcondor_is_given_a_right_sized_request(folder: Path) -> None:
    given = settings("htcondor", queue=None, resources={**NEED, "nodes": 1})
    asked = NEEDED.within(given.resources, stop=60)
    queue = BatchQueue(given, folder)
    full, sized = (
        queue.script("a.module", "tls://head:1", "w1", resources=each).splitlines()
        for each in (None, asked)
    )
    differ = {line.partition(" = ")[0]: line for line in sized if line not in full}
    assert differ.pop("Arguments").count("--memory-limit 2.33GiB") == 1
    assert differ.pop("MY.DaskWorkerMemory").endswith("= 2500000000")
    assert differ == {
        "request_memory": "request_memory = 2384MB",
        "allowed_job_duration": "allowed_job_duration = 1560",
    }


LISTINGS = {
    "slurm": ("17|PENDING\n18|RUNNING\n19|COMPLETING\n20|TIMEOUT\n21|NODE_FAIL\n", "17", "20 21"),
    "pbs": (
        "\nserver:\n"
        "                                                            Req'd  Req'd   Elap\n"
        "Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time\n"
        "--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----\n"
        "17.server       me       long     leadline      --    2  32   64gb 12:00 Q   --\n"
        "18.server       me       long     leadline    4711    2  32   64gb 12:00 R 00:01\n"
        "19.server       me       long     leadline    4712    2  32   64gb 12:00 E 00:01\n"
        "20.server       me       long     leadline    4713    2  32   64gb 12:00 F 00:01\n",
        "17",
        "20",
    ),
    "sge": (
        "job-ID  prior   name       user  state submit/start at     queue  slots ja-task-ID\n"
        "----------------------------------------------------------------------------------\n"
        "     17 0.55500 leadline   me    qw    11/24/2026 10:00:00            32\n"
        "     18 0.55500 leadline   me    r     11/24/2026 10:00:00 long@n1    32\n"
        "     19 0.55500 leadline   me    dr    11/24/2026 10:00:00 long@n2    32\n"
        "     20 0.55500 leadline   me    Eqw   11/24/2026 10:00:00            32\n",
        "17",
        "20",
    ),
    "lsf": ("17 PEND\n18 RUN\n19 SSUSP\n20 DONE\n21 EXIT\n", "17", "20 21"),
    "oar": (
        "Job id     Name           User           Submission Date     S Queue\n"
        "---------- -------------- -------------- ------------------- - ----------\n"
        "17         leadline       me             2026-11-24 10:00:00 W default\n"
        "18         leadline       me             2026-11-24 10:00:00 R default\n"
        "19         leadline       me             2026-11-24 10:00:00 F default\n"
        "20         leadline       me             2026-11-24 10:00:00 T default\n",
        "17",
        "20",
    ),
    "htcondor": ("17.0 1\n18.0 2\n19.0 6\n20.0 4\n", "17.0", "20.0"),
}
"""What each system prints of a user's jobs; which of them wait, and which are over."""


@pytest.mark.parametrize("kind", BATCH_SYSTEMS)
def test_a_listing_says_what_waits_runs_and_is_over(kind: str) -> None:
    listing, waiting, ended = LISTINGS[kind]
    said = BATCH_SYSTEMS[kind].read(listing)
    by_state = {
        state: {job for job, each in said.items() if each.state is state} for state in JobState
    }
    assert by_state[JobState.WAITING] == set(waiting.split())
    assert by_state[JobState.ENDED] == set(ended.split())
    assert {job.partition(".")[0] for job in by_state[JobState.RUNNING]} == {"18", "19"}


def test_a_queue_is_asked_for_ones_own_jobs() -> None:
    assert getpass.getuser() in " ".join(BATCH_SYSTEMS["slurm"].command)


def test_times_are_written_as_a_clock_of_many_hours() -> None:
    assert clock(36 * 3600 + 5 * 60 + 7) == "36:05:07"


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("slurm", {"resources": {"nodes": 3, "ranks": 16}}, "16 ranks on 3 nodes"),
        ("slurm", {"resources": {"walltime": "60 s"}}, "more than twice the margin"),
        ("slurm", {"resources": {"memory": "much"}}, "a number in bytes"),
        ("htcondor", {}, "one node"),
        ("cron", {}, "slurm"),
    ],
)
def test_what_no_job_can_be_is_refused(kind: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        settings(kind, **changes)


def test_ranks_and_threads_are_said_once_for_job_and_engine() -> None:
    engines = {"espresso": {"launcher": "mpirun -np {ranks}", "threads": 1}}
    cluster = {"kind": "slurm", "resources": {"ranks": 16, "threads": 2}}
    profile = validated(Profile, {"name": "q", "cluster": cluster, "engines": engines}, "profile")
    assert (profile.site("espresso").ranks, profile.site("espresso").threads) == (16, 1)
    assert (profile.site("abinit").ranks, profile.site("abinit").threads) == (16, 2)


def test_a_batch_system_leaves_ctrl_c_alone(folder: Path) -> None:
    words = (
        "import signal, threading, pathlib, os\n"
        "from leadline.tasks.compute.batch_queue import BatchQueue\n"
        "from leadline.tasks.compute.queue_settings import QueueCluster\n"
        "os.makedirs = lambda *_, **__: None\n"
        "cluster, path = QueueCluster(kind='slurm'), pathlib.Path('/shared')\n"
        "thread = threading.Thread(target=BatchQueue, args=(cluster, path))\n"
        "thread.start(); thread.join()\n"
        "BatchQueue(cluster, path).script('m', 't', 'n')\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
