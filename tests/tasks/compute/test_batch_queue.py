"""How a batch system is asked, without one: its commands are a few lines of shell."""

from __future__ import annotations

import getpass
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import pytest
from slurm_here import Slurm

from leadline.tasks.compute import batch_queue, dispatcher
from leadline.tasks.compute.attempt_files import Running
from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.batch_systems import JobState
from leadline.tasks.compute.dispatcher import proved_by
from leadline.tasks.compute.environment import without_secrets
from leadline.tasks.compute.processes import start_time
from leadline.tasks.compute.queue_settings import QueueCluster
from leadline.tasks.errors import ComputeError

Commands = Callable[[str, str], None]
AGE = "from leadline.tasks.engines.compute import job_age; print(job_age(), job_age({}))"
"""Says how old a job is by its script, and by its process."""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Write a command that is found before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def write(name: str, lines: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)

    return write


@pytest.mark.parametrize(
    ("kind", "submit", "said", "job"),
    [
        ("slurm", "sbatch", "Welcome to login2 ... OK\nSubmitted batch job 4711", "4711"),
        ("pbs", "qsub", "2 projects, charged to abc\n4711.server.site", "4711"),
        ("sge", "qsub", 'Budget 7\nYour job 4711 ("leadline") has been submitted', "4711"),
        ("lsf", "bsub", "esub 2.1 speaks\nJob <4711> is submitted to queue <normal>.", "4711"),
        ("oar", "oarsub", "Set default walltime to 7200.\nOAR_JOB_ID=4711", "4711"),
        ("htcondor", "condor_submit", "1 job(s) submitted to cluster 4711.", "4711.0"),
    ],
)
def test_a_job_is_known_by_its_id_whatever_else_a_site_prints(
    command: Commands, tmp_path: Path, kind: str, submit: str, said: str, job: str
) -> None:
    command(submit, f"cat <<'END'\n{said}\nEND")
    queue = BatchQueue(QueueCluster.model_validate({"kind": kind}), tmp_path)
    assert queue.submit("a.module", "tls://head:1", "w1") == job


def test_a_queue_that_does_not_answer_is_asked_no_more_often(
    command: Commands, tmp_path: Path
) -> None:
    command("squeue", f"echo asked >> {tmp_path}/asked; exit 1")
    queue = BatchQueue(QueueCluster(kind="slurm", poll=60), tmp_path)
    assert [queue.said("17") for _ in range(5)] == [None] * 5
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_nobody_waits_while_another_asks_a_slow_queue(
    command: Commands, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    command("squeue", f"touch {tmp_path}/asked; sleep 3; echo '17|PENDING'")
    queue = BatchQueue(QueueCluster(kind="slurm", poll=60), tmp_path)
    slow = pool.submit(queue.said, "17")
    while not (tmp_path / "asked").exists():
        time.sleep(0.01)
    assert queue.said("17") is None
    assert not slow.done()
    said = slow.result()
    assert said is not None
    assert said.state is JobState.WAITING


def test_a_queue_that_is_away_for_a_moment_is_asked_again_for_a_proof(
    command: Commands, tmp_path: Path
) -> None:
    command(
        "squeue", f"[ -f {tmp_path}/back ] || {{ touch {tmp_path}/back; exit 1; }}; echo '18|R'"
    )
    command("scontrol", "echo 'ClusterName = big'")
    queue = BatchQueue(QueueCluster(kind="slurm", poll=0.5), tmp_path)
    assert proved_by(queue, job("17", queue.name))
    assert not proved_by(queue, job("18", queue.name))


def job(id: str, queue: str | None) -> Running:
    return Running("one", 1, "node", "boot", 1, 1.0, id, 1.0, queue)


def test_the_queue_that_has_a_job_alone_proves_that_it_is_over(
    command: Commands, tmp_path: Path
) -> None:
    command("squeue", "echo '18|RUNNING'")
    command("scontrol", "echo 'ClusterName = big'")
    queue, me = BatchQueue(QueueCluster(kind="slurm", poll=0.05), tmp_path), getpass.getuser()
    assert queue.name == f"slurm/big/{me}"
    others = (f"slurm/small/{me}", "slurm/big/somebody", f"pbs/big/{me}", None)
    assert not any(proved_by(queue, job("17", each)) for each in others)
    assert proved_by(queue, job("17", f"slurm/big/{me}"))


def test_a_queue_that_does_not_say_which_it_is_proves_nothing_until_it_does(
    command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CAUSE_SECONDS", 0.5)
    command("squeue", "exit 0")
    command("scontrol", "exit 1")
    queue = BatchQueue(QueueCluster(kind="slurm", poll=0.05), tmp_path)
    mine = job("17", f"slurm/big/{getpass.getuser()}")
    assert queue.name is None
    assert "LEADLINE_JOB_QUEUE" not in queue.script("m", "t", "n")
    assert not proved_by(queue, mine)
    command("scontrol", "echo 'ClusterName = big'")
    assert proved_by(queue, mine)


def test_what_a_person_told_dask_jobqueue_changes_no_job(tmp_path: Path) -> None:
    theirs = {"queue": "theirs", "interface": "ib7", "shebang": "#!/bin/zsh", "death-timeout": 1}
    plain = BatchQueue(QueueCluster(kind="slurm"), tmp_path).script("m", "t", "n")
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in theirs.items()}):
        assert BatchQueue(QueueCluster(kind="slurm"), tmp_path).script("m", "t", "n") == plain


