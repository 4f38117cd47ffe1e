"""Campaigns that run by themselves: real servers, real processes, real schedules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.objects import DeploymentStatus, FlowRun
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType

from leadline.flows.campaign import campaign
from leadline.flows.deployments import campaign_deployment
from leadline.flows.limits import RunLimits
from leadline.flows.served import served_here
from leadline.flows.spec_file import read_spec
from leadline.flows.timetable import timetable
from leadline.flows.torch_warning import PYTHONWARNINGS
from leadline.tasks.beside import beside
from leadline.tasks.errors import InputError, ServedError
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

    from tests.flows.conftest import Run, Said, WriteFile

    Command = Callable[..., Said]

DEPLOY = Path(__file__).parents[2] / "deploy"
LIMIT = 1200.0
"""Seconds that anything here may take on a machine with much else to do."""


def until(what: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Return what comes true while a process lives."""
    deadline = time.monotonic() + LIMIT
    while not (found := what()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def runs_of(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    """Return the runs of a campaign's deployment that have ended, in their order."""
    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["campaign"])),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])),
    )
    ended = [each for each in runs if each.state and each.state.is_final()]
    return sorted(ended, key=lambda each: each.start_time or datetime.max.replace(tzinfo=UTC))


def test_a_bad_file_is_refused_before_anything_is_registered_in_the_words_of_check(
    command: Command, campaign_file: WriteFile
) -> None:
    wrong = campaign_file(engine={"name": "emt", "cutof": 3})
    said = command("check", wrong).err
    assert "engine.cutof: unknown key" in said
    for way in (("serve", wrong), ("deploy", wrong, "--pool", "none")):
        refused = command(*way)
        assert (refused.code, refused.err, refused.out) == (2, said, "")
    nowhere = campaign_file(compute={"profile": "nowhere"})
    refused = command("serve", nowhere)
    assert (refused.code, "FAIL  profile     no machine profile is called" in refused.out) == (
        1,
        True,
    )
    assert "Registered" not in refused.out
    twice = command("serve", campaign_file(), campaign_file())
    assert "small: found in more than one file" in twice.err


def test_a_schedule_is_a_cron_line_or_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    nightly, often = timetable(cron="0 2 * * *"), timetable(every="6 h")
    assert nightly.schedule is not None
    assert often.schedule is not None
    assert (nightly.schedule.cron, nightly.schedule.timezone) == ("0 2 * * *", _zone())
    assert (often.schedule.interval, often.schedule.anchor_date.hour) == (timedelta(hours=6), 0)
    assert timetable().schedule is None
    for wrong, words in (
        ({"cron": "at two"}, "--cron: found 'at two'; allowed: minute, hour, day"),
        ({"every": "often"}, "--every: found 'often'; allowed: a number in seconds"),
        ({"every": "0 s"}, "--every: found '0 s'; allowed: a second or more"),
        ({"every": "1 h", "cron": "0 2 * * *"}, "--cron and --every: found both"),
    ):
        with pytest.raises(InputError, match=words):
            timetable(**wrong)


def _zone() -> str:
    from tzlocal import get_localzone_name

    return get_localzone_name()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("served")
