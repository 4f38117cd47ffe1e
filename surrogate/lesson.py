"""What is to be learned, whole enough to be learned elsewhere, and what came of it.

Both travel as npz bytes that hold no objects: who answers shares nothing with who asks but
the features of the pool.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.model import GaussianProcess, ModelSettings
from leadline.surrogate.predict import Predictor
from leadline.surrogate.selection import Choice, fit_chosen
from leadline.surrogate.torch_predict import TorchPredictor

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """A training set, and how to learn from it.

    Parameters
    ----------
    rows
        Rows of the pool that have a label, int64[n].
    beside
        Features of what is known beside the pool, float32[m, d].
    labels
        Of what is beside the pool, then of the pool's rows, float64[m + n].
    settings
        Of the model.
    kernel
        Form of its kernel, or ``auto`` to compare.
    previous
        The last model, or None.
    refit
        Whether hyperparameters are fitted anew; else the last model, of the first of these
        labels, is conditioned on the rest.
    """

    rows: NDArray[np.int64]
    beside: NDArray[np.float32]
    labels: Floats
    settings: ModelSettings
    kernel: Choice = "auto"
    previous: GaussianProcess | None = None
    refit: bool = True

    def to_npz(self) -> bytes:
        """Return the bytes of an npz file."""
        about = {"settings": asdict(self.settings), "kernel": self.kernel, "refit": self.refit}
        before = self.previous.to_npz() if self.previous else b""
        return _npz(about, before, rows=self.rows, beside=self.beside, labels=self.labels)

    @classmethod
    def from_npz(cls, content: bytes) -> Lesson:
        """Rebuild from :meth:`to_npz`."""
        about, model, arrays = _read(content)
        settings = ModelSettings(**about["settings"])
        kept = {"kernel": about["kernel"], "refit": about["refit"]}
        return cls(settings=settings, previous=model, **kept, **arrays)


@dataclass(frozen=True)
class Learnt:
    """What came of a lesson.

    Parameters
    ----------
    model
        The Gaussian process.
    mean, sd
        Of the function over the whole pool, float64[n].
    """

    model: GaussianProcess
    mean: Floats
    sd: Floats

    def to_npz(self) -> bytes:
        """Return the bytes of an npz file."""
        return _npz({}, self.model.to_npz(), mean=self.mean, sd=self.sd)

    @classmethod
    def from_npz(cls, content: bytes) -> Learnt:
        """Rebuild from :meth:`to_npz`."""
        _, model, arrays = _read(content)
        assert model is not None
        return cls(model, **arrays)


def learn_lesson(lesson: Lesson, features: NDArray[np.float32], device: str = "") -> Learnt:
    """Fit, or condition, and predict the pool of these features[n, d].

    ``device`` is a device of torch that fits and predicts; without one, numpy predicts.

    Raises
    ------
    FitError
        As :func:`fit_chosen`.
    """
    own = np.asarray(features[lesson.rows], dtype=np.float32)
    X = np.vstack([lesson.beside, own]) if len(lesson.beside) else own
    model = _model(lesson, X, device)
    predictor = TorchPredictor(model, device) if device else Predictor(model)
    return Learnt(model, *predictor.predict_blocks(features))


def _model(lesson: Lesson, X: NDArray[np.float32], device: str) -> GaussianProcess:
    before = lesson.previous
    if lesson.refit or before is None:
        return fit_chosen(X, lesson.labels, before, lesson.settings, lesson.kernel, device or "cpu")
    old = before.training_size
    return before if len(X) == old else before.update(X[old:], lesson.labels[old:])


def _npz(about: dict[str, Any], model: bytes, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    kept = np.frombuffer(model, dtype=np.uint8)
    np.savez(buffer, about=np.array(json.dumps(about)), model=kept, **arrays)
    return buffer.getvalue()


def _read(content: bytes) -> tuple[dict[str, Any], GaussianProcess | None, dict[str, Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays.pop("about")))
    model = arrays.pop("model").tobytes()
    return about, GaussianProcess.from_npz(model) if model else None, arrays
