"""Results that people already have, taken in under a declared fingerprint.

A result joins the candidate of the pool that it is the same crystal as, by the rule
that removes duplicates; else it is a structure of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.calculation import Result
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.dataset import label
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.candidates.readers import Unreadable, read_frames
from leadline.tasks.candidates.source import Drops
from leadline.tasks.crystals import Crystals
from leadline.tasks.engines.engine import Engine
from leadline.tasks.errors import CandidateError, InputError
from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.recording import calculation_of, structure_record
from leadline.tasks.store.records import CalculationState
from leadline.tasks.store.store import Store
from leadline.tasks.structures import structure_id, to_plain

SAME = "same"
"""Declares that results were computed with the campaign's own settings."""


@dataclass(frozen=True)
class KnownResult:
    """A result at hand: the final structure and its total energy in eV."""

    candidate: Candidate
    final: Structure
    energy: float


@dataclass
class KnownResults:
    """What a file of results gave.

    Parameters
    ----------
    results
        Those that can be used.
    drops
        Those that cannot, by reason.
    """

    results: list[KnownResult] = field(default_factory=list)
    drops: Drops = field(default_factory=Drops)


def read_known(
    path: Path, energy_key: str, pool: PoolFile, checks: Checks, *, scale: bool
) -> KnownResults:
    """Read results from extended XYZ or an ASE database, and match them with a pool.

    Parameters
    ----------
    path
        The file; compressed or not.
    energy_key
        Info key of the total energy of the cell in eV.
    pool, checks
        Candidates that the results may answer, and what a structure must be.
    scale
        Whether cells that differ in volume alone are the same candidate.

    Raises
    ------
    CandidateError
        If the file is not there, of another format, or holds no usable result.
    """
    if not path.is_file():
        raise CandidateError(f"start.known.path: {path} is no file")
    found = KnownResults()
    twins = _Twins(pool, scale)
    for structure, energy in _usable(path, energy_key, checks, found.drops):
        candidate = twins.of(structure) or _own(structure, path)
        found.results.append(KnownResult(candidate, structure, energy))
    if not found.results:
        raise CandidateError(
            f"start.known.path: {path.name} holds no usable result: "
            + (found.drops.words() or "it is empty")
        )
    return found


def check_fingerprint(declared: str, engine: Engine) -> None:
    """Refuse results of other settings, which would not stand on one hull.

    Raises
    ------
    InputError
        Unless ``same`` or the engine's own fingerprint (12 digits or more) is declared.
    """
    own = engine.fingerprint()
    if declared == SAME or (len(declared) >= 12 and own.startswith(declared)):
        return
    raise InputError(
        f"start.known.fingerprint: is {declared!r}, this campaign's engine has {own}; results "
        f"of other settings do not mix. Declare {SAME!r} only if they were computed with these"
    )


def store_known(
    store: Store,
    results: list[KnownResult],
    engine: Engine,
    recipe: Recipe,
    *,
    campaign: str,
    owner: str,
) -> list[str]:
    """Store results as finished calculations; what is there already stays as it is.

    Returns
    -------
    list of str
        Structure ids, of the results in their order, each once.
    """
    fingerprint = engine.fingerprint()
    for each in results:
        wanted = calculation_of(each.candidate.id, engine, recipe, fingerprint, campaign)
        with store.step():
            store.put_structures([structure_record(each.candidate)])
            (record,) = store.ensure_calculations([wanted])
            if record.state is not CalculationState.QUEUED:
                continue
            attempt = store.claim(record.id, owner, reason="imported", campaign=campaign)
            if attempt is not None:
                store.finish(record.id, attempt.number, _result(record.id, attempt.number, each))
    return list(dict.fromkeys(each.candidate.id for each in results))


def _result(calculation: str, attempt: int, known: KnownResult) -> Result:
    return Result(
        calculation=calculation,
        attempt=attempt,
        converged=True,
        energy=known.energy,
        structure=to_plain(known.final),
        properties={"energy_per_atom": known.energy / len(known.final)},
        versions={"imported": "1"},
    )


def _usable(
    path: Path, energy_key: str, checks: Checks, drops: Drops
) -> Iterator[tuple[Structure, float]]:
    for number, frame in enumerate(read_frames(path)):
        if isinstance(frame, Unreadable):
            drops.add(frame.reason, str(frame))
            continue
        structure, info = frame
        energy = label(info, energy_key)
        if energy is None or not math.isfinite(energy):
            drops.add("no finite energy", f"{path.name}, frame {number}: no {energy_key!r}")
        elif problem := checks.problem(structure):
            drops.add(*problem)
        else:
            yield structure, energy


def _own(structure: Structure, path: Path) -> Candidate:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    provenance = {"source": "known", "file": path.name, "sha256": sha256}
    return Candidate(structure_id(structure), structure, provenance)


class _Twins:
    """Finds the candidate of a pool that a structure is the same crystal as."""

    def __init__(self, pool: PoolFile, scale: bool) -> None:
        self._candidates = {each.id: each for each in pool.candidates()}
        self._crystals = Crystals(scale, self._structure)
        for id_ in self._candidates:
            self._crystals.keep(self._structure(id_), id_)

    def of(self, structure: Structure) -> Candidate | None:
        id_ = self._crystals.find(structure)
        return None if id_ is None else self._candidates[id_]

    def _structure(self, id_: str) -> Structure:
        material = self._candidates[id_].material
        assert isinstance(material, Structure)
        return material
