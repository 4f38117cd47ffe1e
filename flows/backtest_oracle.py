"""Answers from a finished data set, given only for picks that are already on record."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadline.flows.backtest_data import BacktestData
from leadline.tasks.errors import OracleError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass
class Oracle:
    """Keeps the answers of one run behind the record of its picks.

    Parameters
    ----------
    data
        The data set.
    policy, seed
        The run.
    journal
        File to which each batch is appended, one JSON line, before any of its
        answers can be read; None keeps batches in memory alone.
    """

    data: BacktestData
    policy: str
    seed: int
    journal: Path | None = None
    batches: list[list[int]] = field(default_factory=list)

    @property
    def picked(self) -> list[int]:
        """All recorded rows in the order of the picks."""
        return [row for batch in self.batches for row in batch]

    def record(self, rows: Sequence[int]) -> None:
        """Put a batch on record.

        Raises
        ------
        OracleError
            If a row was picked before, or is given.
        """
        again = set(rows) & {*self.picked, *self.data.given.tolist()} or len(set(rows)) < len(rows)
        if again:
            raise OracleError(
                f"policy {self.policy}, seed {self.seed}: a batch repeats rows that are known; "
                "each candidate is picked once"
            )
        self._append({"policy": self.policy, "seed": self.seed, "batch": self.names(rows)})
        self.batches.append([int(row) for row in rows])

    def reveal(self, rows: Sequence[int] | Rows) -> Floats:
        """Return the answers of given or recorded rows, float64[len(rows)].

        Raises
        ------
        OracleError
            If a row is neither given nor in a recorded batch.
        """
        asked = np.asarray(rows, dtype=np.int64)
        early = set(asked.tolist()) - {*self.picked, *self.data.given.tolist()}
        if early:
            raise OracleError(
                f"policy {self.policy}, seed {self.seed}: the answers of {self.names(early)} were "
                "asked for before their picks were on record; record the batch first"
            )
        return np.asarray(self.data.y[asked])

    def names(self, rows: Any) -> list[str]:
        """Return what the data set calls these rows."""
        return [self.data.names[row] for row in rows]

    def _append(self, line: dict[str, Any]) -> None:
        if self.journal is None:
            return
        # One write for one line: runs in other processes append to the same file.
        descriptor = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (json.dumps(line) + "\n").encode())
        finally:
            os.close(descriptor)
