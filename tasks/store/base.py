"""What all parts of a store share: steps, look-ups, inserts and the log of events."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from mongoengine.errors import NotUniqueError

from leadline.tasks.store.connection import Connection
from leadline.tasks.store.documents import Documents, record_of, stored_form, values_of
from leadline.tasks.store.records import Event
from leadline.tasks.store.server_errors import explained

Record = TypeVar("Record")


class StoreBase:
    """A connection and its documents."""

    def __init__(self, connection: Connection, documents: Documents) -> None:
        self._connection = connection
        self._documents = documents
        self._sequence = itertools.count()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Group what is written inside.

        In the embedded store it is one commit: all of it, or nothing if an
        error leaves the step; other threads wait. On a server writes are
        ordered so that the last insert is the one that commits.
        """
        with explained(self._connection.location), self._connection.step():
            yield

    def log(
        self, campaign: str, kind: str, subject: str, details: Mapping[str, Any] | None = None
    ) -> Event:
        """Append an event to the log of a campaign."""
        return self._append(self._event(campaign, kind, subject, details or {}))

    def _event(self, campaign: str, kind: str, subject: str, details: Mapping[str, Any]) -> Event:
        """Return an event of now, which is not in the log yet."""
        return Event(campaign, now(), next(self._sequence), kind, subject, details)

    def _append(self, event: Event) -> Event:
        while True:
            try:
                self._insert(self._documents.events, event, id=event_id(event))
            except NotUniqueError:  # another process, in the same millisecond
                event = replace(event, time=now(), sequence=next(self._sequence))
                continue
            return event

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with explained(self._connection.location), self._connection.reading():
            yield

    def _insert(self, document: Any, record: Any, **more: Any) -> None:
        self._save(document(**values_of(record), **more))

    def _save(self, made: Any) -> None:
        """Insert a document; one that an earlier try inserted is no conflict."""

        def insert(again: bool) -> None:
            try:
                made.save(force_insert=True)
            except NotUniqueError:
                if not (again and self._holds(type(made), made.pk, made.to_mongo())):
                    raise

        with self.step():
            self._connection.patiently(insert)

    def _find(self, document: Any, kind: type[Record], **query: Any) -> list[Record]:
        return self._first(document, kind, None, query)

    def _first(
        self, document: Any, kind: type[Record], most: int | None, query: Mapping[str, Any]
    ) -> list[Record]:
        """Return the first records that a query finds, in the order of their ids."""

        def find(_: bool) -> list[Any]:
            found = document.objects(**query).order_by("pk")
            return list((found if most is None else found.limit(most)).as_pymongo())

        with self._reading():
            return [record_of(kind, document, raw) for raw in self._connection.patiently(find)]

    def _one(self, document: Any, kind: type[Record], key: str) -> Record | None:
        with self._reading():
            found = self._connection.patiently(lambda _: _raw(document, key))
        return None if found is None else record_of(kind, document, found)

    def _set(self, document: Any, query: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
        """Set fields of the one document that a query finds by its ``pk``; False if it finds none.

        Where the answer to an earlier try was lost, it is True if the fields are as asked.
        """
        changes = {f"set__{name}": value for name, value in fields.items()}

        def update(again: bool) -> bool:
            if document.objects(**query).update_one(**changes):
                return True
            return again and self._holds(document, query["pk"], stored_form(document, fields))

        with self.step():
            return self._connection.patiently(update)

    def _delete(self, document: Any, **query: Any) -> bool:
        """Delete what a query finds; True if that was anything, in this try or perhaps before."""

        def delete(again: bool) -> bool:
            return bool(document.objects(**query).delete()) or again

        with self.step():
            return self._connection.patiently(delete)

    def _holds(self, document: Any, key: str, fields: Mapping[str, Any]) -> bool:
        """Tell whether a document is there, and has fields as they lie in the database."""
        found = _raw(document, key)
        return found is not None and all(found.get(name) == fields[name] for name in fields)


def _raw(document: Any, key: str) -> Any:
    return next(iter(document.objects(pk=key).as_pymongo()), None)


def now() -> datetime:
    """Return the time in UTC, to the millisecond that a database keeps."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def stamp(time: datetime) -> str:
    """Return a time as text that sorts as time does."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S.") + f"{time.microsecond // 1000:03d}"


def event_id(event: Event) -> str:
    """Return the id of an event: campaign, time, sequence."""
    return f"{event.campaign}:{stamp(event.time)}:{event.sequence:09d}"


def within(prefix: str) -> dict[str, str]:
    """Return the query for ids that begin with ``prefix`` and a colon."""
    return {"pk__gt": f"{prefix}:", "pk__lt": f"{prefix};"}
