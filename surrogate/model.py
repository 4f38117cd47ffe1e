"""A Gaussian process, honest about its uncertainty.

Fitting is botorch's; the posterior is written out here, because its closed form
is short, exact, and the same numbers whatever else has been imported.
"""

from __future__ import annotations

import copy
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from leadline.surrogate.errors import FitError
from leadline.surrogate.fitting import fitted, prior_mode
from leadline.surrogate.kernel import (
    FORMS,
    SMOOTHNESSES,
    Form,
    Hyperparameters,
    covariance,
    variance,
)

Array = NDArray[np.float64]

JITTERS = (0.0, 1e-8, 1e-6, 1e-4)


@dataclass(frozen=True)
class ModelSettings:
    """How a model is fitted.

    Parameters
    ----------
    nu
        Smoothness of the Matérn kernel: 0.5, 1.5 or 2.5.
    noise_floor
        Smallest variance of the noise, in units of the variance of y.
        Calculated labels are repeatable, but features tell no structure whole: with less,
        a model may be sure of one that it takes for another.
    max_iterations
        Steps of L-BFGS at most.
    seed
        Seed of the second start, taken if the first fails.
    form
        Of the kernel: ``isotropic``, ``ard`` or ``isotropic+linear``.
    """

    nu: float = 2.5
    noise_floor: float = 1e-3
    max_iterations: int = 80
    seed: int = 0
    form: Form = "isotropic"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise FitError(f"the kernel's form is {self.form!r}; choose of {', '.join(FORMS)}")
        if self.nu not in SMOOTHNESSES:
            raise FitError(f"nu is {self.nu}; the kernel has 0.5, 1.5 and 2.5: choose one of them")