@pytest.mark.parametrize(
    ("folder", "changes", "what"),
    [
        ("my calculations", {}, "calculations"),
        ("here", {"scratch": "/tmp/$USER"}, "cluster.scratch"),
        ("here", {"python": "/opt/my python"}, "cluster.python"),
    ],
)
def test_a_path_that_a_shell_would_tear_apart_is_refused(
    tmp_path: Path, folder: str, changes: dict[str, str], what: str
) -> None:
    settings = QueueCluster.model_validate({"kind": "slurm", **changes})
    with pytest.raises(ComputeError, match=rf"{what} of the profile: .*no space"):
        BatchQueue(settings, tmp_path / folder)


def test_a_system_is_asked_for_a_job_and_given_none(command: Commands, tmp_path: Path) -> None:
    command("sbatch", f"cp $2 {tmp_path}/script; echo $1 > {tmp_path}/how")
    queue = BatchQueue(QueueCluster(kind="slurm", queue="big"), tmp_path)
    assert queue.rehearse() == ""
    assert (tmp_path / "how").read_text() == "--test-only\n"
    assert "#SBATCH -p big" in (tmp_path / "script").read_text()
    command("sbatch", "echo 'allocation failure: Requested nodes are down' >&2; exit 1")
    assert queue.rehearse() == "allocation failure: Requested nodes are down"
    command("sbatch", "echo 'allocation failure: Invalid partition name specified' >&2; exit 1")
    with pytest.raises(ComputeError, match=r"slurm takes no job \(.*Invalid partition name .*\)"):
        queue.rehearse()
    command("qsub", "exit 1")  # which has no way to ask without submitting
    assert BatchQueue(QueueCluster(kind="pbs"), tmp_path).rehearse() == ""


def test_a_system_whose_command_is_not_there_takes_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ComputeError, match=r"pbs takes no job \(there is no command qsub\)"):
        BatchQueue(QueueCluster(kind="pbs"), tmp_path).rehearse()


