"""What other processes ask of a running campaign: heard within a second.

A thread listens, and obeys by itself who wants the run to stop, since that waits for no
step of the loop. All else is done by the loop's own thread between two steps, one message
after the other, so that nothing changes under its hands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from leadline.flows.lease import Lease
from leadline.flows.setting import SETTING, take_over
from leadline.flows.stopping import STOP, obey
from leadline.flows.watching import Watcher
from leadline.tasks.beside import beside
from leadline.tasks.errors import InputError, StoreError
from leadline.tasks.store.records import Message
from leadline.tasks.store.store import Store

LISTEN = 1.0
"""Seconds between two looks at what is asked."""
UNREADABLE = (InputError, LookupError, TypeError, ValueError, AttributeError)
"""What a message of foreign making may raise."""

Handlers = Mapping[str, Callable[[Message], None]]


class Inbox:
    """The messages of one campaign, for the driver that holds its lease."""

    def __init__(self, store: Store, name: str, lease: Lease, watcher: Watcher) -> None:
        self._store, self._name, self._lease, self._watcher = store, name, lease, watcher
        self._heard = threading.Event()

    def take(self, handlers: Handlers) -> None:
        """Do what is asked; what cannot be done is refused on record and ends nothing.

        Raises
        ------
        LeaseError
            If the campaign is another driver's by now.
        StoreError
            If the store cannot be written.
        """
        self._heard.clear()
        self._lease.check()
        self._store.take_inbox(self._name, lambda message: self._do(message, handlers))

    def take_settings(self) -> None:
        """Do what was asked of settings since the last run, and leave the rest for the loop."""
        handlers: Handlers = {SETTING: lambda message: self._tell(take_over(self._store, message))}
        self._store.take_inbox(
            self._name, lambda message: self._do(message, handlers), kind=SETTING
        )

    def take_if_any(self, handlers: Handlers) -> bool:
        """Do what is asked, if the thread has heard anything; True if it has."""
        heard = self._heard.is_set()
        if heard:
            self.take(handlers)
        return heard

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the block lasts."""
        with beside(f"inbox of {self._name}", self._listen):
            yield

    def _tell(self, words: str) -> None:
        if words:
            self._watcher.note(words)

    def _listen(self, ended: threading.Event) -> None:
        while not ended.wait(LISTEN):
            with suppress(StoreError):  # the loop itself waits for a store that is away
                for message in self._store.inbox(self._name):
                    self._hear(message)

    def _hear(self, message: Message) -> None:
        if message.kind == STOP:
            with suppress(*UNREADABLE):
                obey(message, self._lease.owner, self._watcher)
        self._heard.set()

    def _do(self, message: Message, handlers: Handlers) -> None:
        try:
            if message.kind == STOP:
                obey(message, self._lease.owner, self._watcher)
            elif message.kind in handlers:
                handlers[message.kind](message)
            else:
                raise InputError(f"nothing is known of messages of the kind {message.kind!r}")
        except UNREADABLE as error:
            words = str(error) if isinstance(error, InputError) else f"{type(error).__name__}"
            self._watcher.note(f"a message by {message.sender} was refused: {words}")
            details = {"message": message.id, "kind": message.kind, "why": words}
            self._store.log(self._name, "inbox.refused", self._name, details)
