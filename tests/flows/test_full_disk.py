"""A campaign whose disk is full: it rests, says why, and carries on when there is room."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from small_disk import KB, SmallDisk, mounted

from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, WriteFile

ENGINE = {"name": "moody-emt", "seconds": 0.3}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk for the store of a campaign, or for its calculations."""
    with mounted(tmp_path / "disk", 12_000 * KB) as small:
        yield small


def count(store: Path, *states: CalculationState) -> int:
    if not (store / "store.sqlite").exists():
        return 0
    with open_store(None, store, write=False) as opened:
        return len(opened.by_state(*states))


def wait_until_some_are_done(driver: subprocess.Popen[str], store: Path) -> None:
    deadline = time.monotonic() + 600
    while count(store, CalculationState.DONE) < 3 and time.monotonic() < deadline:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.1)


def starts(calculations: Path) -> Counter[str]:
    lines = (calculations / "engines.log").read_text().splitlines()
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return Counter(each["calculation"] for each in told if each["event"] == "start")


class TestStore:
    @pytest.fixture
    def store(self, disk: SmallDisk) -> Path:
        return disk.path / "store"

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    def test_a_campaign_whose_store_has_no_room_ends_with_what_to_do_and_carries_on(
        self, leadline: Run, campaign_file: WriteFile, store: Path, disk: SmallDisk
    ) -> None:
        file = campaign_file(engine=ENGINE)
        driver = leadline("run", file)
        wait_until_some_are_done(driver, store)
        disk.fill()
        _, errors = driver.communicate(timeout=600)
        assert driver.returncode == 2
        assert "the disk is full" in errors
        assert "free some space and run again" in errors
        assert "Traceback" not in errors
        with open_store(None, store, write=False) as opened:
            finished = [each.id for each in opened.by_state(CalculationState.DONE)]
        before = starts(store / "calculations")
        disk.clear()
        driver = leadline("run", file)
        said = driver.communicate(timeout=600)
        assert driver.returncode == 0, said
        after = starts(store / "calculations")
        assert all(after[each] == before[each] for each in finished)
        assert count(store, CalculationState.DONE) == 14


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_campaign_whose_calculations_have_no_room_blames_no_structure(
    leadline: Run,
    campaign_file: WriteFile,
    store: Path,
    disk: SmallDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    profile = {"cluster": {"kind": "local"}, "calculations": str(disk.path / "calculations")}
    (profiles / "small.yaml").write_text(yaml.safe_dump(profile))
    monkeypatch.setenv("LEADLINE_PROFILES", str(profiles))
    file = campaign_file(engine=ENGINE, compute={"workers": 2, "profile": "small"})
    driver = leadline("run", file)
    wait_until_some_are_done(driver, store)
    disk.fill()
    _, errors = driver.communicate(timeout=600)
    assert driver.returncode == 2
    assert f"{disk.path / 'calculations'}" in errors
    assert "free some space, and run again" in errors
    assert "Traceback" not in errors
    assert count(store, CalculationState.QUARANTINED) == 0
    with open_store(None, store, write=False) as opened:
        [campaign] = opened.campaigns()
    assert campaign.state is CampaignState.RESTING
    assert "No space left on device" in campaign.reason
    disk.clear()
    driver = leadline("run", file)
    said = driver.communicate(timeout=600)
    assert driver.returncode == 0, said
    assert count(store, CalculationState.DONE) == 14