def test_served_runs_begin_by_themselves_carry_the_campaign_on_and_end_at_once_when_it_is_over(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    stop = {"expected_missed": None, "calculations": 5}
    file = campaign_file("nightly", stop=stop)
    serving = leadline("serve", file, "--every", "40 s", "--calculations", "4")
    with get_client(sync_client=True) as client:
        over = until(
            lambda: [
                each
                for each in runs_of(client, "nightly")
                if each.state_name in ("AlreadyStopped", "Failed", "Crashed")
            ],
            serving,
        )
        ends = [each for each in runs_of(client, "nightly") if each.state_name != "DrivenElsewhere"]
    names = [each.state_name for each in ends]
    assert names[: names.index("Stopped")] == ["Resting"] * names.index("Stopped") != []
    assert over[0].state_name == "AlreadyStopped"
    assert "stop.calculations=10" in over[0].state.message
    assert all(each.auto_scheduled and each.name.startswith("nightly") for each in ends)
    serving.send_signal(signal.SIGTERM)
    words, errors = serving.communicate(timeout=LIMIT)
    assert "Registered campaign/nightly, every 40 s, counted from midnight" in words, errors
    assert "/deployments/deployment/" in words
    assert "run it now  PREFECT_API_URL=http" in words
    assert "Ended; the schedules are paused" in words
    with open_store(None, store, write=False) as records:
        began = [each for each in records.events("nightly") if each.kind == "cluster.opened"]
    assert len(began) == names.count("Resting") + 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("served")
def test_of_two_that_serve_one_store_the_end_of_one_leaves_the_other_its_reconcile(
    leadline: Run, campaign_file: WriteFile
) -> None:
    names = ("first", "second")
    serving = [leadline("serve", campaign_file(name)) for name in names]
    with get_client(sync_client=True) as client:

        def reconciles() -> list[DeploymentResponse]:
            return client.read_deployments(
                flow_filter=FlowFilter(name=FlowFilterName(any_=["reconcile"])),
                deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[*names])),
            )

        def are_served() -> bool:
            ready = [each for each in reconciles() if each.status is DeploymentStatus.READY]
            return len(ready) == len(names)

        until(are_served, serving[0])
        serving[1].send_signal(signal.SIGTERM)
        words, errors = serving[1].communicate(timeout=LIMIT)
        assert "Ended; the schedules are paused" in words, errors
        paused = {each.name: each.paused for each in reconciles()}
    assert paused == {"first": False, "second": True}
    serving[0].send_signal(signal.SIGTERM)
    serving[0].communicate(timeout=LIMIT)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("served")
def test_a_second_process_that_would_serve_a_campaign_is_refused_until_the_first_is_gone(
    leadline: Run, campaign_file: WriteFile
) -> None:
    file, other = campaign_file("single"), campaign_file("beside")
    first = leadline("serve", file)
    assert "Serving;" in lines_until("Serving;", first)
    words, errors = leadline("serve", other, file).communicate(timeout=LIMIT)
    assert f"campaign single is served by process {first.pid} on " in errors
    assert "Traceback" not in errors
    assert "Registered" not in words
    with get_client(sync_client=True) as client:
        assert not client.read_deployment_by_name("campaign/single").paused
        with pytest.raises(ObjectNotFound):
            client.read_deployment_by_name("campaign/beside")
    first.kill()
    first.wait()
    with ctrl_c_ignored():
        successor = leadline("serve", file)
    lines_until("Serving;", successor)
    with get_client(sync_client=True) as client:
        client.pause_deployment(client.read_deployment_by_name("campaign/single").id)
        said = lines_until("Somebody paused", successor)
        assert "Somebody paused campaign/single in Prefect: no run begins by itself until" in said
        client.resume_deployment(client.read_deployment_by_name("campaign/single").id)
        assert "campaign/single: runs begin" in lines_until("Somebody resumed", successor)
        successor.send_signal(signal.SIGTERM)
        words, errors = successor.communicate(timeout=LIMIT)
        assert "Ended; the schedules are paused" in words, errors
        assert "Somebody" not in words  # it pauses them itself
        assert client.read_variable_by_name("leadline-served-single") is None


@contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Let what is started in the block begin as a script's background job does: deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def lines_until(words: str, process: subprocess.Popen[str]) -> str:
    """Return what a process says up to the line that holds these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(said + process.communicate()[1])


@pytest.mark.usefixtures("served")
def test_whoever_serves_on_another_host_is_proved_there_by_asking_for_its_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("leadline.flows.served.WATCHED_S", 15.0)
    deployed = campaign.to_deployment(name="far", entrypoint_type=EntrypointType.MODULE_PATH)
    id_ = cast(UUID, cast(RunnerDeployment, deployed).apply())
    far = "elsewhere/some-boot/12/34.00/ab"
    with get_client(sync_client=True) as client:
        client.create_variable(VariableCreate(name="leadline-served-far", value=far))
        with served_here(["far"]):  # nobody asks for its runs
            assert client.read_variable_by_name("leadline-served-far").value != far  # type: ignore[union-attr]
        client.create_variable(VariableCreate(name="leadline-served-far", value=far))

        def ask(ended: threading.Event) -> None:
            asked = {"deployment_ids": [str(id_)]}
            while not ended.wait(1):
                client.request("POST", "/deployments/get_scheduled_flow_runs", json=asked)

        with beside("asking", ask):
            until_ready(client, id_)
            with (
                pytest.raises(ServedError, match="far is served by process 12 on elsewhere, and"),
                served_here(["far"]),
            ):
                pytest.fail("two serve one campaign")
        assert client.read_variable_by_name("leadline-served-far").value == far  # type: ignore[union-attr]


def until_ready(client: SyncPrefectClient, id_: UUID) -> None:
    deadline = time.monotonic() + LIMIT
    while client.read_deployment(id_).status is not DeploymentStatus.READY:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("served")
def test_the_deployments_that_come_along_are_deployed_and_read_back(
    prefect_api: dict[str, str], tmp_path: Path
) -> None:
    environment = os.environ | prefect_api | {"LEADLINE_STORE": str(tmp_path / "store")}
    for words in (
        ["work-pool", "create", "leadline", "--type", "process"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", "prefect.yaml"],
    ):
        subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            cwd=DEPLOY,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
    with get_client(sync_client=True) as client:
        campaign, backtest, settings, review, reconcile, report = (
            client.read_deployment_by_name(name)
            for name in (
                "campaign/cu-au",
                "backtest/backtest-cuagau",
                "set/cu-au",
                "review/cu-au",
                "reconcile/hourly",
                "report/cu-au",
            )
        )
    for each in (campaign, backtest, settings, review, reconcile, report):
        assert each.work_pool_name == "leadline"
        assert "leadline" in each.tags
        assert ":" not in (each.entrypoint or ":")  # a module, not a file
        assert each.pull_steps in (None, [])
        assert each.job_variables == {
            "env": {
                "LEADLINE_STORE": str(tmp_path / "store"),
                "DO_NOT_TRACK": "1",
                "PYTHONWARNINGS": PYTHONWARNINGS,
            }
        }
    assert campaign.parameters["spec"]["stop"]["calculations"] == 120
    assert _schedules(campaign) == [CronSchedule(cron="0 2 * * *", timezone="UTC")]
    (hourly,) = _schedules(reconcile)
    assert isinstance(hourly, IntervalSchedule)
    assert hourly.interval.total_seconds() == 3600
    limit = reconcile.global_concurrency_limit
    assert limit is not None
    assert limit.limit == 1
    assert _schedules(backtest) == []
    assert campaign.parameter_openapi_schema is not None
    definitions = campaign.parameter_openapi_schema["definitions"]
    assert "picks" in str(definitions["AcquisitionSpec"])
    assert definitions["CampaignSpec"]["properties"]["engine"]["description"]


@pytest.mark.usefixtures("served")
def test_what_a_worker_starts_says_nothing_of_what_gpytorch_stands_on(
    campaign_file: WriteFile,
) -> None:
    deployed = campaign_deployment(read_spec(campaign_file()), RunLimits(), timetable(), "pool")
    load = "import leadline.flows.campaign, gpytorch"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    variables = bare | deployed.job_variables["env"]
    loaded = subprocess.run(
        [sys.executable, "-c", load], env=variables, capture_output=True, text=True
    )
    assert (loaded.returncode, loaded.stderr) == (0, "")


def _schedules(deployment: DeploymentResponse) -> list[Any]:
    return [each.schedule for each in deployment.schedules]
