"""Learn: from what is known to a model, its calibration, and its view of the whole pool."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.calibration import calibration_metrics, leave_one_out
from leadline.surrogate.errors import FitError
from leadline.surrogate.lesson import Learnt, Lesson, learn_lesson
from leadline.surrogate.model import GaussianProcess, ModelSettings
from leadline.surrogate.pool import Pool
from leadline.surrogate.selection import Choice

Floats = NDArray[np.float64]

REFIT_GROWTH = 0.05
"""Growth of the training set since the last fit from which hyperparameters are fitted anew."""


@dataclass(frozen=True)
class Known:
    """Known results that are not rows of the pool: references, relaxed structures, imports.

    Parameters
    ----------
    ids
        Structure ids, m of them.
    features
        Prepared as the pool's, float32[m, d].
    fractions
        Atomic fractions, float64[m, k].
    y
        Labels, float64[m].
    groups
        For each, the structure id of the one that it came from, or its own.
    """

    ids: tuple[str, ...]
    features: NDArray[np.float32]
    fractions: Floats
    y: Floats
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """What a model is trained on: what was known beside the pool, then the pool's own.

    Parameters
    ----------
    pool_index
        Rows of the pool that have a label, int64[n].
    y
        Their labels, float64[n]: formation energies in eV/atom, or the property.
    known
        Results beside the pool, or None.
    """

    pool_index: NDArray[np.int64]
    y: Floats
    known: Known | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def labels(self) -> Floats:
        """Labels of all rows, float64[m + n]."""
        return np.concatenate([self.known.y, self.y]) if self.known else self.y

    def features(self, pool: Pool) -> NDArray[np.float32]:
        """Return prepared features of all rows, float32[m + n, d]."""
        own = np.asarray(pool.features[self.pool_index], dtype=np.float32)
        return np.vstack([self.known.features, own]) if self.known else own

    def fractions(self, pool: Pool) -> Floats:
        """Return atomic fractions of all rows, float64[m + n, k]."""
        own = pool.fractions[self.pool_index]
        return np.vstack([self.known.fractions, own]) if self.known else own

    def ids(self, pool: Pool) -> tuple[str, ...]:
        """Return structure ids of all rows."""
        own = tuple(pool.ids[row] for row in self.pool_index)
        return (self.known.ids if self.known else ()) + own

    def groups(self, pool: Pool) -> tuple[str, ...]:
        """Return what each row came from: its own id for a row of the pool."""
        own = tuple(pool.ids[row] for row in self.pool_index)
        return (self.known.groups if self.known else ()) + own

    def digest(self, pool: Pool) -> str:
        """Return the sha256 of ids and labels in order: what a stored model was trained on."""
        rows = zip(self.ids(pool), self.labels, strict=True)
        content = "\n".join(f"{id_} {float(label).hex()}" for id_, label in rows)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class LearnSettings:
    """How a model is trained.

    Parameters
    ----------
    model
        Settings of the Gaussian process.
    kernel
        Form of its kernel; ``auto`` takes the one that the labels speak for.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    kernel: Choice = "auto"


@dataclass(frozen=True)
class Learned:
    """A model and what it says.

    Parameters
    ----------
    model
        The Gaussian process.
    training
        What it was trained on.
    digest
        sha256 of the training set.
    mean, sd
        Of a label, its noise included, over the whole pool, float64[n].
    calibration
        Leave-one-out metrics; None where undefined.
    notes
        Fallbacks and jitter, for people.
    fitted_size
        Size of the training set when the hyperparameters were fitted.
    """

    model: GaussianProcess
    training: Training
    digest: str
    mean: Floats
    sd: Floats
    calibration: Mapping[str, float | None]
    notes: tuple[str, ...]
    fitted_size: int


Place = Callable[[Lesson, Pool], Learnt]
"""Where a lesson is learned: this process, or a worker elsewhere."""


def here(lesson: Lesson, pool: Pool) -> Learnt:
    """Learn in this process."""
    return learn_lesson(lesson, pool.features)


def learn(
    pool: Pool,
    training: Training,
    settings: LearnSettings | None = None,
    previous: Learned | None = None,
    place: Place = here,
) -> Learned:
    """Train on what is known and predict the pool.

    Hyperparameters are fitted anew when the training set grew by 5 % since they were;
    until then the last model is conditioned on the new labels. ``place`` says where.

    Raises
    ------
    FitError
        If there is no label, or a label or feature is not finite.
    """
    settings = settings or LearnSettings()
    if not len(training):
        raise FitError(
            "there is no label to learn from; at least one calculation must be done: "
            "start with random picks"
        )
    kept = previous if _serves(training, previous, pool) else None
    beside = training.known.features if training.known else np.empty((0, 0), np.float32)
    lesson = Lesson(
        rows=training.pool_index,
        beside=beside,
        labels=training.labels,
        settings=settings.model,
        kernel=settings.kernel,
        previous=previous.model if previous else None,
        refit=kept is None,
    )
    learnt = place(lesson, pool)
    return Learned(
        model=learnt.model,
        training=training,
        digest=training.digest(pool),
        mean=learnt.mean,
        sd=np.hypot(learnt.sd, learnt.model.noise_sd),
        calibration=_left_out(learnt.model, training.groups(pool)),
        notes=learnt.model.notes,
        fitted_size=kept.fitted_size if kept else len(training),
    )


def _serves(training: Training, previous: Learned | None, pool: Pool) -> bool:
    """Tell whether the hyperparameters of the last model serve a training set still."""
    if previous is None or not _continues(training, previous.training, pool):
        return False
    return len(training) - previous.fitted_size < REFIT_GROWTH * previous.fitted_size


def _continues(training: Training, earlier: Training, pool: Pool) -> bool:
    """Tell whether a training set starts with all of an earlier one."""
    n = len(earlier)
    return (
        len(training) >= n
        and training.ids(pool)[:n] == earlier.ids(pool)
        and bool(np.array_equal(training.labels[:n], earlier.labels))
    )


def _left_out(model: GaussianProcess, groups: tuple[str, ...]) -> Mapping[str, float | None]:
    """Return leave-one-out metrics over the rows that share their group with no other.

    A relaxed structure would give its own parent's answer away, and the other way round.
    """
    mean, sd = leave_one_out(model)
    counts = Counter(groups)
    alone = np.array([counts[group] == 1 for group in groups])
    return calibration_metrics(model.y[alone], mean[alone], sd[alone])
