"""Tables without structures: plain features and their measured values, for backtests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadline.tasks.errors import CandidateError
from leadline.tasks.settings import few

Floats = NDArray[np.float64]

SUFFIX = ".csv"


@dataclass(frozen=True)
class FeatureTable:
    """Rows that differ in their features, n of them.

    Parameters
    ----------
    names
        The line of the file on which each first stands, e.g. ``line 2``.
    columns
        Names of the d features.
    features
        float64[n, d], as they stand in the file.
    values
        What was measured, float64[n]: the mean of a row's repeats.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    features: Floats
    values: Floats


def is_table(path: Path) -> bool:
    """Tell whether a data set is a table of numbers, by the name of its file."""
    return SUFFIX in path.suffixes


def read_table(path: Path, label: str, columns: Sequence[str] = ()) -> FeatureTable:
    """Return a table of comma-separated values whose first line names its columns.

    Parameters
    ----------
    path
        The file, compressed or not, in UTF-8.
    label
        Column of what was measured; rows without a number there are left out.
    columns
        Columns to take for features; by default all others.

    Raises
    ------
    CandidateError
        If it is no such file, a column is not there, or a feature is no number.
    """
    frame = _frame(path)
    chosen = list(columns) or [name for name in frame.columns if name != label]
    if absent := [name for name in (label, *chosen) if name not in frame.columns]:
        raise CandidateError(
            f"{path}: has no column {', '.join(map(repr, absent))}; it has: "
            + ", ".join(map(repr, frame.columns))
        )
    if label in chosen or not chosen:
        raise CandidateError(
            f"{path}: {label!r} is what was measured, and a search needs other columns as "
            "features to predict it from"
        )
    values = pd.to_numeric(frame[label], errors="coerce").to_numpy(dtype=np.float64)
    told = np.isfinite(values)
    if not told.any():
        raise CandidateError(f"{path}: no row has a number in column {label!r}")
    features = np.column_stack([_numbers(frame[name], path) for name in chosen])[told]
    return _averaged(tuple(chosen), features, values[told], np.flatnonzero(told) + 2)


def _frame(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise CandidateError(f"there is no file {path}")
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", skip_blank_lines=False)
    except Exception as error:  # a parser may fail in any way on a stranger's bytes
        raise CandidateError(f"{path}: is no table of comma-separated values: {error}") from error
    return frame.rename(columns=lambda name: str(name).strip())


def _numbers(column: pd.Series, path: Path) -> Floats:
    numbers: Floats = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        lines = [f"line {row + 2} has {str(column.iloc[row])!r}" for row in wrong]
        raise CandidateError(
            f"{path}: column {column.name!r} is no feature, since not all of it is finite numbers: "
            f"{'; '.join(few(lines))}. Mend it, or name the columns to use in "
            "candidates.dataset.features"
        )
    return numbers


def _averaged(
    columns: tuple[str, ...], features: Floats, values: Floats, lines: NDArray[np.int64]
) -> FeatureTable:
    """Return one row for each set of features, in the order of the file."""
    _, first, group = np.unique(features, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    means = np.bincount(group, weights=values) / np.bincount(group)
    order = np.argsort(first)
    kept = first[order]
    return FeatureTable(
        tuple(f"line {line}" for line in lines[kept]), columns, features[kept], means[order]
    )
