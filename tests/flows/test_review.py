"""A person between picks and calculations: real drivers, killed ones, and a real Prefect server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import PrefectHTTPStatusError

from leadline.flows.process_settings import process_settings
from leadline.tasks.store.records import Proposal, ProposalState
from tests.flows.steered import campaign_of, ended, engines, proposals, reading, until

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.usefixtures("served"),
]
Command = Callable[..., "Said"]
State = ProposalState

REVIEW = """
import sys
from leadline.flows.review import review
print(review(sys.argv[1], return_state=True).message)
"""


def picks(store: Path, *states: ProposalState, round_: int | None = None) -> list[Proposal]:
    return [
        each for each in proposals(store) if each.state in states and round_ in (None, each.round)
    ]


def waiting(store: Path, round_: int) -> list[Proposal]:
    """The picks of a round, once it waits."""
    return picks(store, State.PROPOSED, round_=round_)


def small(campaign_file: WriteFile, **changes: Any) -> Path:
    return campaign_file(
        start={"random": 3},
        acquisition={"batch": 3},
        stop={"expected_missed": None, "calculations": 6},
        **changes,
    )


def test_picks_wait_and_a_killed_driver_finds_them_and_their_verdicts_again(
    leadline: Run, command: Command, campaign_file: WriteFile, store: Path
) -> None:
    file = small(campaign_file, engine={"name": "moody-emt"}, review={"silence": "wait"})
    driver = leadline("run", file)
    first = until(lambda: waiting(store, 1), driver)
    until(lambda: len(engines(store)) == 4, driver)  # the elements ask nobody
    driver.kill()
    driver.wait()
    vetoed, added = _decided_while_nobody_runs(command, store, first)
    driver = leadline("run", file)
    second = until(lambda: waiting(store, 2), driver)
    _is_as_decided(command, store, first, vetoed, added)
    assert vetoed not in {each.structure for each in second}
    status = json.loads(command("status", "small", "--json").out)
    assert len(status["review"]["waiting"]) == 3
    assert "  for review: 3 picks (" in command("status", "small").out
    said = command("review", "small", "--approve", "all", "--order", "3", "--why", "looks good")
    assert said.out == "3 approved\n"
    words = ended(driver)
    assert "3 picks of round 2 wait for review (until somebody decides)" in words
    assert [each.structure[:8] in words for each in second] == [True] * 3
    assert "Stopped: " in words
    assert [each.verdict["place"] for each in picks(store, State.LINKED, round_=2)] == [1, 2, 0]  # type: ignore[index]
    assert len({each["calculation"] for each in engines(store)}) == 2 + 3 + 3
    with reading(store) as opened:
        asked = [each.subject for each in opened.events("small") if each.kind == "review.asked"]
    assert asked == ["small:00001", "small:00002"]


def _decided_while_nobody_runs(
    command: Command, store: Path, first: list[Proposal]
) -> tuple[str, str]:
    shown = command("review", "small")
    assert shown.code == 0, shown.err
    assert "3 picks of small for round 1 (until somebody decides):" in shown.out
    assert all(each.structure[:12] in shown.out for each in first)
    wrong = command("review", "small", "--approve", "9")
    assert (wrong.code, "rank '9' names no pick that waits; there: 1, 2, 3" in wrong.err) == (
        2,
        True,
    )
    options = ("--approve", "all", "--veto", "2", "--why", "too costly", "--add", "AuCu3")
    said = command("review", "small", *options)
    assert said.out == "no run works on small now: the next takes these verdicts over\n"
    assert command("review", "small").out == "no picks of small wait for review\n"
    assert (
        "pending: review: 2 to approve, 1 to veto, 1 to add, by " in command("status", "small").out
    )
    return first[1].structure, "Cu3Au"


def _is_as_decided(
    command: Command, store: Path, first: list[Proposal], vetoed: str, added: str
) -> None:
    one, two, three, four = [each for each in proposals(store) if each.round == 1]
    assert [each.state for each in (one, two, three, four)] == [
        State.LINKED,
        State.VETOED,
        State.LINKED,
        State.LINKED,
    ]
    assert (two.structure, two.calculation) == (vetoed, None)
    for each in (one, two, three, four):
        assert each.verdict is not None
        assert (each.verdict["why"], each.verdict["how"]) == ("too costly", "leadline review")
        assert each.verdict["by"]
    assert four.why["share"] == "person"
    assert " asked for it: too costly." in four.why["words"]
    shown = command("show", "small", four.structure[:12]).out
    assert shown.startswith(f"{added} ")
    assert "  review        approved by " in shown
    shown = command("show", "small", vetoed[:12]).out
    assert "  review        vetoed by " in shown
    assert shown.endswith("  not computed: vetoed (too costly)\n")


def test_the_form_in_prefect_decides_and_the_rule_for_silence_may_change_meanwhile(
    leadline: Run,
    command: Command,
    campaign_file: WriteFile,
    store: Path,
    run_script: Run,
    prefect_api: dict[str, str],
) -> None:
    review = {"silence": "veto", "after": "12 h"}
    driver = leadline("run", small(campaign_file, review=review))
    first = until(lambda: waiting(store, 1), driver)
    form = run_script(REVIEW, "small", **prefect_api, LEADLINE_STORE=str(store))
    with process_settings(prefect_api), get_client(sync_client=True) as client:
        page = _paused(client, form)
        _is_an_event(client, first)
        assert all(each.structure[:12] in page for each in first)
        assert "silence vetoes at 20" in page
        _resume(client, {"veto": [{"rank": "7", "why": "no"}]})
        again = until(lambda: _page(client) != page and _page(client), form)
        assert again.startswith("**Not taken: rank '7' names no pick that waits")
        assert all(each.structure[:12] in again for each in first)
        answers = {"approve": ["3"], "veto": [{"rank": "1", "why": "toxic"}], "batch": 2}
        _resume(client, {**answers, "by": "Ada", "why": "by eye"})
    assert "1 approved, 1 vetoed; " in ended(form)
    one, two, three = until(lambda: picks(store, State.VETOED) and proposals(store)[:3], driver)
    assert [each.state for each in (one, two)] == [State.VETOED, State.PROPOSED]
    assert one.verdict is not None
    assert three.verdict is not None
    assert (one.verdict["by"], one.verdict["why"]) == ("Ada", "toxic")
    assert three.verdict["how"] == "the form in Prefect"
    assert campaign_of(store).spec["acquisition"]["batch"] == 2
    said = command("set", "small", "review.silence=approve", "review.after=1 s", "--why", "go on")
    assert "has taken over review = {silence: approve, after: 1 s}" in said.out, said.err
    words = ended(driver)
    assert "1 pick approved by silence, as the spec says" in words
    assert "Stopped: " in words
    assert [len([p for p in proposals(store) if p.round == n]) for n in (1, 2, 3)] == [3, 2, 2]
    second = next(each for each in proposals(store) if each.structure == two.structure)
    assert second.verdict is not None
    assert (second.verdict["by"], second.verdict["how"]) == ("nobody", "review.silence")


def _is_an_event(client: SyncPrefectClient, first: list[Proposal]) -> None:
    """The server tells of these picks; it may have told of others' before."""
    asked = {"filter": {"event": {"name": ["leadline.review.needed"]}}}
    picked = [each.structure for each in first]

    def told() -> list[dict[str, Any]]:
        events = client.request("POST", "/events/filter", json=asked).json()["events"]
        return [each for each in events if _structures(each) == picked]

    assert until(told)[0]["resource"]["leadline.campaign"] == "small"


