"""Records of one campaign for tests of stores, with maps that no server likes as keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.store.records import Calculation, Proposal, StructureRecord
from leadline.tasks.store.store import Store

AWKWARD = {"a.b": {"$set": 1}, "": None, "ångström": [1, [2.5, {"x.y": "z"}]]}


def structure(id: str, **fields: Any) -> StructureRecord:
    plain = {"lattice": [[4.0, 0.0, 0.0]], "species": ["Cu"], "coords": [[0.0, 0.0, 0.0]]}
    record = StructureRecord(id, plain, "Cu", "Cu", 1, "Fm-3m", {"source": "files", **AWKWARD})
    return replace(record, **fields)


def calculation(id: str, **fields: Any) -> Calculation:
    record = Calculation(id, "s1", {"name": "emt"}, {"name": "relax"}, "f1", campaign="cu-au")
    return replace(record, **fields)


def result(id: str, attempt: int = 1, **fields: Any) -> Result:
    given = Result(
        id,
        attempt,
        True,
        energy=-3.72,
        structure={"lattice": [[1.0]]},
        forces=[[0.0, 0.1, -1e-9]],
        stress=[0.1] * 6,
        properties={"volume": 11.8},
        steps=3,
        times={"wall": 2.5},
        versions={"ase": "3.26"},
        where={"host": "node1", "pid": 12},
    )
    return replace(given, **fields)


WORKER_LOST = Failure(FailureKind.REMOTE, "worker-lost", "the worker went away")


def proposal(round: int, rank: int) -> Proposal:
    return Proposal("cu-au", round, rank, f"s{rank}", {"mean": -0.1, "words": "ö", **AWKWARD})


def kinds(store: Store) -> list[str]:
    return [event.kind for event in store.events("cu-au")]
