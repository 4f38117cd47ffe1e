"""The laws of campaigns and of the lease of their driver, on every store."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from sample_records import AWKWARD, kinds

from leadline.tasks.errors import ConflictError, LeaseError, StoreError
from leadline.tasks.store import base
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Campaign, CampaignState, Message
from leadline.tasks.store.store import Store


def test_a_campaign_comes_back_as_it_was_stored(store: Store) -> None:
    made = store.create_campaign(Campaign("cu-au", {"objective": AWKWARD}, packages={"a.b": "1"}))
    assert store.campaign("cu-au") == made
    assert made.server == store.kind
    assert made.created is not None
    assert datetime.now(UTC) - made.created < timedelta(minutes=1)
    assert store.campaign("cu-ag") is None


def test_a_second_campaign_of_a_name_is_refused(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {"n": 1}))
    with pytest.raises(ConflictError, match="there is a campaign cu-au"):
        store.create_campaign(Campaign("cu-au", {"n": 2}))
    assert [each.spec for each in store.campaigns()] == [{"n": 1}]


@pytest.mark.parametrize("name", ["", "Cu", "a/b", "a:b", "-a", "a" * 64, "a\n"])
def test_a_name_that_no_campaign_can_have_is_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="is no name for a campaign"):
        store.create_campaign(Campaign(name, {}))


def test_a_changed_spec_keeps_the_earlier_ones(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {"batch": 5}))
    store.new_spec_version("cu-au", {"batch": 8}, "a larger batch")
    changed = store.new_spec_version("cu-au", {"batch": 9}, "larger still")
    assert store.campaign("cu-au") == changed
    assert changed.spec == {"batch": 9}
    assert [(each["version"], each["spec"]) for each in changed.versions] == [
        (1, {"batch": 5}),
        (2, {"batch": 8}),
    ]


def test_a_change_in_flight_says_who_why_and_how_and_what_holds_over_the_file(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {"batch": 5}))
    said = {"by": "ada", "why": "more nodes", "how": "leadline set"}
    held = {"acquisition.batch": {"value": 8, "file": 5, **said}}
    store.new_spec_version("cu-au", {"batch": 8}, "set", said, held)
    changed = store.new_spec_version("cu-au", {"batch": 8, "seed": 1}, "the file")
    assert store.campaign("cu-au") == changed
    assert changed.in_flight == held
    assert [{key: each.get(key) for key in said} for each in changed.versions] == [
        said,
        {"by": None, "why": None, "how": None},
    ]
    assert store.new_spec_version("cu-au", {"batch": 5}, "back", in_flight={}).in_flight == {}
    assert store.events("cu-au")[1].details == {"reason": "set", **said}


def test_what_is_asked_is_listed_until_it_is_taken_up_each_kind_when_it_is_wanted(
    store: Store,
) -> None:
    setting, stop = (store.send("cu-au", kind, {"n": 1}) for kind in ("setting", "stop"))
    assert store.inbox("cu-au") == [setting, stop]
    taken: list[Message] = []
    store.take_inbox("cu-au", taken.append, kind="stop")
    assert (taken, store.inbox("cu-au")) == ([stop], [setting])
    assert (store.taken_up(stop), store.taken_up(setting)) == (True, False)
    store.take_inbox("cu-au", taken.append)
    assert (taken, store.inbox("cu-au")) == ([stop, setting], [])


def test_the_state_of_a_campaign_is_kept_with_its_reason(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    store.set_campaign_state("cu-au", CampaignState.STOPPED, "40 calculations were made")
    found = store.campaign("cu-au")
    assert found is not None
    assert (found.state, found.reason) == (CampaignState.STOPPED, "40 calculations were made")
    assert kinds(store) == ["campaign.created", "campaign.stopped"]
    with pytest.raises(StoreError, match=r"no campaign ag-au .*there: cu-au"):
        store.set_campaign_state("ag-au", CampaignState.STOPPED, "")


def test_two_drivers_never_hold_one_campaign(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    mine, other = this_process(), this_process()
    store.take_lease("cu-au", mine)
    store.take_lease("cu-au", mine)
    with pytest.raises(LeaseError, match=rf"process {os.getpid()} on .* last beat at 20\d\d"):
        store.take_lease("cu-au", other)
    assert store.beat("cu-au", mine)
    assert not store.beat("cu-au", other)
    store.release_lease("cu-au", other)
    assert store.beat("cu-au", mine)
    store.release_lease("cu-au", mine)
    store.take_lease("cu-au", other)
    assert not store.beat("cu-au", mine)


def test_the_lease_of_a_process_that_is_gone_is_free(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    host, boot, pid, start, token = this_process().split("/")
    for dead in (
        f"{host}/{boot}/{pid}/{float(start) - 9:.2f}/{token}",
        f"{host}/{boot}/{max(psutil.pids()) + 1_000_000}/{start}/{token}",
    ):
        store.take_lease("cu-au", dead)
        store.take_lease("cu-au", this_process())
        found = store.campaign("cu-au")
        assert found is not None
        assert found.owner != dead
        store.release_lease("cu-au", str(found.owner))


def test_a_silent_holder_on_another_host_is_watched_and_then_replaced(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    store.take_lease("cu-au", "elsewhere/boot/1/2.00/x")
    with pytest.raises(LeaseError, match="process 1 on elsewhere"):
        store.take_lease("cu-au", this_process(), stale_after_s=60)
    threading.Event().wait(0.25)
    store.take_lease("cu-au", this_process(), stale_after_s=0.2)


def test_a_holder_whose_clock_is_behind_but_who_beats_keeps_its_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    behind = "elsewhere/boot/1/2.00/x"
    campaigns = store._documents.campaigns
    store.take_lease("cu-au", behind)
    ended = threading.Event()

    def beat() -> None:
        late = base.now() - timedelta(hours=1)
        while not ended.wait(0.02):
            late += timedelta(milliseconds=20)
            store._set(campaigns, {"pk": "cu-au", "owner": behind}, {"heartbeat": late})

    thread = threading.Thread(target=beat)
    thread.start()
    threading.Event().wait(0.1)
    with pytest.raises(LeaseError, match="elsewhere"):
        store.take_lease("cu-au", this_process(), stale_after_s=1)
    ended.set()
    thread.join()
