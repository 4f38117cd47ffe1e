"""`leadline export`: the finished calculations of a campaign for other programs."""

from __future__ import annotations

import math
from pathlib import Path

from leadline.flows.store_of import open_for
from leadline.tasks.errors import InputError
from leadline.tasks.export import ExportRow, export_campaign
from leadline.tasks.report.formatting import counted
from leadline.tasks.viewing import CampaignReader

SUFFIXES = {"extxyz": ".extxyz", "ase-db": ".db", "cif": "", "json": ".json"}


def export(name: str, format_: str, out: Path | None, *, force: bool) -> str:
    """Write a campaign's answers and say where; what is there is replaced by ``force`` alone.

    Raises
    ------
    InputError
        If there is nothing to write, or the file is there already.
    WriteError
        If the disk or the folder does not take it; an earlier file stays as it is.
    """
    path = out or Path(f"{name}{SUFFIXES.get(format_, '')}")
    if path.is_file() and not force:
        raise InputError(
            f"{path} is there already; --force replaces it, --out PATH writes another file"
        )
    with open_for(write=False) as store:
        rows = export_rows(CampaignReader.of(store, name))
    written = export_campaign(rows, format_, path)
    return f"Wrote {counted(written, 'calculation')} to {path}"


def export_rows(reader: CampaignReader) -> list[ExportRow]:
    """Return the finished calculations of a campaign, in the order of its answers."""
    book, assessment = reader.book, reader.assessment
    hull = bool(assessment.above_hull)
    rows = []
    for each in book.answers:
        if math.isnan(each.energy):
            continue
        record, asked = book.calculations[each.calculation], book.structures[each.structure]
        rows.append(
            ExportRow(
                structure=each.structure,
                calculation=each.calculation,
                formula=each.formula,
                initial=asked.structure,
                final=each.final,
                energy=each.energy * asked.sites,
                forces=record.forces,
                stress=record.stress,
                formation_energy=assessment.values.get(each.structure) if hull else None,
                energy_above_hull=assessment.above_hull.get(each.structure),
                properties=record.properties,
                engine=str(record.engine["name"]),
                fingerprint=record.fingerprint,
                recipe=str(record.recipe["name"]),
                round=reader.round_of.get(each.structure),
                provenance=asked.provenance,
                changed=each.changed,
            )
        )
    return rows
