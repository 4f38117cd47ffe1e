"""The records of a campaign as frozen dataclasses: what the rest of the code sees.

Ids are strings that mean something and make a second insert impossible. Dates
are aware datetimes in UTC. Floats are finite: what is not is None, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class CampaignState(StrEnum):
    """What a campaign does now."""

    NEW = "new"
    RUNNING = "running"
    RESTING = "resting"
    """A run ended by its own limit, by Ctrl-C or by death: the next run carries on."""
    STOPPED = "stopped"
    """A stop rule answered."""
    CANCELLED = "cancelled"
    """A person ended its run and what it computed: the next run carries on."""
    FAILED = "failed"
    """A configuration error ended it; the next run tries again."""


class CalculationState(StrEnum):
    """Where a calculation stands; changed by compare-and-set alone."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CUT = "cut"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


class ProposalState(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    VETOED = "vetoed"
    LINKED = "linked"


@dataclass(frozen=True)
class ArtefactRef:
    """A content-addressed file: referenced only once it is in place."""

    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True)
class Campaign:
    """A campaign: its name is its id."""

    name: str
    spec: Mapping[str, Any]
    """The spec in force, plain JSON values."""
    versions: tuple[Mapping[str, Any], ...] = ()
    """Earlier specs: {"version", "spec", "until", "reason"}, and {"by", "why", "how"} where it
    was changed by a message."""
    in_flight: Mapping[str, Any] = field(default_factory=dict)
    """What was set in flight and still holds, by key: {"value", "file", "by", "at", "why"};
    ``file`` is what the campaign file said."""
    state: CampaignState = CampaignState.NEW
    reason: str = ""
    """Why it is in this state, in plain language."""
    packages: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    """Kind of store: embedded, or the server and its version."""
    owner: str | None = None
    """Who holds the campaign's lease: host, pid and a token."""
    heartbeat: datetime | None = None
    created: datetime | None = None


@dataclass(frozen=True)
class StructureRecord:
    """A structure that was proposed or computed."""

    id: str
    structure: Mapping[str, Any]
    """Plain form, see tasks/structures.py."""
    formula: str
    chemical_system: str
    sites: int
    space_group: str
    provenance: Mapping[str, Any]
    same_as: str | None = None
    relaxed_to: str | None = None
    left_prototype: str | None = None
    """Reason why its label is no evidence about its input, or None."""


@dataclass(frozen=True)
class Proposal:
    """One pick of one round with its "why this one"; id is campaign:round:rank."""

    campaign: str
    round: int
    rank: int
    structure: str
    why: Mapping[str, Any]
    """Plain form of ``leadline.surrogate.explain.Why``."""
    state: ProposalState = ProposalState.PROPOSED
    calculation: str | None = None
    verdict: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Attempt:
    """One try at a calculation."""

    number: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Path keys that were set for this attempt, and why it was made."""
    reason: str = ""
    owner: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    started: datetime | None = None
    ended: datetime | None = None
    state: str = "claimed"
    failure: Mapping[str, Any] | None = None
    times: Mapping[str, float] = field(default_factory=dict)
    continued_from: Mapping[str, int] | None = None
    """``attempt`` and ``step`` whose geometry it began with; None at the start."""
    asked: Mapping[str, float] = field(default_factory=dict)
    """What its batch job asked for (``right_sizing.Need.asked``); empty where it had none."""
    used: Mapping[str, float] = field(default_factory=dict)
    """``memory`` at the peak, bytes, and ``cores``, where known."""
    prerelaxed: Mapping[str, Any] | None = None
    """How a cheap engine relaxed the start, as in ``Result``; None where none did."""


@dataclass(frozen=True)
class Calculation:
    """A calculation: shared by every campaign that asks for the same thing."""

    id: str
    structure: str
    engine: Mapping[str, Any]
    recipe: Mapping[str, Any]
    fingerprint: str
    check: int = 0
    state: CalculationState = CalculationState.QUEUED
    attempts: tuple[Attempt, ...] = ()
    energy: float | None = None
    """Total energy of the cell, eV."""
    final_structure: Mapping[str, Any] | None = None
    forces: tuple[tuple[float, ...], ...] | None = None
    stress: tuple[float, ...] | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    moments: tuple[float, ...] | None = None
    """μB of each site at the end."""
    steps: int = 0
    times: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    """``memory`` at the peak, bytes, and ``cores``; empty in records of before."""
    versions: Mapping[str, str] = field(default_factory=dict)
    failure: Mapping[str, Any] | None = None
    source: str = "computed"
    """``computed``, or ``imported`` with its file in the provenance of the structure."""
    campaign: str = ""
    """Which campaign's driver asked for it last; others may share it."""
    artefacts: Mapping[str, ArtefactRef] = field(default_factory=dict)
    remedy: Mapping[str, Any] | None = None
    """What the engine named when it was set aside, as another calculation: ``changes``, ``why``,
    ``fingerprint`` and ``calculation``; see ``tasks/remedies.py``."""
    remedy_of: str | None = None
    """Calculation in quarantine that it was queued for with changed physics, or None."""
    told: Mapping[str, Any] | None = field(default=None, compare=False)
    """The event of its last change, which a driver may have died before it logged."""


@dataclass(frozen=True)
class SurrogateRecord:
    """The model of one round; id is campaign:round."""

    campaign: str
    round: int
    hyperparameters: Mapping[str, Any]
    training_digest: str
    training_size: int
    calibration: Mapping[str, float | None]
    notes: tuple[str, ...] = ()
    checkpoint: ArtefactRef | None = None


@dataclass(frozen=True)
class Round:
    """One round: its insert commits the proposals of the round; id is campaign:number.

    Round 0 holds the references (elements), which count against no budget.
    """

    campaign: str
    number: int
    counts: Mapping[str, int]
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    hull: tuple[Mapping[str, Any], ...] = ()
    ledger: Mapping[str, float] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    predictions: ArtefactRef | None = None
    """npz of the pool as predicted before this round: ids, mean, sd, hull distance, P(stable)."""
    state: str = "open"
    """``open`` until all its calculations have ended and were assessed, then ``assessed``."""
    created: datetime | None = None


@dataclass(frozen=True)
class Event:
    """One line of the append-only log; id is campaign:time:sequence."""

    campaign: str
    time: datetime
    sequence: int
    kind: str
    """Stable vocabulary, e.g. ``calculation.done``, ``campaign.stopped``."""
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """What another process asks of the holder of a store; id is campaign:time:sequence:token."""

    id: str
    campaign: str
    kind: str
    """Stable vocabulary, e.g. ``verdict``, ``stop``, ``setting``."""
    payload: Mapping[str, Any]
    sent: datetime
    sender: str
    """Owner string of the process that sent it."""
