"""How values of records lie in a document: fields for mongoengine.

Maps of free form are kept as JSON text, so that a key with a dot or a dollar
survives on every server; numbers that are not finite are refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from mongoengine import FloatField
from mongoengine.base import BaseField

from leadline.tasks.errors import StoreError
from leadline.tasks.store.records import ArtefactRef, Attempt


class FiniteField(FloatField):
    """A finite number."""

    def validate(self, value: Any) -> None:
        """Refuse what is no finite number."""
        super().validate(value)
        if not math.isfinite(value):
            self.error(f"{self.name} is {value}; it must be finite, or None where it is missing")


class JsonField(BaseField):
    """JSON values as text."""

    def to_mongo(self, value: Any) -> str | None:
        """Return what the database keeps."""
        return None if value is None else to_json(value)

    def to_python(self, value: Any) -> Any:
        """Return what the record holds."""
        return json.loads(value) if isinstance(value, str) else value

    def prepare_query_value(self, op: str, value: Any) -> str | None:
        """Return what an update sets."""
        return self.to_mongo(value)


class TupleField(JsonField):
    """A sequence of JSON values; sequences inside come back as tuples too."""

    def to_python(self, value: Any) -> Any:
        """Return what the record holds."""
        return _tuples(super().to_python(value))


class ArtefactField(JsonField):
    """A reference to an artefact."""

    def to_mongo(self, value: Any) -> str | None:
        """Return what the database keeps."""
        return None if value is None else to_json(dataclasses.asdict(value))

    def to_python(self, value: Any) -> Any:
        """Return what the record holds."""
        found = super().to_python(value)
        return ArtefactRef(**found) if isinstance(found, dict) else found


class ArtefactsField(JsonField):
    """References to artefacts by name."""

    def to_mongo(self, value: Any) -> str | None:
        """Return what the database keeps."""
        return to_json({name: dataclasses.asdict(ref) for name, ref in value.items()})

    def to_python(self, value: Any) -> Any:
        """Return what the record holds."""
        if not isinstance(value, str):
            return value
        return {name: ArtefactRef(**ref) for name, ref in json.loads(value).items()}


class AttemptsField(BaseField):
    """The attempts of a calculation: dates as dates, maps as JSON text."""

    _maps = (
        *("changes", "where", "failure", "times", "continued_from", "prerelaxed"),
        *("asked", "used"),
    )

    def to_mongo(self, value: Iterable[Attempt]) -> list[dict[str, Any]]:
        """Return what the database keeps."""
        return [self._plain(attempt) for attempt in value]

    def to_python(self, value: Any) -> tuple[Attempt, ...]:
        """Return what the record holds."""
        return tuple(each if isinstance(each, Attempt) else self._attempt(each) for each in value)

    def prepare_query_value(self, op: str, value: Any) -> list[dict[str, Any]]:
        """Return what an update sets."""
        return self.to_mongo(value)

    def _plain(self, attempt: Attempt) -> dict[str, Any]:
        plain = {f.name: getattr(attempt, f.name) for f in dataclasses.fields(attempt)}
        return plain | {name: to_json(plain[name]) for name in self._maps}

    def _attempt(self, plain: Mapping[str, Any]) -> Attempt:
        # What an earlier leadline did not write takes its default.
        maps = {name: json.loads(plain[name]) for name in self._maps if name in plain}
        return Attempt(**{**plain, **maps})


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
