"""Passwords stay where they were; artefacts stay whole; nothing imports more than it needs."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from leadline.tasks.errors import StoreError, StoreServerError
from leadline.tasks.store.artefacts import Artefacts
from leadline.tasks.store.connection import masked
from leadline.tasks.store.fields import to_json
from leadline.tasks.store.owner import in_words, is_gone, this_process
from leadline.tasks.store.store import open_store

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://joe:{SECRET}@127.0.0.1:1/leadline?serverSelectionTimeoutMS=50",
        f"mongodb://joe:{SECRET}@127.0.0.1:1/?serverSelectionTimeoutMS=50&authSource={SECRET}",
        f"mongodb://joe:a/b?{SECRET}@127.0.0.1:1/leadline",
        f"mongodb://joe:p@ss{SECRET}/@127.0.0.1:port?serverSelectionTimeoutMS=50",
        f"mongodb://joe:{SECRET}",
        f"mongodb://{SECRET}@/",
        f"http://joe:{SECRET}@127.0.0.1",
        "mongodb://",
    ],
)
def test_no_error_shows_a_password(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StoreServerError) as caught:
        open_store(uri, tmp_path)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert SECRET not in masked(uri)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://h", "mongodb://h"),
        ("mongodb://u:p@h1:27017,h2/db?w=1", "mongodb://***@h1:27017,h2/db"),
        ("mongodb+srv://u:p%40@c.example.net/db", "mongodb+srv://***@c.example.net/db"),
        ("mongodb://[::1]:27017/db", "mongodb://[::1]:27017/db"),
    ],
)
def test_the_place_of_a_server_is_shown(uri: str, shown: str) -> None:
    assert masked(uri) == shown


def test_an_artefact_that_was_changed_or_lost_is_not_given(tmp_path: Path) -> None:
    artefacts = Artefacts(str(tmp_path))
    ref = artefacts.put(b"a checkpoint", "application/x-npz")
    path = Path(artefacts.path(ref))
    assert path == tmp_path / ref.sha256[:2] / ref.sha256[2:]
    path.write_bytes(b"b checkpoint")
    with pytest.raises(StoreError, match="is damaged"):
        artefacts.get(ref)
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        artefacts.get(ref)


def test_an_artefact_that_was_cut_is_put_again(tmp_path: Path) -> None:
    artefacts = Artefacts(str(tmp_path))
    ref = artefacts.put(b"a checkpoint", "application/x-npz")
    Path(artefacts.path(ref)).write_bytes(b"a check")
    assert artefacts.put(b"a checkpoint", "application/x-npz") == ref
    assert artefacts.get(ref) == b"a checkpoint"


def test_an_artefact_that_could_not_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts = Artefacts(str(tmp_path))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        artefacts.put(b"a checkpoint", "application/x-npz")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_artefacts_stand_on_any_file_system_of_fsspec() -> None:
    artefacts = Artefacts("memory://leadline-artefacts")
    assert artefacts.get(artefacts.put(b"x", "text/plain")) == b"x"


def test_this_process_is_not_gone_and_what_is_unknown_is_not_proved() -> None:
    me = this_process()
    host, boot, pid, start, token = me.split("/")
    assert not is_gone(me)
    assert is_gone(f"{host}/{boot}/{pid}/1.00/{token}")
    assert is_gone(f"{host}/other/{pid}/{start}/{token}")
    for unknown in (f"elsewhere/{boot}/{pid}/1.00/x", "somebody", "", f"{host}//x/1.00/x"):
        assert not is_gone(unknown)
    assert in_words(me) == f"process {pid} on {host}"
    assert in_words("somebody") == "somebody"


def test_numbers_of_numpy_are_plain_and_other_objects_are_refused() -> None:
    given = {"a": np.float32(0.5), "b": np.arange(3), "c": (np.int64(2), True)}
    assert to_json(given) == '{"a":0.5,"b":[0,1,2],"c":[2,true]}'
    for bad in (object(), {1, 2}, float("nan"), np.array([np.inf])):
        with pytest.raises(StoreError, match="cannot be stored"):
            to_json({"x": bad})


def test_records_are_known_without_a_database() -> None:
    program = (
        "import sys, leadline.tasks.store.records, leadline.tasks.store.owner;"
        "print({'mongoengine', 'pymongo', 'prefect', 'torch'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "set()"
