"""A pool as the mathematics sees it: features prepared, on disk, made once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from leadline.surrogate.descriptors.descriptor import Descriptor
from leadline.surrogate.likeness import alike
from leadline.surrogate.pool import Pool
from leadline.surrogate.prepare import Preparation
from leadline.tasks.candidates.pool import BLOCK, PoolFile
from leadline.tasks.writing import PART, explained_writing, put_in_place, remove_left_over

Kept = tuple[NDArray[np.float32], Preparation]


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
    WriteError
        If the disk is full, or the folder may not be written to.
    """
    key = hashlib.sha256(f"{pool.sha256} {descriptor.id}".encode()).hexdigest()[:32]
    prepared = folder / f"features-{key}.npy"
    fitted = folder / f"preparation-{key}.npz"
    features, preparation = _read(prepared, fitted, len(pool)) or _made(
        pool, descriptor, prepared, fitted
    )
    table = Pool(pool.ids, pool.formulas, pool.elements, pool.fractions, pool.sites, features)
    return table, preparation


def alike_words(pool: Pool) -> str:
    """Return which candidates have the features of another, as a sentence without its end; or ''.

    A model takes them for one; what one is, the other is expected to be.
    """
    if not (found := alike(pool.features)):
        return ""
    one, other = found[0]
    named = [f"{pool.formulas[row]} {pool.ids[row][:8]}" for row in (one, other)]
    return (
        f"{len(found)} of {len(pool)} candidates have the features of another, as {named[0]} has "
        f"those of {named[1]}, and a model takes them for one"
    )


def _read(prepared: Path, fitted: Path, rows: int) -> Kept | None:
    """Return what was kept, or None where it is missing or cut short."""
    try:
        features: NDArray[np.float32] = np.load(prepared, mmap_mode="r", allow_pickle=False)
        preparation = Preparation.load(fitted)
        shape = (rows, preparation.components.shape[1])
    except Exception:  # in whatever way it is broken, it is made again
        return None
    right = features.shape == shape and features.dtype == np.float32
    return (features, preparation) if right else None


def _made(pool: PoolFile, descriptor: Descriptor, prepared: Path, fitted: Path) -> Kept:
    """Make both files in a folder of our own: two processes may do so at once."""
    folder = prepared.parent
    with explained_writing(prepared):
        folder.mkdir(parents=True, exist_ok=True)
        remove_left_over(folder)
        with tempfile.TemporaryDirectory(prefix=".", suffix=PART, dir=folder) as name:
            room = Path(name)
            _describe(pool, descriptor, room / "raw.npy")
            preparation = _prepare(room / "raw.npy", descriptor, room / prepared.name)
            preparation.save(room / fitted.name)
            features: NDArray[np.float32] = np.load(room / prepared.name, mmap_mode="r")
            put_in_place(room / fitted.name, fitted)
            put_in_place(room / prepared.name, prepared)
    return features, preparation


def _describe(pool: PoolFile, descriptor: Descriptor, path: Path) -> None:
    described = (descriptor.describe(block) for block in pool.blocks())
    _write_rows(path, (len(pool), len(descriptor.feature_names)), described)


def _prepare(raw: Path, descriptor: Descriptor, path: Path) -> Preparation:
    features: NDArray[np.float32] = np.load(raw, mmap_mode="r", allow_pickle=False)
    preparation = Preparation.fit(features, descriptor.blocks)
    width = preparation.transform(features[:1]).shape[1]
    starts = range(0, len(features), BLOCK)
    prepared = (preparation.transform(features[start : start + BLOCK]) for start in starts)
    _write_rows(path, (len(features), width), prepared)
    return preparation


def _write_rows(path: Path, shape: tuple[int, int], blocks: Iterable[NDArray[np.float32]]) -> None:
    """Write a npy file block by block.

    By plain writes: a full disk is an error then. Where a file is mapped and has
    holes, it is a signal that ends the process.
    """
    header = npy.header_data_from_array_1_0(np.empty(0, dtype=np.float32)) | {"shape": shape}
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=np.float32).tobytes())
