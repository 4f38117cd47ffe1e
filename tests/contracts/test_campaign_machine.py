"""Campaigns under any order of calls by any drivers, on every store: a model of them beside it.

Only the owner changes a state, a lease is taken once and given back by its owner
alone; what is refused changes nothing, and the events tell all that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from store_machine import StoreMachine, run_machine

from leadline.tasks.errors import ConflictError, LeaseError, StoreError
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Campaign, CampaignState

HERE = this_process()
GONE = HERE.replace(f"/{psutil.Process().pid}/", f"/{max(psutil.pids()) + 1_000_000}/")
OWNERS = (HERE, this_process(), "elsewhere/boot/1/2.00/x", GONE)
"""Two drivers of this process, one of another host that beat just now, and one that is gone."""

names = st.sampled_from(["cu-au", "ag-au"])
owners = st.sampled_from(OWNERS)
states = st.sampled_from(CampaignState)


@dataclass
class Modelled:
    """What is to be known of one campaign."""

    spec: int
    state: CampaignState
    owner: str | None = None
    specs_before: list[int] = field(default_factory=list)
    events: list[str] = field(default_factory=lambda: ["created"])


class Campaigns(StoreMachine):
    """Campaigns, and what they should be."""

    def __init__(self, folder: Path, uri: str | None) -> None:
        super().__init__(folder, uri)
        self.model: dict[str, Modelled] = {}

    @rule(name=names, spec=st.integers(0, 9))
    def create(self, name: str, spec: int) -> None:
        def call() -> None:
            made = self.store.create_campaign(Campaign(name, {"spec": spec}))
            self.model[name] = Modelled(spec, made.state)

        self.unless(ConflictError, name in self.model, call)

    @rule(name=names, owner=owners)
    def take(self, name: str, owner: str) -> None:
        mine = self.model.get(name)

        def call() -> None:
            self.store.take_lease(name, owner)
            assert mine is not None
            mine.owner = owner
            mine.events.append("lease_taken")

        held = mine is not None and mine.owner not in (None, GONE, owner)
        self.unless(LeaseError if held else StoreError, mine is None or held, call)

    @rule(name=names, owner=owners)
    def beat(self, name: str, owner: str) -> None:
        assert self.store.beat(name, owner) == self.owns(name, owner)

    @rule(name=names, owner=owners)
    def release(self, name: str, owner: str) -> None:
        self.store.release_lease(name, owner)
        if self.owns(name, owner):
            self.model[name].owner = None
            self.model[name].events.append("lease_released")

    @rule(name=names, owner=owners, state=states)
    def become(self, name: str, owner: str, state: CampaignState) -> None:
        def call() -> None:
            self.store.set_campaign_state(name, state, "so it is", owner=owner)
            self.model[name].state = state
            self.model[name].events.append(str(state))

        error = LeaseError if name in self.model else StoreError
        self.unless(error, not self.owns(name, owner), call)

    @rule(name=names, spec=st.integers(0, 9))
    def change_spec(self, name: str, spec: int) -> None:
        def call() -> None:
            self.store.new_spec_version(name, {"spec": spec}, "another")
            mine = self.model[name]
            mine.specs_before.append(mine.spec)
            mine.spec = spec
            mine.events.append("spec_changed")

        self.unless(StoreError, name not in self.model, call)

    @invariant()
    def what_is_stored_is_what_the_model_knows(self) -> None:
        stored = {each.name: each for each in self.store.campaigns()}
        assert stored.keys() == self.model.keys()
        for name, mine in self.model.items():
            found = stored[name]
            assert (found.state, found.owner) == (mine.state, mine.owner)
            assert (found.heartbeat is None) == (mine.owner is None)
            assert found.spec == {"spec": mine.spec}
            assert [each["spec"] for each in found.versions] == [
                {"spec": each} for each in mine.specs_before
            ]
            assert [each.kind for each in self.store.events(name)] == [
                f"campaign.{each}" for each in mine.events
            ]

    def owns(self, name: str, owner: str) -> bool:
        return name in self.model and self.model[name].owner == owner

    def unless(self, error: type[Exception], refused: bool, call: Callable[[], None]) -> None:
        """Make a call that is refused by an error, and by none where it is allowed."""
        if not refused:
            call()
            return
        before = self.store.campaigns()
        with pytest.raises(error):
            call()
        assert self.store.campaigns() == before


@pytest.mark.timeout(900)  # to make a failure small takes minutes
@pytest.mark.parametrize("kind", ["embedded", "wire"])
def test_campaigns_obey_their_model(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = str(request.getfixturevalue("wire_uri")) if kind == "wire" else None
    run_machine(Campaigns, tmp_path, uri, examples=15, steps=20)
