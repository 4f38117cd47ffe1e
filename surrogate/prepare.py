"""From raw features of a pool to the coordinates that one lengthscale can serve.

The preparation is fitted on the pool and never sees a label: drop what is
constant, standardise, clip, and rotate to principal components. The components
are not whitened, so that their spectrum ranks the directions for a kernel with
a single lengthscale; one global standard deviation sets the scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from leadline.surrogate.errors import DescriptorError

CLIP = 8.0
MAX_COMPONENTS = 200
VARIANCE_KEPT = 0.9999
MAX_ROWS = 20_000
CONSTANT = 1e-5


@dataclass(frozen=True)
class Preparation:
    """What turns float32[n, d] raw features into float32[n, p] prepared ones.

    Parameters
    ----------
    kept
        Which of the d columns vary over the pool, bool[d].
    mean, scale
        Mean and standard deviation of the m kept columns, float64[m].
    components
        Rotation to the p principal components over the global standard
        deviation, float64[m, p].
    blocks
        Names and column slices of the raw features, as the descriptor gave them.
    """

    kept: NDArray[np.bool_]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    components: NDArray[np.float64]
    blocks: Mapping[str, slice]

    @classmethod
    def fit(cls, features: NDArray[np.float32], blocks: Mapping[str, slice]) -> Preparation:
        """Fit on the raw features of a pool, float32[n, d].

        Columns of one block share a scale: one that varies by less than 10⁻⁵
        of the largest number in its block counts as constant. Pools of more
        than 20,000 rows are fitted on 20,000 evenly spaced ones.

        Raises
        ------
        DescriptorError
            If there are no rows, a number is not finite, or no column varies
            although there are several rows.
        """
        sample = _sample(features)
        mean, scale = sample.mean(axis=0), sample.std(axis=0)
        kept = _varying(mean, scale, blocks)
        if not kept.any():
            return cls._of_one_point(sample, blocks)
        standard = np.clip((sample[:, kept] - mean[kept]) / scale[kept], -CLIP, CLIP)
        return cls(kept, mean[kept], scale[kept], _components(standard), dict(blocks))

    @classmethod
    def _of_one_point(cls, sample: NDArray[np.float64], blocks: Mapping[str, slice]) -> Preparation:
        n, d = sample.shape
        if n > 1:
            raise DescriptorError(
                f"no feature differs between the {n} candidates: blocks {', '.join(blocks)}; "
                "a model needs features that tell them apart: choose another descriptor, "
                "or remove duplicates from the pool"
            )
        kept = np.zeros(d, dtype=bool)
        kept[0] = True
        return cls(kept, sample[0, :1], np.ones(1), np.ones((1, 1)), dict(blocks))

    def transform(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return prepared features, float32[n, p].

        Raises
        ------
        DescriptorError
            If the number of columns is not the fitted one.
        """
        if features.ndim != 2 or features.shape[1] != len(self.kept):
            raise DescriptorError(
                f"features have shape {features.shape}, the preparation was fitted on "
                f"{len(self.kept)} columns; describe with the same descriptor"
            )
        standard = (np.asarray(features[:, self.kept], dtype=float) - self.mean) / self.scale
        prepared: NDArray[np.float64] = np.clip(standard, -CLIP, CLIP) @ self.components
        return prepared.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write a npz file."""
        np.savez(
            path,
            kept=self.kept,
            mean=self.mean,
            scale=self.scale,
            components=self.components,
            block_names=np.array(list(self.blocks), dtype=str),
            block_ends=np.array([[s.start, s.stop] for s in self.blocks.values()], dtype=int),
        )

    @classmethod
    def load(cls, path: Path) -> Preparation:
        """Read what :meth:`save` wrote; no pickled object is accepted."""
        # Opened here: numpy forgets to close what turns out to be no archive.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names, ends = file["block_names"], file["block_ends"]
            blocks = {
                str(name): slice(int(start), int(stop))
                for name, (start, stop) in zip(names, ends, strict=True)
            }
            return cls(file["kept"], file["mean"], file["scale"], file["components"], blocks)


def _sample(features: NDArray[np.float32]) -> NDArray[np.float64]:
    if features.ndim != 2 or 0 in features.shape:
        raise DescriptorError(
            f"features have shape {features.shape}; a preparation needs at least one candidate "
            "and one feature: check that the pool is not empty"
        )
    rows = np.unique(np.linspace(0, len(features) - 1, MAX_ROWS).astype(int))
    sample = np.asarray(features[rows], dtype=float)
    if not np.isfinite(sample).all():
        bad = np.flatnonzero(~np.isfinite(sample).all(axis=1))
        raise DescriptorError(
            f"{len(bad)} of {len(sample)} candidates have a feature that is not finite, "
            f"the first at row {rows[bad[0]]}; check that its atoms do not overlap"
        )
    return sample


def _varying(
    mean: NDArray[np.float64], scale: NDArray[np.float64], blocks: Mapping[str, slice]
) -> NDArray[np.bool_]:
    """Columns whose spread is more than the rounding of float32 in their block."""
    kept = scale > CONSTANT * np.abs(mean)
    for block in blocks.values():
        largest = np.max(np.abs(mean[block]) + scale[block], initial=0.0)
        kept[block] &= scale[block] > CONSTANT * largest
    return kept


def _components(standard: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leading principal directions over the global standard deviation, float64[m, p]."""
    centred = standard - standard.mean(axis=0)
    n, m = centred.shape
    if m <= n:
        variances, vectors = scipy.linalg.eigh(centred.T @ centred / n)
    else:
        variances, left = scipy.linalg.eigh(centred @ centred.T / n)
        vectors = centred.T @ left / np.sqrt(np.maximum(n * variances, 1e-300))
    variances, vectors = np.maximum(variances[::-1], 0.0), vectors[:, ::-1]
    explained = np.cumsum(variances) / variances.sum()
    p = min(MAX_COMPONENTS, int(np.searchsorted(explained, VARIANCE_KEPT)) + 1, m)
    leading = vectors[:, :p] * _signs(vectors[:, :p])
    components: NDArray[np.float64] = leading / np.sqrt(variances[:p].mean())
    return components


def _signs(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signs that make the largest entry of each direction positive, so that fits agree."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
