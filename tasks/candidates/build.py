"""From sources to a pool: checked, each crystal once, and every drop counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.pool import PoolFile, PoolWriter
from leadline.tasks.candidates.source import Drops, Source
from leadline.tasks.crystals import Crystals
from leadline.tasks.errors import CandidateError

DUPLICATE = "duplicate"


def build_pool(
    sources: Sequence[Source],
    checks: Checks,
    rng: np.random.Generator,
    folder: Path,
    *,
    scale: bool = True,
) -> PoolFile:
    """Write what the sources give to a content-addressed file in ``folder``.

    The first of several equal crystals stays. Sources that declare themselves
    ``distinct`` are compared with the others, not with themselves.

    Parameters
    ----------
    sources
        Where candidates come from, in order.
    checks
        What each must be.
    rng
        For sources that draw at random.
    folder
        Where pools are kept.
    scale
        Whether the recipe relaxes the cell: then cells that differ in volume
        alone are duplicates.

    Raises
    ------
    CandidateError
        If no candidate is left, with the counted reasons.
    """
    writer = PoolWriter(folder)
    drops = Drops()
    try:
        sieve = _Sieve(sources, checks, writer, scale)
        for number, candidate in _all(sources, rng, drops):
            if problem := sieve.problem(candidate, number):
                drops.add(*problem)
            else:
                sieve.keep(candidate, number)
        if not len(writer):
            raise CandidateError(_nothing_left(drops))
        return writer.finish(drops)
    except BaseException:
        writer.discard()
        raise


def _all(
    sources: Sequence[Source], rng: np.random.Generator, drops: Drops
) -> Iterator[tuple[int, Candidate]]:
    for number, source in enumerate(sources):
        for candidate in source.generate(rng):
            yield number, candidate
        drops.merge(source.drops)


class _Sieve:
    """Holds what is needed to say whether one more candidate may enter."""

    def __init__(
        self, sources: Sequence[Source], checks: Checks, writer: PoolWriter, scale: bool
    ) -> None:
        self.sources, self.checks, self.writer = sources, checks, writer
        self.compares = len(sources) > 1 or not all(source.distinct for source in sources)
        self.crystals = Crystals(scale, writer.structure_at)
        self.ids: set[str] = set()

    def problem(self, candidate: Candidate, number: int) -> tuple[str, str] | None:
        structure = candidate.material
        assert isinstance(structure, Structure)
        if found := self.checks.problem(structure):
            return found
        if candidate.id in self.ids:
            return DUPLICATE, f"{candidate.formula}: the same cell twice"
        if self.compares:
            own = number if self.sources[number].distinct else None
            twin = self.crystals.find(structure, other_than=own)
            if twin is not None:
                return DUPLICATE, f"{candidate.formula}: {_origin(candidate)} is candidate {twin}"
        return None

    def keep(self, candidate: Candidate, number: int) -> None:
        if self.compares:
            assert isinstance(candidate.material, Structure)
            self.crystals.keep(candidate.material, len(self.writer), label=number)
        self.ids.add(candidate.id)
        self.writer.add(candidate)


def _origin(candidate: Candidate) -> str:
    told = ("prototype", "file", "data_id", "decoration")
    words = [f"{key} {candidate.provenance[key]}" for key in told if key in candidate.provenance]
    return ", ".join(words) or str(candidate.provenance.get("source", "it"))


def _nothing_left(drops: Drops) -> str:
    if not drops.counts:
        return "candidates: the sources gave nothing; check their settings"
    return (
        f"candidates: none is left of {drops.counts.total()}: {drops.words()}. "
        "Change the sources, or the checks if they are too strict"
    )
