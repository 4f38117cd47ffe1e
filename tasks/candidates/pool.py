"""A pool of candidates: one content-addressed file, read in blocks."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.source import Drops
from leadline.tasks.errors import CandidateError
from leadline.tasks.structures import from_plain, to_plain
from leadline.tasks.writing import explained_writing, put_in_place, temporary_beside

BLOCK = 256
"""Candidates read, described and scored at a time."""
BLOCKS_AT_HAND = 64
"""Blocks kept in memory while candidates are compared: about 10 MB."""
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class PoolReport:
    """What became of everything that the sources gave.

    Parameters
    ----------
    candidates
        How many are in the pool.
    by_source
        How many of them each source gave.
    dropped
        How many were dropped, by reason.
    examples
        One dropped structure for each reason.
    """

    candidates: int
    by_source: Mapping[str, int]
    dropped: Mapping[str, int]
    examples: Mapping[str, str]

    def words(self) -> str:
        """Return one sentence for people."""
        sources = ", ".join(f"{count} from {name}" for name, count in self.by_source.items())
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
        kept = f"{self.candidates} candidates ({sources})"
        return f"{kept}; dropped: {reasons}" if reasons else kept

    def to_plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "candidates": self.candidates,
            "by_source": dict(self.by_source),
            "dropped": dict(self.dropped),
            "examples": dict(self.examples),
        }


class PoolFile:
    """A pool that :class:`PoolWriter` wrote; it stays open, so the file may be deleted meanwhile.

    Parameters
    ----------
    path
        The file; its name holds the hash of what is in it.

    Raises
    ------
    CandidateError
        If it is no pool file, or was cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = archive = zipfile.ZipFile(path)
            about = json.loads(archive.read("about.json"))
            self.ids = tuple(_array(archive, "ids").astype(str).tolist())
            self.formulas = tuple(_array(archive, "formulas").tolist())
            self.fractions: NDArray[np.float64] = _array(archive, "fractions")
            self.sites: NDArray[np.int64] = _array(archive, "sites")
            self.sha256 = str(about["sha256"])
            self.elements: tuple[str, ...] = tuple(about["elements"])
            self.geometries: tuple[str, ...] = tuple(about["geometries"])
            self.report = PoolReport(**about["report"])
            self._check_shapes()
        except Exception as error:  # damaged bytes break a reader in any way
            raise CandidateError(
                f"{path} is no pool of candidates: {error}; delete it, and it is built again"
            ) from error

    def _check_shapes(self) -> None:
        rows = len(self.ids)
        expected = ((rows,), (rows, len(self.elements)), (rows,))
        if (np.shape(self.formulas), self.fractions.shape, self.sites.shape) != expected:
            raise ValueError("its columns differ in length")

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self) -> Iterator[list[Candidate]]:
        """Yield the candidates in order, ``BLOCK`` at a time."""
        for number in range(-(-len(self) // BLOCK)):
            yield [self._parsed(line) for line in self._lines(number)]

    def candidates(self) -> Iterator[Candidate]:
        """Yield the candidates one by one, in order."""
        for block in self.blocks():
            yield from block

    def candidate(self, id_: str) -> Candidate:
        """Return one candidate by its structure id.

        Raises
        ------
        CandidateError
            If it is not in the pool.
        """
        if id_ not in self.rows:
            raise CandidateError(f"no candidate of this pool has the id {id_}")
        return self.some([id_])[0]

    def some(self, ids: Sequence[str]) -> list[Candidate]:
        """Return the candidates with ``ids``, in that order; each block is read once."""
        rows = [self.rows[id_] for id_ in ids]
        found: dict[int, Candidate] = {}
        for number in sorted({row // BLOCK for row in rows}):
            lines = self._lines(number)
            wanted = (row for row in set(rows) if row // BLOCK == number)
            found.update({row: self._parsed(lines[row % BLOCK]) for row in wanted})
        return [found[row] for row in rows]

    def _lines(self, number: int) -> list[bytes]:
        with self._explained():
            lines = self._archive.read(_block_name(number)).splitlines()
            if len(lines) != min(BLOCK, len(self) - number * BLOCK):
                raise ValueError(f"{_block_name(number)} lacks lines")
        return lines

    def _parsed(self, line: bytes) -> Candidate:
        with self._explained():
            return _candidate(line)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # as above
            raise CandidateError(
                f"{self.path} can no longer be read: {error}; delete it and run again: it is "
                "built again as it was"
            ) from error

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each id."""
        return {id_: row for row, id_ in enumerate(self.ids)}


class PoolWriter:
    """Writes a pool block by block; memory holds the ids, formulas and amounts alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with explained_writing(folder / "pool"):
            self.temporary = temporary_beside(folder / "pool")
            self._archive = zipfile.ZipFile(self.temporary, "w", zipfile.ZIP_DEFLATED)
        self._hash = hashlib.sha256()
        self._lines: list[bytes] = []
        self._written = 0
        self._read: dict[int, list[bytes]] = {}
        self._rows: list[tuple[str, str, dict[str, float]]] = []
        self._geometries: set[str] = set()
        self._by_source: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, candidate: Candidate) -> None:
        """Write one candidate."""
        self._lines.append(_line(candidate))
        amounts = candidate.composition.get_el_amt_dict()
        self._rows.append((candidate.id, candidate.formula, amounts))
        self._geometries.add(candidate.geometry)
        self._by_source[str(candidate.provenance.get("source", "unknown"))] += 1
        if len(self._lines) == BLOCK:
            self._flush()

    def structure_at(self, row: int) -> Structure:
        """Return the structure written in a row."""
        number, place = divmod(row, BLOCK)
        lines = self._lines if number == self._written else self._block(number)
        return _structure(lines[place])

    def finish(self, drops: Drops) -> PoolFile:
        """Sync the file, give it its name, and return it."""
        if self._lines:
            self._flush()
        sha256, elements = self._hash.hexdigest(), self._elements()
        report = PoolReport(
            len(self), dict(self._by_source), dict(drops.counts.most_common()), drops.examples
        )
        about = {
            "sha256": sha256,
            "elements": elements,
            "geometries": sorted(self._geometries),
            "report": report.to_plain(),
        }
        self._write("about.json", json.dumps(about).encode())
        for name, array in self._columns(elements).items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            self._write(f"{name}.npy", buffer.getvalue())
        path = self.folder / f"pool-{sha256}.zip"
        with explained_writing(path):
            self._archive.close()
            put_in_place(self.temporary, path)
        return PoolFile(path)

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # closing writes the table of contents, and the disk may be full
            self._archive.close()
        self.temporary.unlink(missing_ok=True)

    def _block(self, number: int) -> list[bytes]:
        if number not in self._read:
            if len(self._read) == BLOCKS_AT_HAND:
                self._read.pop(next(iter(self._read)))
            self._read[number] = self._archive.read(_block_name(number)).splitlines()
        return self._read[number]

    def _flush(self) -> None:
        content = b"".join(self._lines)
        self._hash.update(content)
        self._write(_block_name(self._written), content)
        self._lines, self._written = [], self._written + 1

    def _write(self, name: str, content: bytes) -> None:
        entry = zipfile.ZipInfo(name, EPOCH)
        with explained_writing(self.temporary):
            self._archive.writestr(entry, content, zipfile.ZIP_DEFLATED)

    def _elements(self) -> list[str]:
        return sorted({symbol for _, _, amounts in self._rows for symbol in amounts})

    def _columns(self, elements: list[str]) -> dict[str, NDArray[Any]]:
        column = {symbol: i for i, symbol in enumerate(elements)}
        counts = np.zeros((len(self), len(elements)))
        for row, (_, _, amounts) in enumerate(self._rows):
            for symbol, amount in amounts.items():
                counts[row, column[symbol]] = amount
        return {
            "ids": np.array([row[0] for row in self._rows], dtype="S"),
            "formulas": np.array([row[1] for row in self._rows], dtype="U"),
            "fractions": counts / counts.sum(axis=1, keepdims=True),
            "sites": np.rint(counts.sum(axis=1)).astype(np.int64),
        }


def _block_name(number: int) -> str:
    return f"block-{number:07d}.jsonl"


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    return np.asarray(np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False))


def _line(candidate: Candidate) -> bytes:
    if not isinstance(candidate.material, Structure):
        raise CandidateError(f"{candidate.formula} is a molecule; a pool holds periodic structures")
    plain = {
        "id": candidate.id,
        "structure": to_plain(candidate.material),
        "provenance": dict(candidate.provenance),
        "geometry": candidate.geometry,
    }
    return json.dumps(plain, sort_keys=True, allow_nan=False).encode() + b"\n"


def _candidate(line: bytes) -> Candidate:
    plain = json.loads(line)
    structure = from_plain(plain["structure"])
    return Candidate(plain["id"], structure, plain["provenance"], plain["geometry"])


def _structure(line: bytes) -> Structure:
    return from_plain(json.loads(line)["structure"])
