"""The mongoengine documents: how records lie in a collection. Nothing else sees them.

Maps of free form are kept as JSON text, so that a key with a dot or a dollar
survives on every server; numbers that are not finite are refused. What a record
is looked up or compared by is a field of its own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mongoengine import DateTimeField, Document, EnumField, IntField, StringField
from mongoengine.base import BaseField
from mongoengine.fields import FloatField

from leadline.tasks.errors import StoreError
from leadline.tasks.store import records

Record = TypeVar("Record")


class JsonField(BaseField):
    """JSON values as text."""

    def to_mongo(self, value: Any) -> str | None:
        return None if value is None else to_json(value)

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def prepare_query_value(self, op: str, value: Any) -> str | None:
        return self.to_mongo(value)


class TupleField(JsonField):
    """A sequence of JSON values; sequences inside come back as tuples too."""

    def to_python(self, value: Any) -> Any:
        return _tuples(super().to_python(value))


class ArtefactField(JsonField):
    """A reference to an artefact."""

    def to_mongo(self, value: Any) -> str | None:
        return None if value is None else to_json(dataclasses.asdict(value))

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return records.ArtefactRef(**found) if isinstance(found, dict) else found


class ArtefactsField(JsonField):
    """References to artefacts by name."""

    def to_mongo(self, value: Any) -> str | None:
        return to_json({name: dataclasses.asdict(ref) for name, ref in value.items()})

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return {name: records.ArtefactRef(**ref) for name, ref in json.loads(value).items()}


class AttemptsField(BaseField):
    """The attempts of a calculation: dates as dates, maps as JSON text."""

    _maps = ("changes", "where", "failure", "times")

    def to_mongo(self, value: Iterable[records.Attempt]) -> list[dict[str, Any]]:
        return [self._plain(attempt) for attempt in value]

    def to_python(self, value: Any) -> tuple[records.Attempt, ...]:
        return tuple(
            each if isinstance(each, records.Attempt) else self._attempt(each) for each in value
        )

    def prepare_query_value(self, op: str, value: Any) -> list[dict[str, Any]]:
        return self.to_mongo(value)

    def _plain(self, attempt: records.Attempt) -> dict[str, Any]:
        fields = {f.name: getattr(attempt, f.name) for f in dataclasses.fields(attempt)}
        return fields | {name: to_json(fields[name]) for name in self._maps}

    def _attempt(self, plain: Mapping[str, Any]) -> records.Attempt:
        return records.Attempt(**plain | {name: json.loads(plain[name]) for name in self._maps})


class CampaignDocument(Document):
    meta = {"abstract": True}
    name = StringField(primary_key=True)
    spec = JsonField()
    versions = TupleField()
    state = EnumField(records.CampaignState)
    reason = StringField()
    packages = JsonField()
    server = StringField()
    owner = StringField()
    heartbeat = DateTimeField()
    created = DateTimeField()


class StructureDocument(Document):
    meta = {"abstract": True, "indexes": ["formula", "chemical_system"]}
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
    meta = {"abstract": True, "indexes": ["structure"]}
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
    meta = {"abstract": True, "indexes": ["state", "structure"]}
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
    energy = FloatField()
    final_structure = JsonField()
    forces = TupleField()
    stress = TupleField()
    properties = JsonField()
    steps = IntField()
    times = JsonField()
    versions = JsonField()
    failure = JsonField()
    source = StringField()
    artefacts = ArtefactsField()


class LeaseDocument(Document):
    meta = {"abstract": True}
    id = StringField(primary_key=True)
    owner = StringField()
    since = DateTimeField()


class SurrogateDocument(Document):
    meta = {"abstract": True}
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
    meta = {"abstract": True}
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
    meta = {"abstract": True}
    id = StringField(primary_key=True)
    campaign = StringField()
    time = DateTimeField()
    sequence = IntField()
    kind = StringField()
    subject = StringField()
    details = JsonField()


class MessageDocument(Document):
    # No index: a process that reads may append here, and keeps no index up.
    meta = {"abstract": True}
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
    bound = {
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


def to_json(value: Any) -> str:
    """Return JSON text of plain values; arrays and numbers of numpy are taken too.

    Raises
    ------
    StoreError
        If a number is not finite, or something is no plain value.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"a record cannot be stored: {error}; it holds finite numbers, text, lists and maps, "
            "and None where a number is missing"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is {type(value).__name__}")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, (list, tuple)) else value
