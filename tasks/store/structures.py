"""Structures, and how they are related."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mongoengine.errors import NotUniqueError

from leadline.tasks.errors import StoreError
from leadline.tasks.store.base import StoreBase
from leadline.tasks.store.records import StructureRecord


class StructureRecords(StoreBase):
    """The structures of a store, shared by its campaigns."""

    def put_structures(self, structures: Sequence[StructureRecord]) -> int:
        """Store those that are not there yet, and return how many these were."""
        with self.step():
            known = self.structures(each.id for each in structures)
            return sum(self._put(each) for each in structures if each.id not in known)

    def structure(self, id: str) -> StructureRecord | None:
        """Return a structure, or None."""
        return self._one(self._documents.structures, StructureRecord, id)

    def structures(self, ids: Iterable[str]) -> dict[str, StructureRecord]:
        """Return by id those of the structures that are there."""
        query = {"pk__in": list(ids)}
        found = self._find(self._documents.structures, StructureRecord, **query)
        return {each.id: each for each in found}

    def structures_of(
        self,
        *,
        chemical_system: str | None = None,
        formula: str | None = None,
        sites: int | None = None,
    ) -> list[StructureRecord]:
        """Return the structures of a chemical system, formula or number of sites, or all."""
        asked = {"chemical_system": chemical_system, "formula": formula, "sites": sites}
        query = {name: value for name, value in asked.items() if value is not None}
        return self._find(self._documents.structures, StructureRecord, **query)

    def relate(
        self,
        id: str,
        *,
        same_as: str | None = None,
        relaxed_to: str | None = None,
        left_prototype: str | None = None,
    ) -> None:
        """Say what a structure is the same as, relaxed to, or why it left its prototype.

        Raises
        ------
        StoreError
            If the structure is not there.
        """
        said = {"same_as": same_as, "relaxed_to": relaxed_to, "left_prototype": left_prototype}
        fields = {name: value for name, value in said.items() if value is not None}
        if not self._set(self._documents.structures, {"pk": id}, fields):
            raise StoreError(
                f"there is no structure {id} in {self._connection.location}; store it first"
            )

    def _put(self, structure: StructureRecord) -> bool:
        try:
            self._insert(self._documents.structures, structure)
        except NotUniqueError:  # another process, or twice in one list
            return False
        return True
