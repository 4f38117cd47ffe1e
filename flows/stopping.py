"""A run that a person ends from elsewhere: `leadline cancel`, on whatever host it works."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from leadline.flows.asking import HEARD_S, by_whom, said, wait_until_taken_up
from leadline.flows.store_of import open_for
from leadline.flows.watching import Watcher
from leadline.tasks.compute.attempt_files import ask_to_stop
from leadline.tasks.errors import InputError
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.owner import in_words, is_gone
from leadline.tasks.store.records import CalculationState, Campaign, Message
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import known_campaign

STOP = "stop"
"""Kind of the message; its payload: ``owner`` (of the lease), ``now``, and who asks, why, how."""
ENDING_S = 60.0
"""How long a driver that has heard is waited for: its engines are gone within ten seconds."""

Say = Callable[[str], object]


def obey(message: Message, owner: str, watcher: Watcher) -> None:
    """Let a run stop that a message is meant for; one for an earlier run says nothing to this."""
    if message.payload["owner"] != owner:
        return
    if message.payload["now"]:
        if not watcher.stop_now:
            watcher.note(f"cancelled by {by_whom(message)}; ending what runs")
        watcher.cancel(f"by {by_whom(message)}")
    else:
        if not watcher.stop_requested:
            watcher.note(f"asked to rest by {by_whom(message)}; finishing what runs")
        watcher.rest(f"asked to rest by {by_whom(message)}")


def cancel(name: str, why: str, *, rest: bool, say: Say) -> None:
    """End the run that works on a campaign, wherever it does.

    Parameters
    ----------
    name
        The campaign.
    why
        For the record.
    rest
        Whether what runs is finished first, and only nothing more is started.
    say
        Told each line.

    Raises
    ------
    InputError
        If there is no such campaign, or nothing to end.
    """
    with open_for(write=False) as store:
        campaign = known_campaign(store, name)
        driver = campaign.owner
        if driver is None or is_gone(driver):
            say(_without_driver(store, campaign))
            return
        payload = {"owner": driver, "now": not rest, **said(why, "leadline cancel")}
        message = store.send(name, STOP, payload)
        if not wait_until_taken_up(store, message):
            say(
                f"asked {in_words(driver)} to stop, and it has not answered within {HEARD_S:.0f} "
                "s. It obeys as soon as it does; the message holds for this run alone"
            )
        elif rest:
            say(f"{in_words(driver)} finishes what runs, and starts nothing more")
        else:
            say(_ended(store, name, driver))


def _ended(store: Store, name: str, driver: str) -> str:
    deadline = time.monotonic() + ENDING_S
    while (now := known_campaign(store, name)).owner == driver:
        if time.monotonic() > deadline:
            return f"{in_words(driver)} has heard it, and is still ending what runs"
        time.sleep(0.2)
    return (
        f"{name} is {now.state}: {now.reason} What was finished is kept; `leadline run` carries "
        "it on"
    )


def _without_driver(store: Store, campaign: Campaign) -> str:
    """Ask engines to stop that went on without their driver; say how many were asked."""
    started = (CalculationState.CLAIMED, CalculationState.RUNNING)
    alone = [each for each in store.by_state(*started) if each.campaign == campaign.name]
    asked = 0
    for each in alone:
        folder = Path(str(each.attempts[-1].where.get("folder", "")))
        if folder.is_dir():
            ask_to_stop(folder, len(each.attempts))
            asked += 1
    if not asked:
        raise InputError(
            f"no run works on campaign {campaign.name!r}, which is {campaign.state} "
            f"({campaign.reason or 'it was never run'}): there is nothing to cancel"
        )
    return (
        f"no run works on {campaign.name}; {counted(asked, 'engine')} that may go on without one "
        "were asked to stop, and the next run records how they ended"
    )
