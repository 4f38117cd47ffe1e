"""What the tests' stand-in for MongoDB does not do as MongoDB does; Serve.java puts it right.

Beside what is shown here it names the wire version of MongoDB 4.2, which pymongo refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from java_server import JavaServer

from leadline.tasks.errors import StoreServerError
from leadline.tasks.store.records import Campaign
from leadline.tasks.store.store import open_store


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[JavaServer]:
    server = JavaServer(tmp_path, mended=False)
    server.start()
    yield server
    server.kill()


def kept_over_kills(server: JavaServer, folder: Path) -> list[str]:
    """Return which of three campaigns are there, each acknowledged and followed by a kill."""
    for name in ("one", "two", "three"):
        with open_store(server.uri, folder, self_test=False) as store:
            store.create_campaign(Campaign(name, {}))
            server.kill()
        server.start()
    with open_store(server.uri, folder, self_test=False) as store:
        return [each.name for each in store.campaigns()]


def test_as_it_is_the_self_test_refuses_it(plain_server: JavaServer, tmp_path: Path) -> None:
    with pytest.raises(StoreServerError, match=r"MongoDB 5.0.0 does not answer .*: hello is"):
        open_store(plain_server.uri, tmp_path)


@pytest.mark.slow
@pytest.mark.xfail(reason="it acknowledges journaled writes that it writes a second later")
def test_as_it_is_it_keeps_what_it_acknowledged(plain_server: JavaServer, tmp_path: Path) -> None:
    assert kept_over_kills(plain_server, tmp_path) == ["one", "three", "two"]


@pytest.mark.slow
def test_put_right_it_keeps_what_it_acknowledged(mortal_server: JavaServer, tmp_path: Path) -> None:
    assert kept_over_kills(mortal_server, tmp_path) == ["one", "three", "two"]
