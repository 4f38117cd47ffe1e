"""One calculation as plain data: what is asked, what came back, why it failed.

These travel as JSON between driver, worker and the shared folder, so they hold
plain values alone. The worker imports this module: keep it light.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA = 1


class FailureKind(StrEnum):
    """Whose fault it is, which decides what happens next."""

    PHYSICS = "physics"
    """SCF, ionic steps, symmetry: climb the remedies, then quarantine and learn from it."""
    REMOTE = "remote"
    """Worker, node, walltime, queue: run again as it was; never the structure's fault."""
    CONFIGURATION = "configuration"
    """Binary, pseudopotential, keyword: stop the campaign with the engine's own words."""
    CANCELLED = "cancelled"
    """A person or a stop mark asked for it; counts against nothing."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt did not give a result.

    Parameters
    ----------
    kind
        Whose fault it is.
    reason
        Short stable name, e.g. ``scf-not-converged``, ``worker-lost``.
    message
        The engine's own words, or what was seen; shown to people.
    advice
        Settings with which the engine would try again, where only the files of
        the failed run tell which; the engine's ``remedies`` decide about them.
    """

    kind: FailureKind
    reason: str
    message: str
    advice: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return JSON values; advice only where there is some."""
        words = {"kind": str(self.kind), "reason": self.reason, "message": self.message}
        return words | ({"advice": dict(self.advice)} if self.advice else {})

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Failure:
        """Rebuild from :meth:`to_plain`."""
        return cls(**{**plain, "kind": FailureKind(plain["kind"])})


@dataclass(frozen=True)
class Request:
    """What a worker is asked to compute: JSON values alone.

    Parameters
    ----------
    calculation, attempt
        Id of the calculation, and the number of this attempt (from 1).
    structure_id, structure
        Id and plain form (``tasks/structures.py``) of the structure.
    engine
        ``{"name", "settings", "changes"}``; changes are the path keys that a
        remedy sets for this attempt alone.
    recipe
        ``{"name", "settings"}``.
    site
        What the machine profile says of this engine: command, folders, ranks.
    prerelax_site
        The same of the cheap engine that the recipe relaxes with first, if it does.
    folder
        Folder of the calculation, on a disk that driver and worker share.
    gone
        Numbers of the attempts that are proved gone.
    since
        Number of the first attempt whose geometries this one may go on from; where it
        is not the first of all, no cheap engine relaxes either.
    expected
        Least and largest energy that bonds explain, eV/atom; None where nothing
        is known of the elements yet.
    time_limit
        Seconds after which the engine is ended, or None.
    limited_by
        Reason of the failure then: ``time-limit``, or ``walltime`` where a batch
        job has less time left than a calculation may take.
    keep
        Which raw files stay: ``all``, ``failed`` or ``none``.
    asked
        What the batch job around it asked for, for the record.
    """

    calculation: str
    attempt: int
    structure_id: str
    structure: Mapping[str, Any]
    engine: Mapping[str, Any]
    recipe: Mapping[str, Any]
    site: Mapping[str, Any]
    folder: str
    gone: tuple[int, ...] = ()
    since: int = 1
    expected: tuple[float, float] | None = None
    time_limit: float | None = None
    limited_by: str = "time-limit"
    keep: str = "failed"
    asked: Mapping[str, float] = field(default_factory=dict)
    prerelax_site: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prerelaxer(self) -> str | None:
        """Name of the cheap engine that relaxes first, or None."""
        asked = self.recipe["settings"].get("prerelax")
        return None if asked is None else str(asked["engine"]["name"])

    def to_plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Request:
        """Rebuild from :meth:`to_plain`."""
        return cls(**{**plain, "gone": tuple(plain["gone"])})


@dataclass(frozen=True)
class Result:
    """What an attempt gave: numbers with their units, or a failure.

    Parameters
    ----------
    calculation, attempt
        Whose result it is.
    converged
        True only if the engine and the recipe both say so.
    energy
        Total energy of the cell in eV (free of extrapolation where the engine
        gives both), or None.
    structure
        The structure at the end, plain form, or None.
    forces, stress
        eV/Å [n][3]; eV/Å^3 in Voigt order [6]; or None where not computed.
    properties
        Named finite numbers in the units of the recipe's schema.
    moments
        μB of each site at the end, or None where not computed.
    steps
        Ionic steps taken.
    times
        Seconds: ``wall``, ``cpu``, and UNIX times ``start`` and ``end``.
    versions
        Code and its version, and the packages on the way.
    where
        ``host`` and ``pid`` of the worker, ``job`` around it and the ``queue`` that has it.
    failure
        Why there is no answer, or None.
    files
        Names of raw files kept in the attempt's folder.
    used
        ``memory``, bytes at the peak, of the engine and all that it started on its
        host, and ``cores``, which it had to itself.
    continued_from
        ``attempt`` and ``step`` whose geometry this attempt began with, or None
        where it began at the start.
    asked
        What the request said of its batch job.
    prerelaxed
        How a cheap engine relaxed the structure before, or None where none did:
        ``engine``, ``attempt`` that it did it for, ``end`` (``converged``,
        ``unfinished`` or ``dropped``) and ``why``, ``steps``, ``seconds`` and, of the
        best geometry, ``largest_force`` (eV/Å) and ``volume_change`` (fraction).
    """

    calculation: str
    attempt: int
    converged: bool
    energy: float | None = None
    structure: Mapping[str, Any] | None = None
    forces: list[list[float]] | None = None
    stress: list[float] | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    moments: list[float] | None = None
    steps: int = 0
    times: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    files: tuple[str, ...] = ()
    used: Mapping[str, float] = field(default_factory=dict)
    continued_from: Mapping[str, int] | None = None
    asked: Mapping[str, float] = field(default_factory=dict)
    prerelaxed: Mapping[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """True if this is an answer: converged, with numbers, and no failure."""
        answered = self.energy is not None or bool(self.properties)
        return self.converged and answered and self.failure is None

    def to_json(self) -> str:
        """Return the content of ``result.json``, its checksum included."""
        body = asdict(self) | {"schema": SCHEMA}
        return json.dumps(body | {"checksum": _checksum(body)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Rebuild from :meth:`to_json`.

        Raises
        ------
        ValueError
            If the text is cut short, changed, or of another schema.
        """
        body = json.loads(text)
        if not isinstance(body, dict) or body.pop("checksum", None) != _checksum(body):
            raise ValueError("the checksum of result.json does not hold")
        if body.pop("schema") != SCHEMA:
            raise ValueError(f"result.json is not of schema {SCHEMA}")
        failure = body.pop("failure")
        return cls(
            **{**body, "files": tuple(body["files"])},
            failure=failure and Failure.from_plain(failure),
        )


def calculation_id(structure_id: str, recipe_id: str, fingerprint: str, check: int = 0) -> str:
    """Return the id of a calculation: sha256 of what decides its answer.

    ``check`` is 0; another number computes the same thing once more on purpose.
    """
    content = json.dumps([structure_id, recipe_id, fingerprint, check])
    return hashlib.sha256(content.encode()).hexdigest()


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
