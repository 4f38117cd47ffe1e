"""The store of a campaign: open it here, and use its methods.

Two kinds answer alike: a MongoDB server for a group, and for one machine an
embedded store, a folder that needs nothing installed.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from leadline.tasks.store.artefacts import Artefacts
from leadline.tasks.store.calculations import CalculationRecords
from leadline.tasks.store.campaigns import CampaignRecords
from leadline.tasks.store.connection import Connection, EmbeddedConnection, ServerConnection
from leadline.tasks.store.documents import documents
from leadline.tasks.store.events import EventRecords
from leadline.tasks.store.patience import Patience
from leadline.tasks.store.rounds import RoundRecords
from leadline.tasks.store.selftest import check_server
from leadline.tasks.store.server_errors import explained

FOLDER = Path(".leadline")


class Store(CampaignRecords, RoundRecords, CalculationRecords, EventRecords):
    """All records of all campaigns of one place.

    Every method may be called from any thread. Attributes: ``artefacts``, the
    files beside the records; ``kind``, what keeps them, and its version;
    ``location``, where, without any password.
    """

    def __init__(self, connection: Connection, artefacts: Artefacts) -> None:
        with explained(connection.location):
            super().__init__(connection, documents(connection.alias, write=connection.write))
        self.artefacts = artefacts
        self.kind = connection.kind
        self.location = connection.location
        self.write = connection.write
        self._closed = False

    def close(self) -> None:
        """Close the store, and let the next writer in; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.kind} in {self.location}>"


def open_store(
    uri: str | None = None,
    directory: Path | None = None,
    *,
    write: bool = True,
    self_test: bool = True,
    artefacts: str | None = None,
    patience: Patience | None = None,
) -> Store:
    """Open the store of a server, or the embedded store of a folder.

    Parameters
    ----------
    uri
        Of a MongoDB server; None takes the embedded store.
    directory
        Folder of the embedded store, and of artefacts; ``.leadline`` here if None.
    write
        False for a process that looks, and asks by ``send``: it needs no lock.
    self_test
        Whether a store opened for writing must first prove that it answers right.
    artefacts
        Path or fsspec URL of the artefacts; ``artefacts`` in ``directory`` if None.
    patience
        How an open store waits for a server that goes away; None waits for nothing.

    Raises
    ------
    StoreLockedError
        If another process writes to the embedded store.
    StoreServerError
        If the server is away, refuses, or answers wrongly.
    StoreError
        If the folder or its file cannot be used.
    """
    folder = Path(directory or FOLDER)
    connection = (
        ServerConnection(uri, write=write, patience=patience)
        if uri
        else EmbeddedConnection(folder, write=write)
    )
    try:
        if write and self_test:
            with explained(connection.location), connection.step():
                check_server(connection.database, connection.kind)
        return Store(connection, Artefacts(artefacts or str(folder.absolute() / "artefacts")))
    except BaseException:
        connection.close()
        raise
