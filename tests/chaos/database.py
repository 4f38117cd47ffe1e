"""The database of one stage: a server of MongoDB's kind, and a line to it."""

from __future__ import annotations

from java_server import JavaServer
from line import HOST, Line


class Database:
    """A database of a name of its own, on a server that others may share.

    Parameters
    ----------
    server
        It runs.
    name
        Of the database.
    """

    def __init__(self, server: JavaServer, name: str) -> None:
        self.server = server
        self.line = Line(server.port)
        self.uri = f"mongodb://{HOST}:{self.line.port}/{name}"
        """For what is disturbed."""
        self.calm_uri = f"mongodb://{HOST}:{server.port}/{name}"
        """For the harness, which no cut line disturbs."""

    def close(self) -> None:
        """Hang up; the server runs on."""
        self.line.close()
