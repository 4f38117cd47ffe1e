"""Learning on a worker elsewhere: the same numbers, and here once that worker is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from queued import NEED, QUICK
from slurm_here import Slurm

from leadline.surrogate.lesson import Learnt, Lesson
from leadline.surrogate.model import ModelSettings
from leadline.surrogate.pool import Pool
from leadline.tasks.compute.learner import (
    Learner,
    learning_place,
    one_worker,
    refuse_jobs,
    try_learning,
)
from leadline.tasks.compute.profile import LocalCluster, Profile, SchedulerCluster
from leadline.tasks.errors import ComputeError
from leadline.tasks.learn import here
from leadline.tasks.settings import validated

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Observer

N = 2000
FEATURES = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
POOL = Pool(
    tuple(map(str, range(N))),
    ("Cu",) * N,
    ("Cu",),
    np.ones((N, 1)),
    np.ones(N, np.int64),
    FEATURES,
)
LABELS = np.sin(FEATURES).sum(axis=1).astype(np.float64)
LESSON = Lesson(
    np.arange(50), np.empty((0, 5), np.float32), LABELS[:50], ModelSettings(noise_floor=1e-4)
)
BESIDE = Profile(name="beside", cluster=LocalCluster(dashboard=None))


def on_slurm(**changes: object) -> Profile:
    need = {**NEED, "memory": "1 GB", "ranks": 2}
    cluster = {"kind": "slurm", "resources": need, **QUICK, **changes}
    return validated(Profile, {"name": "queue", "cluster": cluster}, "profile")


def numbers(learnt: Learnt) -> NDArray[np.float64]:
    """The hyperparameters in a row."""
    return np.hstack([*asdict(learnt.model.hyperparameters).values()])


def same(one: Learnt, other: Learnt) -> None:
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-6)
    np.testing.assert_allclose(one.sd, other.sd, atol=1e-6)
    np.testing.assert_allclose(numbers(one), numbers(other))


@pytest.mark.slow
def test_a_worker_has_the_drivers_numbers_and_once_it_is_lost_learning_is_here_until_it_is_back(
    tmp_path: Path, observe: Observer
) -> None:
    said: list[str] = []
    with one_worker(BESIDE, tmp_path) as cluster:
        learner = Learner(cluster, BESIDE, said.append, lambda: False)
        first = learner(LESSON, POOL)
        same(first, here(LESSON, POOL))
        more = replace(
            LESSON, rows=np.arange(60), labels=LABELS[:60], previous=first.model, refit=False
        )
        same(learner(more, POOL), here(more, POOL))
        assert not said
        (pid,) = cluster.client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        same(learner(LESSON, POOL), here(LESSON, POOL))
        assert len(said) == 1
        assert said[0].startswith("learning happens here, in the driver: on beside it failed")
        observe.until(cluster.client.nthreads)
        same(learner(LESSON, POOL), here(LESSON, POOL))
        assert said[1:] == ["learning happens on beside again"]


def test_an_answer_that_is_lost_with_its_worker_leaves_learning_here(
    tmp_path: Path, lose_answers: Callable[[int], None]
) -> None:
    said: list[str] = []
    with one_worker(BESIDE, tmp_path) as cluster:
        (pid,) = cluster.client.run(os.getpid).values()
        lose_answers(pid)
        learner = Learner(cluster, BESIDE, said.append, lambda: False, patience=3.0)
        same(learner(LESSON, POOL), here(LESSON, POOL))
    (words,) = said
    assert "its worker was lost with the answer" in words


def test_a_scheduler_that_does_not_answer_leaves_learning_here(tmp_path: Path) -> None:
    away = SchedulerCluster(kind="scheduler", address="tcp://127.0.0.1:1", timeout=0.5)
    said: list[str] = []
    profile = Profile(name="away", cluster=away)
    with learning_place(profile, tmp_path, said.append, lambda: False) as place:
        same(place(LESSON, POOL), here(LESSON, POOL))
    assert len(said) == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in said[0]
    with pytest.raises(ComputeError, match="no Dask scheduler answers"):
        try_learning(profile, tmp_path)


def test_a_profile_without_workers_is_no_place_to_learn() -> None:
    with pytest.raises(ComputeError, match="name a profile with `way: workers`"):
        refuse_jobs(on_slurm(way="jobs"))
    refuse_jobs(on_slurm())


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_batch_job_learns_on_the_cores_that_it_asked_for(
    tmp_path: Path, slurm: Slurm, observe: Observer
) -> None:
    assert try_learning(on_slurm(), tmp_path / "calculations") == "2 CPU threads"
    observe.until(lambda: not slurm.jobs())
