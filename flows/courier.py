"""What a run shows in Prefect, carried there in a thread of its own.

Nothing waits for a server, and none that is away does harm: what was not taken stays
here and is tried again; at the end of the run it is tried once more and then left.
Of what is shown (name, progress, page) the last counts, so a busy run asks for
little; of what happened (events) each is sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import temporary_settings

from leadline.flows.prefect_trouble import IMPATIENT, reason_of

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LOOK_S = 2.0
"""Seconds between two rounds of the courier."""
SHOW_EVERY_S = 10.0
"""Seconds between two changes of the name, or of the progress, at least."""
AWAY_S = 15.0
"""Seconds until a server that was away is tried again."""
CLOSING_S = 25.0
"""How long the end of a run waits for the last round: a server that hangs takes ten."""
VERSIONS = 10
"""Versions of one artifact that stay: one for each of the latest runs of a campaign."""
BLANK = "It is being written."
"""What a page says for the moment between being created and being filled."""
BATCH = 50
"""Events sent at a time."""


class Courier:
    """Carries what one flow run shows.

    Parameters
    ----------
    flow_run
        Its id.
    told
        Called with the keys of events that the server has taken.
    """

    def __init__(self, flow_run: str, told: Callable[[Sequence[str]], None]) -> None:
        self._flow_run, self._told = flow_run, told
        self._lock = threading.Lock()
        self._events: list[tuple[str, Mapping[str, Any]]] = []
        self._name, self._named = "", ""
        self._wanted: dict[str, dict[str, Any]] = {}
        self._artifacts: dict[str, str] = {}
        self._shown = float("-inf")
        self.trouble: Exception | None = None

    def name(self, words: str) -> None:
        """Let the flow run be called so."""
        self._name = words

    def show(self, key: str, kind: str, data: str | float, description: str) -> None:
        """Show an artifact of the run: the first time a new version, then that one changed."""
        with self._lock:
            self._wanted[key] = {"type": kind, "data": data, "description": description}

    def tell(self, key: str, message: Mapping[str, Any]) -> None:
        """Send an event."""
        with self._lock:
            self._events.append((key, message))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Carry in a thread until the block ends, and then what is left."""
        ended = threading.Event()
        thread = threading.Thread(target=self._work, args=(ended,), name="courier", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(CLOSING_S)

    def _work(self, ended: threading.Event) -> None:
        with temporary_settings(IMPATIENT), get_client(sync_client=True) as client:
            while not ended.wait(AWAY_S if self.trouble else LOOK_S):
                self._carry(client, hurry=False)
            self._carry(client, hurry=True)

    def _carry(self, client: SyncPrefectClient, *, hurry: bool) -> None:
        steps = [self._send]
        if hurry or time.monotonic() - self._shown >= SHOW_EVERY_S:
            steps += [self._rename, self._show]
            self._shown = time.monotonic()
        trouble: Exception | None = None
        for step in steps:  # what is refused by one part of the server is no other's trouble
            try:
                step(client)
            except httpx.TransportError as error:  # who does not answer one will answer no other
                trouble = error
                break
            except Exception as error:  # whatever a broken server does
                trouble = error
        self.trouble = trouble

    def _send(self, client: SyncPrefectClient) -> None:
        while self._events:
            batch = self._events[:BATCH]
            client.request("POST", "/events", json=[message for _, message in batch])
            self._told([key for key, _ in batch])
            with self._lock:
                del self._events[: len(batch)]

    def _rename(self, client: SyncPrefectClient) -> None:
        name = self._name
        if name != self._named:
            path = {"id": self._flow_run}
            client.request("PATCH", "/flow_runs/{id}", path_params=path, json={"name": name})
            self._named = name

    def _show(self, client: SyncPrefectClient) -> None:
        for key in list(self._wanted):
            with self._lock:
                wanted = self._wanted.pop(key)
            try:
                self._put(client, key, wanted)
            except Exception:
                with self._lock:
                    self._wanted.setdefault(key, wanted)
                raise

    def _put(self, client: SyncPrefectClient, key: str, wanted: dict[str, Any]) -> None:
        # Not by the client's own methods, and not whole at first: of what is created the
        # server repeats the data in an event, and the client does of what is changed.
        known = self._artifacts.get(key) or self._made_before(client, key)
        if known is None:
            blank = BLANK if isinstance(wanted["data"], str) else 0.0
            made = {**wanted, "key": key, "flow_run_id": self._flow_run, "data": blank}
            known = str(client.request("POST", "/artifacts/", json=made).json()["id"])
            self._forget_old(client, key)
        self._artifacts[key] = known
        changes = {name: wanted[name] for name in ("data", "description")}
        client.request("PATCH", "/artifacts/{id}", path_params={"id": known}, json=changes)

    def _made_before(self, client: SyncPrefectClient, key: str) -> str | None:
        """Return the artifact that a request made whose answer was lost."""
        asked = {"key": {"any_": [key]}, "flow_run_id": {"any_": [self._flow_run]}}
        found = client.request("POST", "/artifacts/filter", json={"artifacts": asked}).json()
        return str(found[0]["id"]) if found else None

    def _forget_old(self, client: SyncPrefectClient, key: str) -> None:
        asked = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", "offset": VERSIONS}
        for old in client.request("POST", "/artifacts/filter", json=asked).json():
            client.request("DELETE", "/artifacts/{id}", path_params={"id": old["id"]})

    def words(self) -> str:
        """Return what the server did not take, as the rest of a sentence; or ''."""
        return reason_of(self.trouble) if self.trouble else ""
