from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from leadline.surrogate.errors import FitError
from leadline.surrogate.lesson import Learnt, Lesson, learn_lesson
from leadline.surrogate.model import GaussianProcess, ModelSettings

FEATURES = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
LABELS = np.sin(FEATURES).sum(axis=1).astype(np.float64)


def lesson(n: int = 40, previous: GaussianProcess | None = None, *, refit: bool = True) -> Lesson:
    """Return n labels, of which the first two are beside the pool."""
    rows = np.arange(2, n)
    settings = ModelSettings(nu=1.5)
    return Lesson(rows, FEATURES[:2], LABELS[:n], settings, previous=previous, refit=refit)


def numbers(learnt: Learnt) -> NDArray[np.float64]:
    """The hyperparameters in a row."""
    return np.hstack([*asdict(learnt.model.hyperparameters).values()])


def same(one: Learnt, other: Learnt, tolerance: float = 0.0) -> None:
    for name in ("mean", "sd"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=tolerance)
    assert one.model.notes == other.model.notes
    np.testing.assert_allclose(numbers(one), numbers(other), atol=tolerance)


@pytest.mark.parametrize("refit", [True, False])
def test_a_lesson_that_travels_gives_the_same_numbers(refit: bool) -> None:
    asked = lesson(50, learn_lesson(lesson(), FEATURES).model, refit=refit)
    own = learn_lesson(asked, FEATURES)
    travelled = learn_lesson(Lesson.from_npz(asked.to_npz()), FEATURES)
    same(Learnt.from_npz(travelled.to_npz()), own)


@pytest.mark.parametrize("refit", [True, False])
def test_a_device_of_torch_gives_the_same_numbers_within_rounding(refit: bool) -> None:
    asked = lesson(50, learn_lesson(lesson(), FEATURES).model, refit=refit)
    same(learn_lesson(asked, FEATURES, "cpu"), learn_lesson(asked, FEATURES), 1e-6)


def test_the_kernel_asked_for_is_learned() -> None:
    asked = replace(lesson(), kernel="ard")
    assert learn_lesson(Lesson.from_npz(asked.to_npz()), FEATURES).model.settings.form == "ard"


def test_a_model_that_serves_is_conditioned_and_keeps_its_hyperparameters() -> None:
    before = learn_lesson(lesson(), FEATURES).model
    after = learn_lesson(lesson(42, before, refit=False), FEATURES).model
    assert after.hyperparameters == before.hyperparameters
    assert after.training_size == 42
    assert learn_lesson(lesson(40, before, refit=False), FEATURES).model is before


def test_a_label_that_is_not_finite_is_refused_wherever_it_is_learned() -> None:
    sent = lesson(50, learn_lesson(lesson(), FEATURES).model)
    spoiled = replace(sent, labels=np.full(50, np.nan))
    with pytest.raises(FitError, match="not finite"):
        learn_lesson(Lesson.from_npz(spoiled.to_npz()), FEATURES)
