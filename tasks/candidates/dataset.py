"""A finished data set: structures whose answers are known, for backtests and replays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate, Geometry
from leadline.tasks.candidates.feature_table import is_table
from leadline.tasks.candidates.readers import Unreadable, file_format, read_frames
from leadline.tasks.candidates.source import Drops, Source, SourceSettings, make_candidate
from leadline.tasks.errors import CandidateError
from leadline.tasks.settings import validated


class DatasetSettings(SourceSettings):
    """Settings of ``dataset``."""

    path: str = Field(
        description="extended XYZ with labels in its info keys, or for backtests a table in CSV; "
        "compressed or not"
    )
    id_key: str = Field(default="id", description="info key that names a row")
    labels: tuple[str, ...] = Field(
        default=(), description="info keys that must hold a finite number; other rows are dropped"
    )
    geometry: Geometry | None = Field(
        default=None,
        description="ideal: made without a calculation; relaxed: by one, so that volume and "
        "displacements must not be shown to the model; must be given for structures",
    )
    features: tuple[str, ...] = Field(
        default=(), description="columns of a table to learn from; by default all but the property"
    )

    @model_validator(mode="after")
    def _says_what_it_holds(self) -> DatasetSettings:
        table = is_table(Path(self.path))
        if table and (self.geometry or self.labels):
            raise ValueError(
                f"{Path(self.path).name} is a table without structures; geometry and labels are "
                "for structures: leave them out"
            )
        if not table and self.features:
            raise ValueError(
                f"features names columns of a table, and {Path(self.path).name} is no .csv; "
                "the features of structures are chosen by surrogate.descriptor"
            )
        if not table and self.geometry is None:
            raise ValueError(
                "geometry is missing; allowed: ideal (made without a calculation) or relaxed "
                "(by one, so that volume and displacements are not shown to the model)"
            )
        return self


class DatasetSource(Source):
    """The rows of a data set, in the order of its file; labels stay in the file."""

    name: ClassVar[str] = "dataset"
    Settings: ClassVar[type[SourceSettings]] = DatasetSettings
    distinct: ClassVar[bool] = True
    settings: DatasetSettings

    def __init__(self, settings: Mapping[str, Any], base: Path) -> None:
        self.settings = validated(DatasetSettings, settings, "candidates.dataset")
        self.drops = Drops()
        self.path = data_file(base / self.settings.path)

    @property
    def geometry(self) -> Geometry:
        """What the settings declare."""
        assert self.settings.geometry is not None  # structures alone come this far
        return self.settings.geometry

    def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Yield the rows whose labels are finite; ``rng`` is not used."""
        self.drops = Drops()
        for structure, name, info in _rows(self.path, self.settings.id_key, self.drops):
            if missing := [key for key in self.settings.labels if label(info, key) is None]:
                self.drops.add("no finite label", f"{name} has no number in {', '.join(missing)}")
                continue
            provenance = {"source": self.name, "file": self.settings.path, "data_id": name}
            yield make_candidate(structure, provenance, self.geometry)


def read_labels(path: Path, id_key: str, keys: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the labels of a data set by structure id.

    Parameters
    ----------
    path
        Extended XYZ, compressed or not.
    id_key
        Info key that names a row; rows without it are left out.
    keys
        Info keys to read; what is not a finite number is left out.

    Raises
    ------
    CandidateError
        If the file is not there or of another format, holds no row, or none of
        its rows has one of ``keys``.
    """
    found = {
        make_candidate(structure, {}, "ideal").id: {
            key: value for key in keys if (value := label(info, key)) is not None
        }
        for structure, _, info in _rows(data_file(path), id_key, Drops())
    }
    for key in keys:
        if not any(key in labels for labels in found.values()):
            raise CandidateError(
                f"{path}: none of {len(found)} rows has a finite number in {key!r}; "
                "name an info key of the file that holds the answers"
            )
    return found


def read_data_ids(path: Path, id_key: str) -> dict[str, str]:
    """Return the data set's own name of each row by structure id.

    Raises
    ------
    CandidateError
        If the file is not there or of another format, or holds no row.
    """
    rows = _rows(data_file(path), id_key, Drops())
    return {make_candidate(structure, {}, "ideal").id: name for structure, name, _ in rows}


def data_file(path: Path) -> Path:
    """Return ``path`` if it can be a data set, or raise CandidateError."""
    if not path.is_file():
        raise CandidateError(f"candidates.dataset.path: {path} is no file")
    if is_table(path):
        raise CandidateError(
            f"candidates.dataset.path: {path.name} is a table and holds no structures to "
            "calculate; `leadline backtest` alone can search it"
        )
    if file_format(path) != "extxyz":
        raise CandidateError(
            f"candidates.dataset.path: {path.name} is no extended XYZ; "
            "the name must end in .extxyz or .xyz, with or without .gz, .bz2 or .xz"
        )
    return path


def label(info: Mapping[str, Any], key: str) -> float | None:
    """Return a label as a finite float, or None if it is none."""
    try:
        value = float(info[key])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _rows(
    path: Path, id_key: str, drops: Drops
) -> Iterator[tuple[Structure, str, Mapping[str, Any]]]:
    """Yield structure, name and info of every row that has a name of its own."""
    names: set[str] = set()
    for frame in read_frames(path):
        if isinstance(frame, Unreadable):
            drops.add(frame.reason, str(frame))
            continue
        structure, info = frame
        name = str(info.get(id_key, ""))
        if not name or name in names:
            drops.add("no id of its own", f"{path.name}: {id_key}={name!r} is missing or repeated")
            continue
        names.add(name)
        yield structure, name, info
    if not names:
        raise CandidateError(f"{path}: no row can be used: {drops.words() or 'the file is empty'}")
