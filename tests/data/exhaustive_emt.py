"""Every fcc ordering of Cu and Au up to 8 atoms, relaxed: the answer that the demo looks for.

Run it to write ``exhaustive_emt.json`` beside it again; five minutes of one core:

    python tests/data/exhaustive_emt.py
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.hull import energies_above_hull
from leadline.surrogate.reference import formation_energies
from leadline.tasks.calculation import Request
from leadline.tasks.candidates.table import source
from leadline.tasks.crystals import Crystals
from leadline.tasks.engines.compute import compute
from leadline.tasks.structures import from_plain, to_plain

ELEMENTS = ("Cu", "Au")
SOURCE = {"lattice": "fcc", "elements": list(ELEMENTS), "max_atoms": 8}
RECIPE = {"name": "relax", "settings": {"fmax": 0.02}}
TARGET = Path(__file__).with_suffix(".json")


def candidates() -> list[Candidate]:
    return list(source("orderings", SOURCE, Path.cwd()).generate(np.random.default_rng(0)))


def crystal(candidate: Candidate) -> Structure:
    assert isinstance(candidate.material, Structure)
    return candidate.material


def relaxed(candidate: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compute one ordering as a worker does, and return its energy and final structure."""
    id_, structure = candidate
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            calculation=id_,
            attempt=1,
            structure_id=id_,
            structure=structure,
            engine={"name": "emt", "settings": {}},
            recipe=RECIPE,
            site={},
            folder=folder,
            keep="none",
        )
        result = compute(request, Path(folder))
    if not result.complete or result.energy is None or result.structure is None:
        raise RuntimeError(f"{id_}: {result.failure}")
    return {"energy": result.energy, "structure": result.structure}


def answers() -> list[dict[str, Any]]:
    """Return each ordering with what it became; the lowest of equal crystals names the phase."""
    asked = candidates()
    work = [(each.id, to_plain(crystal(each))) for each in asked]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        results = list(pool.map(relaxed, work, chunksize=8))
    rows = [
        {
            "id": candidate.id,
            "formula": candidate.formula,
            "gold": candidate.composition.get_atomic_fraction("Au"),
            "energy": result["energy"] / len(crystal(candidate)),
            "final": from_plain(result["structure"]),
        }
        for candidate, result in zip(asked, results, strict=True)
    ]
    rows.sort(key=lambda row: row["energy"])
    finals = {row["id"]: row["final"] for row in rows}
    crystals = Crystals(scale=False, structure_at=finals.__getitem__)
    for row in rows:
        row["phase"] = crystals.find(row["final"]) or row["id"]
        if row["phase"] == row["id"]:
            crystals.keep(row["final"], row["id"])
    return with_hull(rows)


def with_hull(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    gold = np.array([row["gold"] for row in rows])
    fractions = np.stack([1 - gold, gold], axis=1)
    energies = np.array([row["energy"] for row in rows])
    references = np.array([energies[fractions[:, k] == 1].min() for k in range(2)])
    formation = formation_energies(energies, fractions, references)
    above = energies_above_hull(fractions, formation)
    for row, value, distance in zip(rows, formation, above, strict=True):
        row |= {"formation_energy": float(value), "energy_above_hull": max(float(distance), 0.0)}
    return rows


def written(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the file holds it: numbers to 1e-6 eV."""
    numbers = ("energy", "formation_energy", "energy_above_hull")
    kept = {name: row[name] for name in ("id", "formula", "phase")}
    return kept | {name: round(row[name], 6) + 0.0 for name in numbers}


if __name__ == "__main__":
    lines = [json.dumps(written(row)) for row in sorted(answers(), key=lambda row: row["id"])]
    TARGET.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
