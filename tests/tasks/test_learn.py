from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from leadline.surrogate.errors import FitError
from leadline.surrogate.pool import Pool
from leadline.tasks.learn import Known, Training, learn

Floats = NDArray[np.float64]
N = 60


def binary_pool() -> tuple[Pool, Floats]:
    """Sixty candidates on a line between two elements, and their smooth labels."""
    x = np.linspace(0.0, 1.0, N)
    twist = np.sin(9 * x)
    pool = Pool(
        ids=tuple(f"s{i:02d}" for i in range(N)),
        formulas=tuple(f"A{i}B{N - 1 - i}" for i in range(N)),
        elements=("A", "B"),
        fractions=np.column_stack([x, 1 - x]),
        sites=np.full(N, N - 1),
        features=np.column_stack([x * 3, twist]).astype(np.float32),
    )
    return pool, -x * (1 - x) + 0.05 * twist * x * (1 - x)


def labelled(rows: list[int], known: Known | None = None) -> Training:
    _, y = binary_pool()
    return Training(np.array(rows), y[rows], known)


def test_a_model_of_few_labels_predicts_the_rest_of_the_pool() -> None:
    pool, y = binary_pool()
    learned = learn(pool, labelled(list(range(0, N, 4))))
    assert np.abs(learned.mean - y).max() < 0.01
    assert (learned.sd > 0).all()
    assert learned.calibration["rmse"] is not None


def test_the_digest_names_the_training_set_and_nothing_else() -> None:
    pool, _ = binary_pool()
    training = labelled([0, 9, 30])
    assert training.digest(pool) == labelled([0, 9, 30]).digest(pool)
    assert training.digest(pool) != labelled([0, 30, 9]).digest(pool)
    nudged = replace(training, y=training.y + 1e-15)
    assert training.digest(pool) != nudged.digest(pool)


def test_a_little_more_is_conditioned_on_and_much_more_is_fitted_anew() -> None:
    pool, _ = binary_pool()
    first = learn(pool, labelled(list(range(0, N, 2))))
    little = learn(pool, labelled([*range(0, N, 2), 1]), previous=first)
    assert little.model.hyperparameters == first.model.hyperparameters
    assert (little.model.training_size, little.fitted_size) == (31, 30)
    assert little.sd[1] < first.sd[1]
    much = learn(pool, labelled([*range(0, N, 2), 1, 3, 5]), previous=little)
    assert much.fitted_size == 33
    assert much.model.hyperparameters != first.model.hyperparameters


def test_a_changed_label_is_never_conditioned_upon() -> None:
    pool, _ = binary_pool()
    training = labelled(list(range(0, N, 2)))
    first = learn(pool, training)
    moved = learn(pool, replace(training, y=training.y - 0.1), previous=first)
    assert moved.mean.mean() == pytest.approx(first.mean.mean() - 0.1, abs=1e-3)


def test_nothing_new_keeps_the_model() -> None:
    pool, _ = binary_pool()
    first = learn(pool, labelled([0, 20, 40]))
    again = learn(pool, labelled([0, 20, 40]), previous=first)
    assert again.model is first.model


def test_results_from_beside_the_pool_teach_too_and_come_first() -> None:
    pool, y = binary_pool()
    beside = Known(
        ids=("relaxed",),
        features=pool.features[30:31],
        fractions=pool.fractions[30:31],
        y=y[30:31],
        groups=("s10",),
    )
    training = labelled([0, 10, 20, 40, 59], beside)
    learned = learn(pool, training)
    assert training.ids(pool) == ("relaxed", "s00", "s10", "s20", "s40", "s59")
    assert learned.mean[30] == pytest.approx(y[30], abs=0.01)
    assert len(training) == learned.model.training_size == 6


def test_a_relaxed_structure_and_its_parent_are_left_out_of_the_calibration() -> None:
    pool, y = binary_pool()
    twin = Known(("t",), pool.features[10:11], pool.fractions[10:11], y[10:11], ("s10",))
    alone = learn(pool, labelled([10], twin))
    assert set(alone.calibration.values()) == {None}


def test_learning_from_nothing_is_refused() -> None:
    pool, _ = binary_pool()
    with pytest.raises(FitError, match="no label"):
        learn(pool, labelled([]))
