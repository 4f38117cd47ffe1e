"""`leadline status` names the batch jobs that a driver may have left in a queue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leadline.flows.telling import status_json, status_words
from leadline.tasks.compute.job_notes import JobNote
from leadline.tasks.compute.queue_settings import JOBS
from leadline.tasks.drivers import log_run
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Campaign, CampaignState
from leadline.tasks.store.store import open_store

ELSEWHERE = "login1/boot/4711/1.00/token"
SPEC = {"objective": {"kind": "hull", "tolerance": 0.001}}


def test_jobs_of_a_former_driver_are_told_until_they_are_cleared_and_those_of_the_living_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADLINE_STORE", str(tmp_path))
    folder, me = tmp_path / "calculations" / JOBS, this_process()
    folder.mkdir(parents=True)
    left = JobNote("17", "slurm/big/me", ELSEWHERE)
    for note in (left, JobNote("18", "slurm/big/me", me), JobNote("19", None, "of another store")):
        note.write(folder)
    with open_store(None, tmp_path) as store:
        store.create_campaign(Campaign("one", SPEC))
        for run, owner in enumerate((ELSEWHERE, me)):
            log_run(store, "one", f"run {run}", owner)
        store.take_lease("one", me, 60.0)
        store.set_campaign_state("one", CampaignState.RUNNING, "", owner=me)
    told = "batch job 17 of slurm/big/me may still be there: its driver was process 4711 on login1"
    words = status_words("one")
    assert words.count("batch job") == 1
    assert told in words
    assert [each["job"] for each in json.loads(status_json("one"))["left_jobs"]] == ["17"]
    left.remove(folder)
    assert "batch job" not in status_words("one")
