"""The mongoengine documents: how records lie in a collection. Nothing else sees them.

What a record is looked up or compared by is a field of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from mongoengine import DateTimeField, Document, EnumField, IntField, StringField

from leadline.tasks.store import records
from leadline.tasks.store.fields import (
    ArtefactField,
    ArtefactsField,
    AttemptsField,
    FiniteField,
    JsonField,
    TupleField,
)

Record = TypeVar("Record")


class CampaignDocument(Document):
    """A campaign, by its name."""

    meta: ClassVar = {"abstract": True}
    name = StringField(primary_key=True)
    spec = JsonField()
    versions = TupleField()
    in_flight = JsonField()
    state = EnumField(records.CampaignState)
    reason = StringField()
    packages = JsonField()
    server = StringField()
    owner = StringField()
    heartbeat = DateTimeField()
    created = DateTimeField()


class StructureDocument(Document):
    """A structure, by its id."""

    meta: ClassVar = {"abstract": True, "indexes": ["formula", "chemical_system"]}
    id = StringField(primary_key=True)
    structure = JsonField()
    formula = StringField()
    chemical_system = StringField()
    sites = IntField()
    space_group = StringField()
    provenance = JsonField()
    same_as = StringField()
    relaxed_to = StringField()
    left_prototype = StringField()


class ProposalDocument(Document):
    """A pick, by campaign, round and rank."""

    meta: ClassVar = {"abstract": True, "indexes": ["structure"]}
    id = StringField(primary_key=True)
    campaign = StringField()
    round = IntField()
    rank = IntField()
    structure = StringField()
    why = JsonField()
    state = EnumField(records.ProposalState)
    calculation = StringField()
    verdict = JsonField()


class CalculationDocument(Document):
    """A calculation, by its id."""

    meta: ClassVar = {"abstract": True, "indexes": ["state", "structure"]}
    id = StringField(primary_key=True)
    structure = StringField()
    engine = JsonField()
    recipe = JsonField()
    fingerprint = StringField()
    check = IntField()
    state = EnumField(records.CalculationState)
    tries = IntField(default=0)
    """Number of attempts: a change is compared-and-set on it and the state."""
    attempts = AttemptsField()
    campaign = StringField()
    energy = FiniteField()
    final_structure = JsonField()
    forces = TupleField()
    stress = TupleField()
    properties = JsonField()
    moments = TupleField()
    steps = IntField()
    times = JsonField()
    used = JsonField()
    versions = JsonField()
    failure = JsonField()
    source = StringField()
    artefacts = ArtefactsField()
    remedy = JsonField()
    remedy_of = StringField()
    told = JsonField()


class LeaseDocument(Document):
    """Who runs an attempt, by calculation and attempt: the insert is the claim."""

    meta: ClassVar = {"abstract": True}
    id = StringField(primary_key=True)
    owner = StringField()
    since = DateTimeField()


class SurrogateDocument(Document):
    """The model of a round, by campaign and round."""

    meta: ClassVar = {"abstract": True}
    id = StringField(primary_key=True)
    campaign = StringField()
    round = IntField()
    hyperparameters = JsonField()
    training_digest = StringField()
    training_size = IntField()
    calibration = JsonField()
    notes = TupleField()
    checkpoint = ArtefactField()


class RoundDocument(Document):
    """A round, by campaign and number."""

    meta: ClassVar = {"abstract": True}
    id = StringField(primary_key=True)
    campaign = StringField()
    number = IntField()
    counts = JsonField()
    metrics = JsonField()
    hull = TupleField()
    ledger = JsonField()
    verdict = JsonField()
    predictions = ArtefactField()
    state = StringField()
    created = DateTimeField()


class EventDocument(Document):
    """A line of the log, by campaign, time and sequence."""

    meta: ClassVar = {"abstract": True, "indexes": ["subject"]}
    id = StringField(primary_key=True)
    campaign = StringField()
    time = DateTimeField()
    sequence = IntField()
    kind = StringField()
    subject = StringField()
    details = JsonField()


class MessageDocument(Document):
    """A line of the inbox, by campaign, time, sequence and token."""

    # No index: a process that reads may append here, and keeps no index up.
    meta: ClassVar = {"abstract": True}
    id = StringField(primary_key=True)
    campaign = StringField()
    kind = StringField()
    payload = JsonField()
    sent = DateTimeField()
    sender = StringField()


@dataclass(frozen=True)
class Documents:
    """The document classes of one open store."""

    campaigns: Any
    structures: Any
    proposals: Any
    calculations: Any
    leases: Any
    surrogates: Any
    rounds: Any
    events: Any
    inbox: Any


_CLASSES = {
    "campaigns": CampaignDocument,
    "structures": StructureDocument,
    "proposals": ProposalDocument,
    "calculations": CalculationDocument,
    "leases": LeaseDocument,
    "surrogates": SurrogateDocument,
    "rounds": RoundDocument,
    "events": EventDocument,
    "inbox": MessageDocument,
}


def documents(alias: str, *, write: bool) -> Documents:
    """Return document classes bound to the connection ``alias``; indexes are made if ``write``."""
    bound: dict[str, Any] = {
        name: type(
            base.__name__,
            (base,),
            {"meta": {"db_alias": alias, "collection": name, "auto_create_index": False}},
        )
        for name, base in _CLASSES.items()
    }
    if write:
        for document in bound.values():
            document.ensure_indexes()
    return Documents(**bound)


def values_of(record: Any) -> dict[str, Any]:
    """Return the fields of a record, for a document."""
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def stored_form(document: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a record as they lie in the database."""
    known = {name: document._fields[name] for name in fields}
    return {
        field.db_field: None if fields[name] is None else field.to_mongo(fields[name])
        for name, field in known.items()
    }


def record_of(kind: type[Record], document: Any, raw: Mapping[str, Any]) -> Record:
    """Rebuild a record from what the database gave.

    Fields that an earlier leadline did not write take their defaults.
    """
    values = {}
    for name in (f.name for f in dataclasses.fields(kind)):  # type: ignore[arg-type]
        field = document._fields[name]
        if raw.get(field.db_field) is not None:
            values[name] = field.to_python(raw[field.db_field])
    return kind(**values)
