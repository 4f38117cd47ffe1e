"""A pool as the mathematics sees it: features prepared, on disk, made once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from leadline.surrogate.descriptors.descriptor import Descriptor
from leadline.surrogate.pool import Pool
from leadline.surrogate.prepare import Preparation
from leadline.tasks.candidates.pool import BLOCK, PoolFile, put_in_place


def pool_features(pool: PoolFile, descriptor: Descriptor, folder: Path) -> tuple[Pool, Preparation]:
    """Return a pool with its prepared features, and the preparation fitted on it.

    Features are described and prepared ``BLOCK`` candidates at a time, kept in
    ``folder`` by pool and descriptor, and memory-mapped: a second call reads.

    Parameters
    ----------
    pool
        The candidates.
    descriptor
        What turns them into numbers.
    folder
        Where features are kept; they can be deleted at any time.

    Raises
    ------
    DescriptorError
        If a candidate cannot be described, or none differs from another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(f"{pool.sha256} {descriptor.id}".encode()).hexdigest()[:32]
    prepared = folder / f"features-{key}.npy"
    fitted = folder / f"preparation-{key}.npz"
    if not (prepared.exists() and fitted.exists()):
        raw = folder / f".raw-{key}.npy"
        _describe(pool, descriptor, raw)
        _prepare(raw, descriptor, prepared, fitted)
        raw.unlink()
    features: NDArray[np.float32] = np.load(prepared, mmap_mode="r", allow_pickle=False)
    table = Pool(pool.ids, pool.formulas, pool.elements, pool.fractions, pool.sites, features)
    return table, Preparation.load(fitted)


def _describe(pool: PoolFile, descriptor: Descriptor, path: Path) -> None:
    shape = (len(pool), len(descriptor.feature_names))
    raw = open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    start = 0
    for block in pool.blocks():
        raw[start : start + len(block)] = descriptor.describe(block)
        start += len(block)
    raw.flush()


def _prepare(raw: Path, descriptor: Descriptor, prepared: Path, fitted: Path) -> None:
    features: NDArray[np.float32] = np.load(raw, mmap_mode="r", allow_pickle=False)
    preparation = Preparation.fit(features, descriptor.blocks)
    width = preparation.transform(features[:1]).shape[1]
    temporary = prepared.with_suffix(".part")
    out = open_memmap(temporary, mode="w+", dtype=np.float32, shape=(len(features), width))
    for start in range(0, len(features), BLOCK):
        out[start : start + BLOCK] = preparation.transform(features[start : start + BLOCK])
    out.flush()
    preparation.save(fitted)
    put_in_place(temporary, prepared)
