"""The faults of a queue: its jobs, its node, and the daemons behind it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from types import MappingProxyType

from hits import Fault, lasting, one, there, waited_for
from plan import Step
from slurm_here import Slurm
from stage import Stage

EXPIRY = 60.0
"""Seconds within which Slurm looks whether a job has had its time: twice what it says."""


def cancel_job(stage: Stage, step: Step) -> str:
    job = one(there(stage, stage.jobs_at_work), step)
    if job is None:
        return "no job was there to be cancelled"
    stage.loses(job)
    _told(stage, "scancel", job)
    return f"job {job} was cancelled"


def expire_job(stage: Stage, step: Step) -> str:
    """Let a job's time end now, and wait until Slurm sees that, but where it may overlap."""
    job = one(there(stage, stage.jobs_at_work), step)
    if job is None:
        return "no job was there whose time could end"
    stage.loses(job)
    _told(stage, "scontrol", "update", f"JobId={job}", "EndTime=now")
    gone = not step.overlaps and waited_for(lambda: job not in stage.jobs_at_work(), EXPIRY)
    return f"the time of job {job} was ended" + (", and it is gone" if gone else "")


def set_node_down(stage: Stage, step: Step) -> str:
    slurm = _slurm(stage)
    stage.loses(*stage.jobs_at_work())
    return lasting(stage, step, slurm.set_node_down, slurm.set_node_up, "the node was down")


def stop_controller(stage: Stage, step: Step) -> str:
    slurm = _slurm(stage)
    what = "the controller of the queue was silent"
    return lasting(stage, step, slurm.pause_controller, slurm.resume_controller, what)


def kill_controller(stage: Stage, step: Step) -> str:
    return _daemon_killed(stage, step, "slurmctld", "the controller of the queue")


def kill_node_daemon(stage: Stage, step: Step) -> str:
    return _daemon_killed(stage, step, "slurmd", "the daemon of the node")


QUEUE_FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "cancel job": cancel_job,
        "expire job": expire_job,
        "set node down": set_node_down,
        "stop controller": stop_controller,
        "kill controller": kill_controller,
        "kill node daemon": kill_node_daemon,
    }
)


def _slurm(stage: Stage) -> Slurm:
    assert stage.slurm is not None
    return stage.slurm


def _told(stage: Stage, *command: str) -> None:
    """Tell Slurm something; a job may have ended since, or the controller be away."""
    try:
        _slurm(stage).call(*command)
    except subprocess.CalledProcessError as error:
        stage.note(f"{command[0]} said: {error.stderr.strip()}")


def _daemon_killed(stage: Stage, step: Step, daemon: str, what: str) -> str:
    slurm = _slurm(stage)
    return lasting(
        stage,
        step,
        lambda: slurm.kill(daemon),
        lambda: slurm.start(daemon),
        f"{what} was killed, and away",
    )
