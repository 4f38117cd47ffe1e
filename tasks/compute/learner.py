"""Learning on a worker of another machine profile, and here where that is not to be had.

A lesson that is lost is learned again here, with the same numbers within rounding: so
nothing waits for a worker that is gone, and no campaign depends on one.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import numpy as np

from leadline.surrogate.lesson import Learnt, Lesson
from leadline.surrogate.model import ModelSettings
from leadline.surrogate.pool import Pool
from leadline.tasks.compute import learning_worker
from leadline.tasks.compute.cluster import Cluster, open_cluster
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.compute.profile import Profile
from leadline.tasks.compute.queue_settings import QueueCluster
from leadline.tasks.compute.right_sizing import ANY
from leadline.tasks.compute.roster import Hand
from leadline.tasks.errors import ComputeError
from leadline.tasks.learn import Place, here

T = TypeVar("T")
POLL = 0.2
PATIENCE_SECONDS = 30.0
"""How long a worker has to come up, or to begin, before a lesson is learned here."""
IMPATIENCE_SECONDS = 1.0
"""The same once that has failed: workers that compute do not wait for it round by round."""
Say = Callable[[str], object]


@contextmanager
def learning_place(
    profile: Profile | None, root: Path, say: Say, stopped: Callable[[], bool]
) -> Iterator[Place]:
    """Open one worker of a profile to learn on, beside those that compute.

    Parameters
    ----------
    profile
        The machine; None learns here.
    root
        Folder of calculations, where a batch system keeps what belongs to its jobs.
    say
        Told in a sentence when learning moves here, and when it moves back.
    stopped
        Asked while a lesson is out; once it says True nobody waits for it.
    """
    if profile is None:
        yield here
        return
    with ExitStack() as stack:
        place: Place = here
        try:
            cluster = stack.enter_context(one_worker(profile, root))
            place = Learner(cluster, profile, say, stopped)
        except ComputeError as error:
            say(f"learning happens here, in the driver: {error}")
        yield place


@contextmanager
def one_worker(profile: Profile, root: Path) -> Iterator[Cluster]:
    """Open a cluster of a profile that has one worker, or uses one of those that are there.

    Raises
    ------
    ComputeError
        If nothing answers, or each calculation of the profile is a batch job of its own.
    """
    refuse_jobs(profile)
    with open_cluster(
        profile.model_copy(update={"larger": ()}), 1, profile.calculations or root
    ) as cluster:
        yield cluster


def refuse_jobs(profile: Profile) -> None:
    """Refuse a profile that opens no workers.

    Raises
    ------
    ComputeError
        If each calculation of it is a batch job of its own.
    """
    if isinstance(profile.cluster, QueueCluster) and profile.cluster.way == "jobs":
        raise ComputeError(
            f"compute.learn: the profile {profile.name!r} sends each calculation as a batch job of "
            "its own; learning needs a worker that stays: name a profile with `way: workers`"
        )


def try_learning(profile: Profile, root: Path) -> str:
    """Learn a small lesson on a worker of a profile and here; return what it was learned on.

    Raises
    ------
    ComputeError
        If no worker answers, or it has other numbers than this process.
    """
    X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    elements = np.ones((len(X), 1)), np.ones(len(X), np.int64)
    pool = Pool(tuple(map(str, range(len(X)))), ("Cu",) * len(X), ("Cu",), *elements, X)
    rows = np.arange(16)
    nothing = np.empty((0, 4), np.float32)
    lesson = Lesson(rows, nothing, np.sin(X[rows, 0]).astype(np.float64), ModelSettings())
    with one_worker(profile, root) as cluster:
        learner = Learner(cluster, profile, lambda words: None, lambda: False, patience=math.inf)
        there, device = learner.there(lesson, pool), learner.device()
    own = here(lesson, pool)
    if not np.allclose([there.mean, there.sd], [own.mean, own.sd], rtol=1e-3, atol=1e-3):
        raise ComputeError(
            f"compute.learn: {profile.name} ({device}) learns other numbers than the driver from "
            "the same lesson; see that both have the same versions of torch, gpytorch and botorch"
        )
    return device


class Learner:
    """Learns on one worker of a cluster; here for as long as that fails."""

    def __init__(
        self,
        cluster: Cluster,
        profile: Profile,
        say: Say,
        stopped: Callable[[], bool],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._client = cluster.client
        dispatcher = cluster.dispatcher
        self._roster = dispatcher.roster if isinstance(dispatcher, Dispatcher) else None
        self._name, self._say, self._stopped = profile.name, say, stopped
        self._patience = patience
        settings = profile.cluster
        self._cores = settings.resources.cores if isinstance(settings, QueueCluster) else None
        self._failing = False
        self._pool: tuple[Pool, str] | None = None

    def __call__(self, lesson: Lesson, pool: Pool) -> Learnt:
        """Learn a lesson there, or here where that does not come to an end."""
        try:
            learnt = self.there(lesson, pool)
        except Exception as error:  # whatever becomes of a worker, the campaign goes on
            if not self._failing:
                why = f"{type(error).__name__}: {error}"
                self._say(
                    f"learning happens here, in the driver: on {self._name} it failed ({why})"
                )
            self._failing = True
            return here(lesson, pool)
        if self._failing:
            self._say(f"learning happens on {self._name} again")
        self._failing = False
        return learnt

    def there(self, lesson: Lesson, pool: Pool) -> Learnt:
        """Learn a lesson on the worker.

        Raises
        ------
        ComputeError
            If no worker comes up, or none takes the lesson in time.
        """
        with self._worker() as worker:
            asked = (learning_worker.learn_here, self._named(pool), lesson.to_npz(), self._cores)
            content = self._run(worker, *asked)
            if content is None:  # it came just now, or had another pool
                self._give_pool(worker, pool)
                content = self._run(worker, *asked)
        if content is None:
            raise ComputeError("the worker was replaced while it was given the pool")
        return Learnt.from_npz(content)

    def device(self) -> str:
        """Return what the worker learns on, in words.

        Raises
        ------
        ComputeError
            As :meth:`there`.
        """
        with self._worker() as worker:
            return self._run(worker, learning_worker.device_words, self._cores)

    @contextmanager
    def _worker(self) -> Iterator[str]:
        hand = self._hand() if self._roster else None
        try:
            yield hand.address if hand else min(self._client.nthreads(), default="")
        finally:
            if self._roster and hand:
                self._roster.give_back(hand)

    def _hand(self) -> Hand:
        """Take the worker of a batch job; its job gets time to start."""
        assert self._roster is not None
        patience = IMPATIENCE_SECONDS if self._failing else self._patience
        deadline = time.monotonic() + patience
        hand = self._roster.take(ANY, lambda: self._stopped() or time.monotonic() > deadline, POLL)
        if hand is None:
            raise ComputeError(f"its batch job did not start within {patience:g} s")
        return hand

    def _give_pool(self, worker: str, pool: Pool) -> None:
        features = self._client.scatter(np.asarray(pool.features), workers=[worker], hash=False)
        self._run(worker, learning_worker.keep_pool, self._named(pool), features)

    def _run(self, worker: str, work: Callable[..., T], *given: Any) -> T:
        """Run work on the worker and wait for it, unless it does not even begin."""
        if not worker:
            raise ComputeError("it has no worker")
        future = self._client.submit(work, *given, workers=[worker], pure=False, retries=0)
        done, begun = Event(), time.monotonic()
        future.add_done_callback(lambda _: done.set())
        try:
            while not (done.wait(POLL) or future.done()):
                if self._stopped():
                    raise ComputeError("the run was stopped")
                if worker not in self._client.nthreads():
                    raise ComputeError("its worker was lost")
                late = time.monotonic() - begun > self._patience
                if late and not self._client.call_stack(keys=[future.key]):
                    raise ComputeError(f"its worker did not begin within {self._patience:g} s")
            # Of a worker that dies now the answer is lost: Dask begins anew, and waits for ever.
            try:
                answer: T = future.result(timeout=min(self._patience, PATIENCE_SECONDS))
            except TimeoutError:
                raise ComputeError("its worker was lost with the answer") from None
            return answer
        finally:
            future.cancel()

    def _named(self, pool: Pool) -> str:
        """Return the digest of a pool's features: a worker may know the pools of others."""
        if self._pool is None or self._pool[0] is not pool:
            content = np.ascontiguousarray(pool.features)
            self._pool = pool, hashlib.sha256(content.data).hexdigest()
        return self._pool[1]