def test_a_submission_that_hangs_is_ended_with_all_it_started(
    command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_queue, "ANSWER_SECONDS", 5.0)
    command("sbatch", f"sleep 120 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(ComputeError, match=r"slurm takes no job \(no answer within 5 s\)"):
        BatchQueue(QueueCluster(kind="slurm"), tmp_path).submit("a.module", "tls://head:1", "w1")
    child, deadline = int((tmp_path / "child").read_text()), time.monotonic() + 20
    while start_time(child) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_driver_that_is_a_job_itself_asks_for_no_job_like_its_own(
    command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"SLURM_NTASKS": "1", "SBATCH_TIMELIMIT": "1", "SQUEUE_FORMAT": "%T"}
    site = {"SLURM_CONF": "/etc/site.conf", "SLURM_CLUSTERS": "big"}
    for name, value in {**own, **site}.items():
        monkeypatch.setenv(name, value)
    for name, said in {"sbatch": "Submitted batch job 17", "squeue": "17|RUNNING"}.items():
        command(name, f"env > {tmp_path}/{name}; echo '{said}'")
    queue = BatchQueue(QueueCluster(kind="slurm"), tmp_path)
    assert queue.said(queue.submit("a.module", "tls://head:1", "w1")) is not None
    for name in ("sbatch", "squeue"):
        given = (tmp_path / name).read_text().splitlines()
        slurms = {line for line in given if line.startswith(("SLURM", "SBATCH", "SQUEUE"))}
        assert slurms == {f"{key}={value}" for key, value in site.items()}
    assert without_secrets(own) == own


def test_a_job_is_as_old_as_its_script_though_its_prologue_was_slow(
    command: Commands, tmp_path: Path
) -> None:
    command("python-there", f'exec {sys.executable} -c "{AGE}"')
    settings = QueueCluster(
        kind="slurm", prologue=("sleep 2",), python=str(tmp_path / "bin" / "python-there")
    )
    (tmp_path / "job.sh").write_text(BatchQueue(settings, tmp_path).script("m", "t", "n"))
    told = subprocess.run(
        ["bash", tmp_path / "job.sh"], capture_output=True, text=True, timeout=120, check=True
    )
    by_script, by_process = map(float, told.stdout.split())
    assert by_script >= by_process + 1.0


def by_option(option: str, told: str, listed: str) -> str:
    """Return the lines of a command that tells of one job with an option, and else lists all."""
    return f"case \"$*\" in *{option}*) echo '{told}';; *) cat <<'END'\n{listed}\nEND\n;; esac"


PBS = "{}.server me long leadline -- 2 32 64gb 12:00 {} --"
SGE = "{} 0.55500 leadline me {} 11/24/2026 10:00:00 32"
OAR = "{} leadline me 2026-11-24 10:00:00 {} default"
HELD = {
    "slurm": (
        "squeue",
        "printf '17|PENDING|JobHeldUser\\n18|PENDING|Priority\\n19|RUNNING|None\\n'",
        "JobHeldUser",
    ),
    "pbs": (
        "qstat",
        by_option("-f", "    comment = held by the site", "\n".join(
            [PBS.format(17, "H"), PBS.format(18, "Q"), PBS.format(19, "R")]
        )),
        "held by the site",
    ),
    "sge": (
        "qstat",
        by_option("-j", "error reason    1:          no folder /nowhere", "\n".join(
            [SGE.format(17, "Eqw"), SGE.format(18, "qw"), SGE.format(19, "r")]
        )),
        "no folder /nowhere",
    ),
    "lsf": (
        "bjobs",
        by_option("pend_reason", "The job was suspended by its owner", "17 PSUSP\n18 PEND\n19 RUN"),
        "The job was suspended by its owner",
    ),
    "oar": (
        "oarstat",
        by_option("-f", "    message = held by me", "\n".join(
            [OAR.format(17, "H"), OAR.format(18, "W"), OAR.format(19, "R")]
        )),
        "held by me",
    ),
    "htcondor": (
        "condor_q",
        by_option("HoldReason", "via condor_hold (by user me)", "17.0 5\n18.0 1\n19.0 2"),
        "via condor_hold (by user me)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HELD)
def test_a_job_that_waits_for_a_person_is_told_with_the_reason_of_its_queue(
    kind: str, command: Commands, tmp_path: Path
) -> None:
    name, lines, why = HELD[kind]
    command(name, lines)
    queue = BatchQueue(QueueCluster.model_validate({"kind": kind}), tmp_path)
    ids = [f"{n}.0" if kind == "htcondor" else str(n) for n in (17, 18, 19, 20)]
    assert queue.held(ids) == {ids[0]: why}


def test_a_job_that_is_held_without_a_reason_is_told_in_the_queues_word(
    command: Commands, tmp_path: Path
) -> None:
    command("qstat", by_option("-f", "no such job", PBS.format(17, "H")))
    queue = BatchQueue(QueueCluster(kind="pbs"), tmp_path)
    assert queue.held(["17"]) == {"17": "H"}
    command("qstat", "exit 1")
    assert queue.held(["17"]) == {}


@pytest.mark.slurm
@pytest.mark.slow
def test_slurm_says_that_a_job_is_held(slurm: Slurm, tmp_path: Path) -> None:
    queue = BatchQueue(QueueCluster(kind="slurm", directives=("--hold",)), tmp_path)
    job = queue.submit("a.module", "target", "w1")
    assert queue.held([job]) == {job: "JobHeldUser"}
    slurm.call("scontrol", "release", job)
    assert queue.held([job]) == {}
