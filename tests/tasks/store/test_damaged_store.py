"""The file of an embedded store cut, overwritten, or parted from its log: told, never guessed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.tasks.errors import StoreError
from leadline.tasks.store.commits import COUNT
from leadline.tasks.store.records import Calculation, CalculationState, Campaign
from leadline.tasks.store.rows import FILE
from leadline.tasks.store.store import Store, open_store

WAL = f"{FILE}-wal"
REUSED = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def fill(store: Store, name: str) -> None:
    store.create_campaign(Campaign(name, {"batch": 5}))
    for k in range(12):
        id = f"{name}-{k}"
        store.ensure_calculations([Calculation(id, f"s{k}", {}, {}, "f", campaign=name)])
        store.claim(id, "a driver")


def everything(store: Store) -> str:
    """All records as text, each collection both by look-up and by reading it through."""
    names = [each.name for each in store.campaigns()]
    stored = sorted(store.by_state(*CalculationState), key=lambda each: each.id)
    found = [store.calculation(each.id) for each in stored]
    assert found == stored
    return repr((names, found, [store.events(name) for name in names]))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store that was closed, and what it held."""
    folder = tmp_path_factory.mktemp("closed")
    with open_store(directory=folder, self_test=False) as store:
        fill(store, "cu-au")
        state = everything(store)
    return folder, state


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store whose writer was killed, its last commits in the log alone, and what it held."""
    folder = tmp_path_factory.mktemp("killed")
    with open_store(directory=folder / "alive", self_test=False) as store:
        fill(store, "cu-au")
        left = shutil.copytree(folder / "alive", folder / "left")
        state = everything(store)
    assert (left / WAL).stat().st_size > 100_000
    return left, state


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "store"
    shutil.rmtree(tmp_path / "store", ignore_errors=True)


def reopened(folder: Path, *, write: bool = True) -> str:
    with open_store(directory=folder, write=write, self_test=False) as store:
        return everything(store)


def check_told(folder: Path, state: str, *, write: bool = True) -> str:
    """Return the error that damage makes; '' where all is there as it was."""
    try:
        found = reopened(folder, write=write)
    except StoreError as error:
        told = str(error)
    else:
        assert found == state, "records were lost without a word"
        return ""
    assert "put a copy" in told or "Put the newer" in told
    return told


def test_a_killed_writer_leaves_all_that_was_committed(
    killed: tuple[Path, str], folder: Path
) -> None:
    shutil.copytree(killed[0], folder)
    assert reopened(folder, write=False) == reopened(folder) == killed[1]


@REUSED
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_at_any_length_is_told(
    closed: tuple[Path, str], folder: Path, share: float
) -> None:
    path = shutil.copytree(closed[0], folder, dirs_exist_ok=True) / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    for write in (False, True):
        check_told(folder, closed[1], write=write)


@REUSED
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_log_cut_at_any_length_is_told(
    killed: tuple[Path, str], folder: Path, share: float
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(killed[0], folder)
    log = folder / WAL
    whole = log.read_bytes()
    log.write_bytes(whole[: int(share * len(whole))])
    for write in (False, True):
        assert "lacks the last" in check_told(folder, killed[1], write=write)


def test_a_log_that_was_removed_is_missed(killed: tuple[Path, str], folder: Path) -> None:
    shutil.copytree(killed[0], folder)
    (folder / WAL).unlink()
    (folder / f"{FILE}-shm").unlink()
    with pytest.raises(StoreError, match=r"lacks the last (\d+) of \1 commits.*store.commits"):
        reopened(folder)
    (folder / COUNT).unlink()
    assert reopened(folder) == "([], [], [])"


def test_an_older_copy_that_was_put_back_is_taken_once_a_person_says_so(
    closed: tuple[Path, str], folder: Path
) -> None:
    shutil.copytree(closed[0], folder)
    with open_store(directory=folder, self_test=False) as store:
        fill(store, "ag-au")
    (folder / FILE).write_bytes((closed[0] / FILE).read_bytes())
    assert "an older copy was put back" in check_told(folder, closed[1])
    (folder / COUNT).unlink()
    assert reopened(folder) == closed[1]
    with open_store(directory=folder, self_test=False) as store:
        fill(store, "ag-au")
    reopened(folder)


@REUSED
@given(seed=st.integers(0, 2**32), length=st.sampled_from([1, 8, 512, 4096]))
def test_garbage_anywhere_in_the_file_is_told_or_harmless(
    closed: tuple[Path, str], folder: Path, seed: int, length: int
) -> None:
    path = shutil.copytree(closed[0], folder, dirs_exist_ok=True) / FILE
    whole = bytearray(path.read_bytes())
    chance = random.Random(seed)
    at = chance.randrange(len(whole) - length)
    whole[at : at + length] = chance.randbytes(length)
    path.write_bytes(whole)
    check_told(folder, closed[1])


@REUSED
@given(seed=st.integers(0, 2**32), length=st.sampled_from([1, 8, 512, 4096]))
def test_garbage_anywhere_in_the_log_is_told_or_harmless(
    killed: tuple[Path, str], folder: Path, seed: int, length: int
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    log = shutil.copytree(killed[0], folder) / WAL
    whole = bytearray(log.read_bytes())
    chance = random.Random(seed)
    at = chance.randrange(len(whole) - length)
    whole[at : at + length] = chance.randbytes(length)
    log.write_bytes(whole)
    check_told(folder, killed[1])


def test_a_count_that_is_gone_or_nonsense_harms_nothing(
    closed: tuple[Path, str], folder: Path
) -> None:
    shutil.copytree(closed[0], folder)
    for words in ("", "many", "3"):
        (folder / COUNT).write_text(words)
        assert reopened(folder) == closed[1]
    (folder / COUNT).unlink()
    (folder / COUNT).mkdir()
    assert reopened(folder) == closed[1]
