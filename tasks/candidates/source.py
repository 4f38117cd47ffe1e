"""The contract of a source: where candidates come from. One source a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Element, Structure

from leadline.surrogate.candidate import Candidate, Geometry
from leadline.tasks.structures import structure_id

EXAMPLE_LENGTH = 300


class SourceSettings(BaseModel):
    """Settings of a source as a campaign file gives them; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Drops:
    """Structures that did not become candidates: how many, why, and one of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, reason: str, example: str) -> None:
        """Count one more drop for ``reason``; the first ``example`` of each is kept."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, " ".join(example.split())[:EXAMPLE_LENGTH])

    def merge(self, other: Drops) -> None:
        """Add the counts of ``other`` to these."""
        self.counts.update(other.counts)
        self.examples = {**other.examples, **self.examples}

    def words(self) -> str:
        """Return the reasons, most frequent first, each with its count and example."""
        return "; ".join(
            f"{count} {reason} ({self.examples[reason]})"
            for reason, count in self.counts.most_common()
        )


class Source(Protocol):
    """Something that yields candidates, lazily: a pool may be a million.

    The same settings and the same generator state give the same candidates in
    the same order. A source that reads files counts what it cannot use in
    ``drops`` and goes on.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[SourceSettings]]
    distinct: ClassVar[bool]
    """True if no two candidates are the same crystal by construction."""
    drops: Drops

    def __init__(self, settings: Mapping[str, Any], base: Path) -> None:
        """Check ``settings``; relative paths in them start at ``base``."""

    @property
    def geometry(self) -> Geometry:
        """Whether its geometries were made without a calculation."""

    def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Yield the candidates."""


def make_candidate(
    structure: Structure, provenance: Mapping[str, Any], geometry: Geometry
) -> Candidate:
    """Return a candidate with the id of its structure."""
    return Candidate(structure_id(structure), structure, dict(provenance), geometry)


def known_elements(symbols: Iterable[str]) -> tuple[str, ...]:
    """Return element symbols in alphabetical order, each once.

    Raises
    ------
    ValueError
        If there are none, or one is not an element.
    """
    found = tuple(sorted(set(symbols)))
    if not found:
        raise ValueError("no element is given; at least one is needed, e.g. [Cu, Au]")
    for symbol in found:
        if not Element.is_valid_symbol(symbol):
            raise ValueError(f"{symbol!r} is no element symbol; write e.g. Cu")
    return found
