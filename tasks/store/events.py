"""The log of events, and the inbox through which other processes ask for changes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from leadline.tasks.store.base import StoreBase, event_id, now, stamp, within
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Event, Message


class EventRecords(StoreBase):
    """What happened, and what is asked for."""

    def events(self, campaign: str, after: Event | None = None) -> list[Event]:
        """Return the events of a campaign in their order, or those after one of them."""
        query = within(campaign)
        if after is not None:
            query["pk__gt"] = event_id(after)
        return self._find(self._documents.events, Event, **query)

    def send(self, campaign: str, kind: str, payload: Mapping[str, Any]) -> Message:
        """Ask the holder of the store for a change; a store opened for reading may."""
        sent = now()
        order = f"{stamp(sent)}:{next(self._sequence):09d}"  # one process keeps its own
        key = f"{campaign}:{order}:{secrets.token_hex(4)}"
        message = Message(key, campaign, kind, payload, sent, this_process())
        self._insert(self._documents.inbox, message)
        return message

    def inbox(self, campaign: str) -> list[Message]:
        """Return what is asked and not taken up yet, in its order."""
        return self._find(self._documents.inbox, Message, **within(campaign))

    def taken_up(self, message: Message) -> bool:
        """Tell whether a driver has done what a message asks, or refused it."""
        return bool(self._find(self._documents.events, Event, subject=message.id))

    def take_inbox(
        self, campaign: str, apply: Callable[[Message], object], kind: str | None = None
    ) -> None:
        """Apply what was asked since the last time, in its order; each becomes one event.

        A message is deleted last. In the embedded store that is one step with the
        rest. On a server a driver may die in between: the next one applies the
        message again unless its event is there, so that what ``apply`` does must
        bear to be done twice.

        Parameters
        ----------
        campaign
            Whose driver asks: the one that holds its lease.
        apply
            Does what a message asks. An error that it raises leaves this message and
            those after it in the inbox.
        kind
            Of the messages that are looked at; None takes all.
        """
        for each in self.inbox(campaign):
            if kind is not None and each.kind != kind:
                continue
            with self.step():
                if not self._find(self._documents.events, Event, subject=each.id):
                    apply(each)
                    details = {"payload": each.payload, "sender": each.sender}
                    self.log(campaign, f"inbox.{each.kind}", each.id, details)
                self._delete(self._documents.inbox, pk=each.id)
