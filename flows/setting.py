"""`leadline set`: a key of a campaign that runs, changed by a message to its driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from leadline.flows.asking import by_whom, said, wait_until_taken_up
from leadline.flows.in_flight import changed_words, readable, set_over, value_of, with_changes
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import key_and_value, spec_from
from leadline.flows.store_of import open_for
from leadline.tasks.errors import SpecError
from leadline.tasks.store.owner import in_words, is_gone
from leadline.tasks.store.records import Campaign, Message
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import known_campaign

SETTING = "setting"
"""Kind of the message; its payload: ``changes`` by key, and who asks, why and how."""


def change(name: str, changes: Sequence[str], why: str) -> str:
    """Ask for changes that were written as ``key=value``; return what became of it, in words.

    Raises
    ------
    InputError
        If there is no such campaign, a key may not change, or a value is not allowed.
    """
    if not changes:
        raise SpecError("nothing to set; write key=value, e.g. stop.calculations=50")
    asked = dict(key_and_value(each) for each in changes)
    return ask_for(name, asked, said(why, "leadline set"))


def ask_for(name: str, changes: Mapping[str, Any], who: Mapping[str, str]) -> str:
    """Ask for changes by key; see :func:`change`."""
    with open_for(write=False) as store:
        campaign = known_campaign(store, name)
        waiting = [each for each in store.inbox(name) if each.kind == SETTING]
        before = spec_from(_after(campaign, waiting).spec, f"campaign {name}")
        after = with_changes(before, changes)
        if after == before:
            return f"{name} has that already: {changed_words(changes)}"
        message = store.send(name, SETTING, {"changes": dict(changes), **who})
        keys = {"review" if key.startswith("review.") else key for key in changes}
        words = changed_words({key: value_of(after, key) for key in sorted(keys)})
        if campaign.owner is None or is_gone(campaign.owner):
            return f"no run works on {name}: the next takes over {words}"
        if wait_until_taken_up(store, message):
            return f"{in_words(campaign.owner)} has taken over {words}"
        return f"{in_words(campaign.owner)} is busy, and takes over {words} after this step"


def take_over(store: Store, message: Message) -> str:
    """Put in force what a message asks; return it in words, '' where it is so already.

    Raises
    ------
    SpecError
        If it is not allowed.
    """
    campaign = known_campaign(store, message.campaign)
    changes = readable(message.payload["changes"])
    who = {key: str(message.payload.get(key, "")) for key in ("by", "why", "how")}
    at = f"{message.sent:%Y-%m-%d %H:%M} UTC"
    after, in_flight = set_over(campaign, changes, who, at)
    if after == CampaignSpec.model_validate(campaign.spec):
        return ""
    words, plain = changed_words(changes), after.model_dump(mode="json")
    store.new_spec_version(message.campaign, plain, f"set: {words}", who, in_flight)
    return f"{words}, set by {by_whom(message)}"


def _after(campaign: Campaign, waiting: Sequence[Message]) -> Campaign:
    """Return a campaign as it will be once what waits is taken over."""
    for each in waiting:
        spec, in_flight = set_over(campaign, each.payload["changes"], {"by": "", "why": ""}, "")
        campaign = replace(campaign, spec=spec.model_dump(mode="json"), in_flight=in_flight)
    return campaign
