"""Results at hand become records: by `leadline import`, or by ``start.known`` in the file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from leadline.flows.bench import Parts, parts_of
from leadline.flows.spec import CampaignSpec, KnownSpec
from leadline.flows.spec_changes import enrol
from leadline.flows.store_of import open_for, store_folder
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.known import check_fingerprint, read_known, store_known
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.store import Store

IMPORTED = "results.imported"
"""Event that names the structures of an import; the next run takes them in."""


def import_results(spec: CampaignSpec, path: Path, fingerprint: str, energy_key: str) -> str:
    """Import a file for a campaign, created if it is new, and say what came of it."""
    parts = parts_of(spec)
    check_fingerprint(fingerprint, parts.engine)
    file = parts.built(store_folder())
    with open_for(spec.store) as store:
        enrol(store, spec, parts.engine, parts.recipe)
        known = KnownSpec(path=str(path), energy_key=energy_key, fingerprint=fingerprint)
        return import_file(store, parts, file, known)


def import_file(store: Store, parts: Parts, file: PoolFile, known: KnownSpec) -> str:
    """Store the results of one file, once, and return what came of it in words."""
    check_fingerprint(known.fingerprint, parts.engine)
    name, path = parts.spec.name, Path(known.path)
    found = read_known(path, known.energy_key, file, parts.checks, scale=parts.recipe.relaxes_cell)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    dropped = f"; dropped: {found.drops.words()}" if found.drops.counts else ""
    if any(each.subject == digest for each in store.events(name) if each.kind == IMPORTED):
        return f"{path.name} was imported before; nothing was changed"
    structures = store_known(
        store, found.results, parts.engine, parts.recipe, campaign=name, owner=this_process()
    )
    in_pool = sum(each in file.rows for each in structures)
    store.log(name, IMPORTED, digest, {"structures": structures, "drops": dict(found.drops.counts)})
    return (
        f"Imported {counted(len(structures), 'result')} from {path.name}, {in_pool} of them "
        f"candidates of the pool{dropped}"
    )


def imported_structures(store: Store, name: str) -> list[str]:
    """Return the structures of all imports of a campaign, in order."""
    return [
        str(structure)
        for each in store.events(name)
        if each.kind == IMPORTED
        for structure in each.details["structures"]
    ]
