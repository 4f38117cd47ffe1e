"""What a veto teaches the filter of duplicates: the vetoed structure, and what is much like it.

The model learns nothing of it: a person's taste is no energy.
"""

from __future__ import annotations

from collections.abc import Iterable

from pymatgen.analysis.structure_matcher import ElementComparator, StructureMatcher
from pymatgen.core import Structure

from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.store.records import StructureRecord
from leadline.tasks.structures import from_plain

LENGTHS, SITES, ANGLE = 0.2, 0.3, 5.0
"""StructureMatcher's own tolerances (fraction of a length; of the cube root of the volume per
atom; degrees): four times those by which a pool tells its candidates apart."""


class Vetoes:
    """Finds the candidates of a pool that are much like vetoed structures.

    Much alike is one crystal but for its volume, its moments, and strains and displacements
    within the tolerances above.

    Parameters
    ----------
    pool
        The pool.
    """

    def __init__(self, pool: PoolFile) -> None:
        self._pool = pool
        self._near: dict[str, frozenset[int]] = {}
        self._matcher = StructureMatcher(
            ltol=LENGTHS, stol=SITES, angle_tol=ANGLE, scale=True, comparator=ElementComparator()
        )

    def near(self, vetoed: Iterable[StructureRecord]) -> set[int]:
        """Return the rows of the near duplicates of structures, these themselves left out."""
        found: set[int] = set()
        for each in vetoed:
            if each.id not in self._near:
                self._near[each.id] = frozenset(self._like(each))
            found |= self._near[each.id]
        return found

    def _like(self, vetoed: StructureRecord) -> Iterable[int]:
        rows = (row for row, each in enumerate(self._pool.formulas) if each == vetoed.formula)
        others = [row for row in rows if self._pool.ids[row] != vetoed.id]
        asked = from_plain(vetoed.structure)
        candidates = self._pool.some([self._pool.ids[row] for row in others])
        for row, candidate in zip(others, candidates, strict=True):
            material = candidate.material
            if isinstance(material, Structure) and self._matcher.fit(asked, material):
                yield row
