"""What the calculations of a campaign need: their sizes, and what those like them took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leadline.tasks.compute.estimates import KEPT, Measured
from leadline.tasks.engines.engine import Engine
from leadline.tasks.store.records import Attempt, Calculation
from leadline.tasks.store.store import Store


class Sizes:
    """Sizes of cells, as an engine's time and memory grow with them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._valences: dict[str, float | None] = {}

    def of(self, structure: Mapping[str, Any]) -> float:
        """Return the valence electrons of a plain structure; its atoms if none are counted."""
        counted = [self._valence(element) for element in structure["species"]]
        known = [each for each in counted if each is not None]
        return float(sum(known)) if len(known) == len(counted) else float(len(counted))

    def _valence(self, element: str) -> float | None:
        if element not in self._valences:
            self._valences[element] = self._engine.valence(element)
        return self._valences[element]


def measured(record: Calculation, size: float) -> Measured | None:
    """Return what a finished calculation took, or None where that is not known.

    One that went on from the geometry of its last attempt took the time of both.
    """
    chain = [each.times.get("wall") for each in _chain(record.attempts)]
    seconds = [float(each) for each in chain if each]
    if not seconds or len(seconds) < len(chain):
        return None
    used = record.used
    return Measured(
        size, int(used.get("cores") or 1), sum(seconds), float(used.get("memory") or 0.0)
    )


def measured_in(
    store: Store, sizes: Sizes, fingerprint: str, recipe: Mapping[str, Any]
) -> Iterator[Measured]:
    """Yield what calculations of one engine and recipe took, whichever campaign asked for them.

    Where there are very many, a sample of them.
    """
    done = store.finished_with(fingerprint, recipe, KEPT)
    structures = store.structures({each.structure for each in done})
    for record in sorted(done, key=lambda each: float(each.times.get("end", 0.0))):
        structure = structures.get(record.structure)
        found = measured(record, sizes.of(structure.structure)) if structure else None
        if found is not None:
            yield found


def _chain(attempts: Sequence[Attempt]) -> Iterator[Attempt]:
    """Yield the last attempt, and those before it from whose geometry it went on."""
    numbered = {each.number: each for each in attempts}
    attempt = attempts[-1] if attempts else None
    while attempt is not None:
        yield attempt
        begun = (attempt.continued_from or {}).get("attempt", 0)
        attempt = numbered.get(begun)
