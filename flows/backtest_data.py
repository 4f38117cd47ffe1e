"""A finished data set as what a backtest searches: a pool, and its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.pool import Pool
from leadline.surrogate.reference import formation_energies
from leadline.tasks.candidates.feature_table import read_table
from leadline.tasks.errors import CandidateError
from leadline.tasks.problem import HullProblem, Problem

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class BacktestData:
    """A finished data set as a pool with answers.

    Parameters
    ----------
    path, sha256
        The file and the hash of its content, as the JSON states them.
    pool
        The candidates, all with an answer.
    names
        What the data set calls each row of the pool.
    y
        The answers, float64[n]: formation energies in eV/atom, or the property.
    given
        Rows that are computed first and not counted: the elements of a hull.
    """

    path: str
    sha256: str
    pool: Pool
    names: tuple[str, ...]
    y: Floats
    given: Rows


def backtest_data(
    path: Path,
    pool: Pool,
    problem: Problem,
    names: Mapping[str, str],
    labels: Mapping[str, float],
) -> BacktestData:
    """Return a data set ready to be searched; rows without an answer are left out.

    Parameters
    ----------
    path
        The file, whose hash the result states.
    pool
        Candidates of the file with their features.
    problem
        What is looked for.
    names
        The data set's own name of each structure id.
    labels
        By structure id: the total energy of the cell in eV for a hull, whose
        references are the file's own elements, the lowest phase of each; else the property.

    Raises
    ------
    CandidateError
        If no row has an answer, or a hull lacks an element.
    """
    rows = np.array([row for row, id_ in enumerate(pool.ids) if id_ in labels], dtype=np.int64)
    if not len(rows):
        raise CandidateError(
            f"{path}: none of the {len(pool)} candidates has an answer; a backtest needs a data "
            "set with labels: name its energy or property key"
        )
    answered = pool.only(rows)
    y = np.array([labels[id_] for id_ in answered.ids], dtype=np.float64)
    given = np.empty(0, dtype=np.int64)
    if isinstance(problem, HullProblem):
        given = np.flatnonzero(answered.fractions.max(axis=1) > 1 - 1e-9)
        y = _formation(path, answered, y / answered.sites, given)
    return BacktestData(
        path=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        pool=answered,
        names=tuple(names[id_] for id_ in answered.ids),
        y=y,
        given=given,
    )


def table_data(path: Path, label: str, columns: Sequence[str]) -> BacktestData:
    """Return a table of features and measured values ready to be searched.

    The features are standardised and not rotated, so that a lengthscale can belong to a column.

    Raises
    ------
    CandidateError
        As in :func:`~leadline.tasks.candidates.feature_table.read_table`, or if no feature varies.
    """
    table = read_table(path, label, columns)
    spread = table.features.std(axis=0)
    varying = spread > 0
    if not varying.any():
        raise CandidateError(f"{path}: no feature differs between its {len(table.names)} rows")
    centred = table.features[:, varying] - table.features[:, varying].mean(axis=0)
    n = len(table.names)
    pool = Pool(
        ids=table.names,
        formulas=table.names,
        elements=(),
        fractions=np.empty((n, 0)),
        sites=np.ones(n, dtype=np.int64),
        features=(centred / spread[varying]).astype(np.float32),
    )
    return BacktestData(
        path=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        pool=pool,
        names=table.names,
        y=table.values,
        given=np.empty(0, dtype=np.int64),
    )


def _formation(path: Path, pool: Pool, energies: Floats, elements: Rows) -> Floats:
    """Return formation energies from the lowest phase of each element in the set, eV/atom."""
    references = np.full(len(pool.elements), np.inf)
    for row in elements:
        column = pool.fractions[row].argmax()
        references[column] = min(references[column], energies[row])
    missing = [
        symbol
        for symbol, energy in zip(pool.elements, references, strict=True)
        if not np.isfinite(energy)
    ]
    if missing:
        raise CandidateError(
            f"{path}: no row of the pure element(s) {', '.join(missing)}, which the hull of a "
            "backtest is measured from; add them to the data set, or search a property"
        )
    return formation_energies(energies, pool.fractions, references)
