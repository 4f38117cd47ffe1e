"""Equivalent structures: what another campaign computed is not computed again."""

from __future__ import annotations

from collections.abc import Container

from pymatgen.core import Structure

from leadline.tasks.crystals import Crystals
from leadline.tasks.store.records import StructureRecord
from leadline.tasks.store.store import Store
from leadline.tasks.structures import from_plain


def twin(
    store: Store, asked: StructureRecord, own: Container[str], *, scale: bool
) -> StructureRecord | None:
    """Return a stored structure that is the same crystal as the one asked for, or None.

    Found by formula and number of sites, then by ``StructureMatcher``, moments as
    part of the species.

    Parameters
    ----------
    store, asked
        Where to look, and what for.
    own
        Ids of the campaign's own structures, which its pool keeps apart already.
    scale
        Whether volumes are made equal first: where the recipe relaxes the cell.
    """
    others = {
        each.id: each
        for each in store.structures_of(formula=asked.formula, sites=asked.sites)
        if each.id not in own and each.same_as is None
    }
    if not others:
        return None

    def structure_at(id_: str) -> Structure:
        return from_plain(others[id_].structure)

    crystals = Crystals(scale, structure_at)
    for id_ in others:
        crystals.keep(structure_at(id_), id_)
    found = crystals.find(from_plain(asked.structure))
    return None if found is None else others[found]