def _structures(event: dict[str, Any]) -> list[str]:
    return [each["structure"] for each in event["payload"]["picks"]]


def _runs(client: SyncPrefectClient) -> list[FlowRun]:
    named = FlowRunFilter(name=FlowRunFilterName(any_=["review small"]))
    return [each for each in client.read_flow_runs(flow_run_filter=named) if each.state]


def _paused(client: SyncPrefectClient, form: subprocess.Popen[str]) -> str:
    return str(until(lambda: _page(client), form))


def _page(client: SyncPrefectClient) -> str:
    """What the form that a person is shown says first; '' while there is none."""
    (run, *_) = [*_runs(client), None]
    if run is None or run.state is None or not run.state.is_paused():
        return ""
    keyset = run.state.state_details.run_input_keyset
    assert keyset is not None
    # A run pauses before its page is written.
    with suppress(PrefectHTTPStatusError):
        schema = json.loads(client.read_flow_run_input(run.id, keyset["schema"]))
        return str(next(iter(schema["properties"].values()))["description"])
    return ""


def _resume(client: SyncPrefectClient, given: dict[str, Any]) -> None:
    (run,) = _runs(client)
    answer = client.resume_flow_run(run.id, run_input=given)
    assert answer.status == SetStateStatus.ACCEPT, answer
