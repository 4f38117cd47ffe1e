from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from leadline.surrogate.kernel import FORMS, Form, Hyperparameters
from leadline.surrogate.model import GaussianProcess, ModelSettings
from leadline.surrogate.predict import Predictor
from leadline.surrogate.torch_predict import TorchPredictor

Makes = Callable[[GaussianProcess], Predictor | TorchPredictor]
each_predictor = pytest.mark.parametrize(
    "made", [Predictor, partial(TorchPredictor, device="cpu")], ids=["numpy", "torch"]
)


def model(n: int = 80, noise: float = 1e-6, nu: float = 2.5, scale: float = 3.0) -> GaussianProcess:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5))
    return GaussianProcess(
        X,
        -7.0 + scale * np.sin(X).sum(axis=1),
        Hyperparameters(lengthscale=4.0, outputscale=6.0, noise=noise, mean=0.3),
        offset=-7.0,
        scale=scale,
        settings=ModelSettings(nu=nu),
    )


def pool(n: int = 1000) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(n, 5)).astype(np.float32)


@each_predictor
@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
@pytest.mark.parametrize("noise", [1e-6, 1e-2])
def test_blocks_predict_what_the_model_predicts(made: Makes, nu: float, noise: float) -> None:
    process = model(noise=noise, nu=nu)
    mean, sd = made(process).predict_blocks(pool(), block=300)
    expected_mean, expected_sd = process.predict(pool())
    np.testing.assert_allclose(mean, expected_mean, atol=1e-8)
    np.testing.assert_allclose(sd, expected_sd, atol=1e-8)


@each_predictor
@pytest.mark.parametrize("form", FORMS)
def test_blocks_predict_by_each_form_of_the_kernel(made: Makes, form: Form) -> None:
    X = pool(60)
    process = GaussianProcess.fit(X, np.sin(X).sum(axis=1), settings=ModelSettings(form=form))
    mean, sd = made(process).predict_blocks(pool(), block=300)
    expected_mean, expected_sd = process.predict(pool())
    np.testing.assert_allclose(mean, expected_mean, atol=1e-8)
    np.testing.assert_allclose(sd, expected_sd, atol=1e-7)


@each_predictor
def test_the_deviation_at_and_beside_training_points_keeps_its_digits(made: Makes) -> None:
    process = model()
    points = np.vstack([process.X, process.X + 1e-4])
    _, sd = made(process).predict_blocks(points)
    _, expected = process.predict(points)
    assert expected.max() < 0.01 * process.y.std()
    np.testing.assert_allclose(sd, expected, atol=1e-6 * process.y.std())


@each_predictor
@pytest.mark.parametrize("block", [1, 7, 1000, 5000])
def test_the_size_of_the_block_does_not_change_the_numbers(made: Makes, block: int) -> None:
    predictor = made(model())
    for one, other in zip(
        predictor.predict_blocks(pool(200), block), predictor.predict_blocks(pool(200)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_memory_map_is_read_block_by_block(tmp_path: Path) -> None:
    np.save(tmp_path / "pool.npy", pool(60_000))
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    predictor = Predictor(model())
    predictor.predict_blocks(mapped[:10])
    tracemalloc.start()
    predictor.predict_blocks(mapped, block=256)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    results = 4 * 8 * len(mapped)
    assert peak < results + 8 * 256 * 80 * 12


@each_predictor
def test_an_empty_pool_has_empty_predictions(made: Makes) -> None:
    mean, sd = made(model()).predict_blocks(pool(0))
    assert mean.shape == sd.shape == (0,)