class GaussianProcess:
    """A Gaussian process on n labels, by a Matérn kernel.

    Make one with :meth:`fit`; an object never changes. Means, standard
    deviations and covariances are in the units of y and of the noise-free
    function; add ``noise_sd`` squared to a variance to compare with labels.
    """

    def __init__(
        self,
        X: Array,
        y: Array,
        hyperparameters: Hyperparameters,
        *,
        offset: float,
        scale: float,
        settings: ModelSettings,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.X = X
        self.y = y
        self.offset = offset
        self.scale = scale
        self.settings = settings
        self._hyperparameters = hyperparameters
        factor, jitter = _cholesky(self.kernel(X, X), hyperparameters.noise)
        self.factor = factor
        self.jitter = jitter
        self.notes = notes + ((f"a jitter of {jitter:g} was added to the kernel",) * (jitter > 0))
        self.residuals = (y - offset) / scale - hyperparameters.mean
        self.weights: Array = scipy.linalg.cho_solve((factor, True), self.residuals)

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        warm: GaussianProcess | None = None,
        settings: ModelSettings | None = None,
        device: str = "cpu",
    ) -> GaussianProcess:
        """Fit to features X[n, p] and labels y[n], n at least 1, on a device of torch.

        Hyperparameters maximise the posterior density under a lognormal prior
        on the lengthscale whose median grows as √p (Hvarfner et al., ICML
        2024). If that fails from the start given by `warm` or the prior's mode,
        a second start is tried, then the hyperparameters of `warm`, then the
        prior's mode; `notes` tell.

        Raises
        ------
        FitError
            If shapes do not match, there is no label, or a number is not finite.
        """
        settings = settings or (warm.settings if warm else ModelSettings())
        features, labels = _checked(X, y)
        offset, scale = float(labels.mean()), float(labels.std())
        previous = warm._hyperparameters if warm else None
        notes: tuple[str, ...]
        if scale <= 1e-12 * max(abs(offset), 1e-12):
            found = prior_mode(features.shape[1], settings.noise_floor, settings.form)
            scale, notes = 1.0, ("all labels are equal: hyperparameters are the prior's mode",)
        else:
            found, notes = fitted(
                features,
                (labels - offset) / scale,
                previous,
                form=settings.form,
                nu=settings.nu,
                noise_floor=settings.noise_floor,
                max_iterations=settings.max_iterations,
                seed=settings.seed,
                device=device,
            )
        return cls(
            features, labels, found, offset=offset, scale=scale, settings=settings, notes=notes
        )

    def update(self, X: ArrayLike, y: ArrayLike) -> GaussianProcess:
        """Return this process conditioned on further labels, hyperparameters kept.

        Raises
        ------
        FitError
            As in :meth:`fit`, or if the number of features differs.
        """
        features, labels = _checked(X, y)
        if features.shape[1] != self.X.shape[1]:
            raise FitError(
                f"further labels have {features.shape[1]} features, the model has "
                f"{self.X.shape[1]}; prepare them with the same preparation"
            )
        return GaussianProcess(
            np.vstack([self.X, features]),
            np.concatenate([self.y, labels]),
            self._hyperparameters,
            offset=self.offset,
            scale=self.scale,
            settings=self.settings,
            notes=self.notes,
        )

    def noted(self, note: str) -> GaussianProcess:
        """Return the same process with one more note."""
        other = copy.copy(self)
        other.notes = (*self.notes, note)
        return other

    @property
    def hyperparameters(self) -> Hyperparameters:
        """What was fitted."""
        return self._hyperparameters

    @property
    def training_size(self) -> int:
        """Number of labels."""
        return len(self.y)

    @property
    def noise_sd(self) -> float:
        """Standard deviation of a label about the function, in units of y."""
        return self.scale * float(np.sqrt(self._hyperparameters.noise + self.jitter))

    def kernel(self, A: Array, B: Array) -> Array:
        """Prior covariance of scaled y between A[a, p] and B[b, p], float64[a, b]."""
        return covariance(A, B, self._hyperparameters, self.settings.nu)

    def predict(self, X: ArrayLike) -> tuple[Array, Array]:
        """Return posterior mean[n] and standard deviation[n] at X[n, p]."""
        points = np.asarray(X, dtype=float)
        cross = self.kernel(self.X, points)
        whitened = scipy.linalg.solve_triangular(self.factor, cross, lower=True)
        left = variance(points, self._hyperparameters) - np.einsum("ij,ij->j", whitened, whitened)
        return self._mean(cross), self.scale * np.sqrt(np.maximum(left, 0.0))

    def joint(self, X: ArrayLike) -> tuple[Array, Array]:
        """Return posterior mean[n] and covariance[n, n] at X[n, p]."""
        points = np.asarray(X, dtype=float)
        mean = self._mean(self.kernel(self.X, points))
        found = self.cross_covariance(points, points)
        return mean, (found + found.T) / 2

    def cross_covariance(self, A: ArrayLike, B: ArrayLike) -> Array:
        """Return the posterior covariance of A[a, p] and B[b, p], float64[a, b]."""
        left, right = np.asarray(A, dtype=float), np.asarray(B, dtype=float)
        half_a = scipy.linalg.solve_triangular(self.factor, self.kernel(self.X, left), lower=True)
        half_b = scipy.linalg.solve_triangular(self.factor, self.kernel(self.X, right), lower=True)
        return np.asarray(self.scale**2 * (self.kernel(left, right) - half_a.T @ half_b))

    def _mean(self, cross: Array) -> Array:
        mean: Array = self.offset + self.scale * (
            self._hyperparameters.mean + cross.T @ self.weights
        )
        return mean

    def to_npz(self) -> bytes:
        """Return the content of a npz file that :meth:`from_npz` turns into the same numbers."""
        about = {
            "hyperparameters": asdict(self._hyperparameters),
            "settings": asdict(self.settings),
            "offset": self.offset,
            "scale": self.scale,
            "notes": [note for note in self.notes if "jitter" not in note],
        }
        buffer = io.BytesIO()
        np.savez(buffer, X=self.X, y=self.y, about=np.array(json.dumps(about)))
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, content: bytes, name: str = "this content") -> GaussianProcess:
        """Rebuild from :meth:`to_npz`; no pickled object is accepted.

        Raises
        ------
        FitError
            If it is no such content, or was damaged; ``name`` says what was read.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                features, labels = _checked(file["X"], file["y"])
            return cls(
                features,
                labels,
                _hyperparameters(about["hyperparameters"], features.shape[1]),
                offset=_finite(about["offset"]),
                scale=_finite(about["scale"]),
                settings=ModelSettings(**about["settings"]),
                notes=tuple(about["notes"]),
            )
        except Exception as error:  # a stranger's bytes break a reader in any way
            raise FitError(
                f"{name} is no checkpoint of a model: {type(error).__name__}: {error}; fit again, "
                "or put a copy of the file back"
            ) from error

    def save(self, path: Path) -> None:
        """Write a npz file that :meth:`load` turns into the same numbers."""
        path.write_bytes(self.to_npz())

    @classmethod
    def load(cls, path: Path) -> GaussianProcess:
        """Read what :meth:`save` wrote; no pickled object is accepted.

        Raises
        ------
        FitError
            If it is no such file, or was damaged.
        """
        return cls.from_npz(path.read_bytes(), str(path))


def _hyperparameters(plain: dict[str, Any], p: int) -> Hyperparameters:
    lengthscale = plain.pop("lengthscale")
    others = {key: _finite(each) for key, each in plain.items()}
    if not isinstance(lengthscale, list):
        return Hyperparameters(_finite(lengthscale), **others)
    if len(lengthscale) != p:
        raise ValueError(f"there are {len(lengthscale)} lengthscales for {p} features")
    return Hyperparameters(tuple(_finite(each) for each in lengthscale), **others)


def _finite(value: float) -> float:
    if not np.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return float(value)


def _checked(X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    features, labels = np.array(X, dtype=float), np.array(y, dtype=float)
    if features.ndim != 2 or labels.shape != features.shape[:1] or features.size == 0:
        raise FitError(
            f"features have shape {features.shape} and labels {labels.shape}; "
            "a fit needs X[n, p] and y[n] with n and p at least 1"
        )
    if not (np.isfinite(features).all() and np.isfinite(labels).all()):
        raise FitError(
            f"{np.count_nonzero(~np.isfinite(labels))} of {len(labels)} labels and "
            f"{np.count_nonzero(~np.isfinite(features))} of {features.size} features are not "
            "finite; leave out calculations without a number before the fit"
        )
    return features, labels


def _cholesky(kernel: Array, noise: float) -> tuple[Array, float]:
    """Lower factor of kernel + noise, and the jitter that it took."""
    for jitter in JITTERS:
        try:
            shifted = kernel + (noise + jitter) * np.eye(len(kernel))
            return scipy.linalg.cholesky(shifted, lower=True), jitter
        except scipy.linalg.LinAlgError:
            continue
    raise FitError(
        f"the kernel of {len(kernel)} labels is not positive definite even with a jitter of "
        f"{JITTERS[-1]:g}; raise the noise floor (now {noise:g}) or remove duplicates"
    )
