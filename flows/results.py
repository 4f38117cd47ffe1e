"""What a campaign has come to, for Python: pymatgen entries and a pandas table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from leadline.flows.exporting import export_rows
from leadline.flows.store_of import open_for
from leadline.tasks.export import ExportRow
from leadline.tasks.structures import from_plain
from leadline.tasks.viewing import CampaignReader

if TYPE_CHECKING:
    import pandas
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    from leadline.flows.spec import StoreSpec

COLUMNS = (
    "structure", "formula", "sites", "round", "energy", "formation_energy", "energy_above_hull",
    "calculation", "engine", "recipe", "fingerprint",
)  # fmt: skip
"""Columns that each table has, before those of the recipe's properties."""


@dataclass(frozen=True)
class CampaignResult:
    """All finished calculations of a campaign, as the store had them when it was asked.

    Parameters
    ----------
    name, state, reason
        The campaign, its state as a word, and why it is in it.
    rows
        The finished calculations, as ``leadline export`` writes them.
    """

    name: str
    state: str
    reason: str
    rows: Sequence[ExportRow]

    @cached_property
    def entries(self) -> list[ComputedStructureEntry]:
        """Entries for pymatgen's phase diagrams: final structures, total energies in eV."""
        # Its package takes over a second to import, and who wants the table needs no entry.
        from pymatgen.entries.computed_entries import ComputedStructureEntry

        return [
            ComputedStructureEntry(
                from_plain(row.structure_at_end),
                row.energy,
                entry_id=row.structure,
                data={"calculation": row.calculation, "fingerprint": row.fingerprint},
            )
            for row in self.rows
        ]

    @cached_property
    def table(self) -> pandas.DataFrame:
        """One row a calculation, indexed by structure: energies in eV/atom, then its properties."""
        import pandas

        properties = sorted({name for row in self.rows for name in row.properties})
        columns = [*COLUMNS, *(name for name in properties if name not in COLUMNS)]
        rows = [{**row.properties, **_own(row)} for row in self.rows]
        return pandas.DataFrame(rows, columns=columns).set_index("structure")


def campaign_result(name: str, store: StoreSpec | None = None) -> CampaignResult:
    """Read from the store what a campaign has come to so far.

    Parameters
    ----------
    name
        The campaign.
    store
        The section of its spec, where it names a database of its own.

    Raises
    ------
    InputError
        If the store of this process holds no campaign of that name.
    StoreError
        If there is no store, or it cannot be read.
    """
    with open_for(store, write=False) as opened:
        reader = CampaignReader.of(opened, name)
        campaign = reader.campaign
        return CampaignResult(name, str(campaign.state), campaign.reason, export_rows(reader))


def _own(row: ExportRow) -> dict[str, Any]:
    """Return what COLUMNS name of a calculation; energies in eV/atom."""
    sites = len(row.initial["species"])
    values = {name: getattr(row, name, None) for name in COLUMNS}
    return values | {"sites": sites, "energy": row.energy / sites}
