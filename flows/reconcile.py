"""What a crash left between Prefect, processes, folders and the store, settled by one table.

Run it by `leadline reconcile`, from Python, or as a Prefect deployment: at any time,
as often as one likes, and beside campaigns that work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from pydantic import Field

from leadline.flows.crashed_runs import crashed_runs
from leadline.flows.person import person
from leadline.flows.prefect_server import prefect_server
from leadline.flows.run_parameters import explained
from leadline.flows.server_register import Lobby
from leadline.flows.store_of import open_for, store_folder
from leadline.tasks.compute.profile import load_profile
from leadline.tasks.errors import (
    ConflictError,
    InputError,
    LeaseError,
    PrefectServerError,
    ProfileError,
    StoreLockedError,
)
from leadline.tasks.reconcile import WATCH_SECONDS, Difference, Reconciler
from leadline.tasks.reconcile_rules import RULES
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.owner import host_of, is_gone, restarted_since
from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import known_campaign

Say = Callable[[str], object]


CampaignName = Annotated[
    str | None, Field(description="the campaign to look at; all of the store without it")
]
Gone = Annotated[
    str | None,
    Field(description="host that you know to be gone: what ran there is cut, and runs again"),
]


@flow(name="reconcile", retries=0, persist_result=False)
@explained
def reconcile(name: CampaignName = None, gone: Gone = None) -> int:
    """Settle what a crash left behind.

    Parameters
    ----------
    name
        The campaign to look at; None takes all of the store.
    gone
        Host that is said to be gone: what ran there is signed off.

    Returns
    -------
    int
        How many differences were settled; each is a line in Prefect's log.
    """
    return reconciled(name, gone, get_run_logger().info)


def reconciled(name: str | None, gone: str | None, say: Say, seconds: float = WATCH_SECONDS) -> int:
    """Settle what a crash left behind, and say so line by line; return how much it was.

    Parameters
    ----------
    name, gone
        As of the flow.
    say
        Told each line.
    seconds
        How long other hosts are watched for a sign of life.

    Raises
    ------
    InputError
        If there is no campaign of that name, or the host is not gone.
    StoreError
        If there is no store, or it cannot be used.
    """
    with _opened(say) as store:
        names = [known_campaign(store, name).name] if name else None
        names = names or [each.name for each in store.campaigns()]
        reconciler = Reconciler(store, _roots(store, say), person(), name=name, gone=gone)
        counts = f"{counted(len(names), 'campaign')}, {counted(reconciler.open, 'calculation')}"
        say(f"{store.kind} in {store.location}: {counts} not ended")
        reconciler.watch(say, seconds)
        settled = _settle(reconciler.differences(), say, act=store.write)
        settled += _settle(_in_prefect(store, names, gone, say), say, act=store.write)
    said = {0: "Nothing was to be settled.", 1: "Settled one difference."}
    if store.write:
        say(said.get(settled, f"Settled {settled} differences."))
    return settled


def retried(wanted: str, why: str) -> str:
    """Put a quarantined calculation into the queue again, and say so.

    Parameters
    ----------
    wanted
        Start of the id of the calculation or of its structure, or a formula.
    why
        For the log.

    Raises
    ------
    InputError
        If no quarantined calculation is meant, or more than one.
    """
    open_for(write=False).close()  # says where there is none, and makes none
    with open_for() as store:
        set_aside = store.by_state(CalculationState.QUARANTINED)
        formulas = {
            each.id: each.formula
            for each in store.structures(r.structure for r in set_aside).values()
        }
        found = [each for each in set_aside if _is_meant(each, formulas, wanted)]
        if len(found) != 1:
            known = [
                f"{formulas.get(each.structure, '')} {each.id[:12]}" for each in found or set_aside
            ]
            what = (
                "more than one quarantined calculation" if found else "no quarantined calculation"
            )
            raise InputError(
                f"{wanted!r} names {what}; there: {', '.join(known) or 'none in quarantine'}. "
                "Name one by the start of its id"
            )
        store.retry(found[0].id, person(), why)
    formula = formulas.get(found[0].structure, "")
    return (
        f"{formula} {found[0].id[:12]} is in the queue again, for one more attempt: "
        "`leadline run` makes it"
    )


def rules_words() -> str:
    """Return the table of rules for a terminal."""
    return "\n\n".join(
        f"{name}\n  when    {rule.difference}\n  proof   {rule.proof}\n  then    {rule.done}"
        for name, rule in RULES.items()
    )


@contextmanager
def _opened(say: Say) -> Iterator[Store]:
    """Open the store for writing, or to look alone where another process holds it."""
    open_for(write=False).close()  # says where there is none, and makes none
    try:
        store = open_for()
    except StoreLockedError as error:
        say(f"{error}. So nothing is changed here, and this is what would be done:")
        store = open_for(write=False)
    with store:
        yield store


def _roots(store: Store, say: Say) -> list[Path]:
    """Return the folders that the profiles of the campaigns name, that of the store first."""
    roots = [store_folder() / "calculations"]
    profiles = {each.spec.get("compute", {}).get("profile", "local") for each in store.campaigns()}
    for name in sorted(profiles):
        try:
            named = load_profile(name).calculations
        except ProfileError as error:
            say(f"profile {name}: its folder of calculations is not known here: {error}")
            continue
        if named and named not in roots:
            roots.append(named)
    return roots


def _settle(differences: Iterable[Difference], say: Say, *, act: bool) -> int:
    settled = 0
    for each in differences:
        line, done = f"{each.subject}: {each.found}", RULES[each.rule].done
        if each.settle is None or not act:
            say(f"{line}; {done}")
            continue
        try:
            each.settle()
        except (ConflictError, LeaseError):
            say(f"{line}; another process settled it meanwhile")
            continue
        except PrefectServerError as error:
            say(f"{line}; that could not be settled: {error}")
            continue
        settled += 1
        say(f"{line}; {done}")
    return settled


def _in_prefect(
    store: Store, names: Iterable[str], gone: str | None, say: Say
) -> Iterator[Difference]:
    """Yield what Prefect does not know; a server that is away is said, and does no harm."""
    if not PREFECT_API_URL.value() and not Lobby(PREFECT_HOME.value()).has_server:
        say("Prefect: no server runs on this host, so its record was not looked at")
        return

    def is_dead(owner: str) -> bool:
        by_word = gone is not None and host_of(owner) == gone
        return by_word or (is_gone(owner) and not restarted_since(owner))

    try:
        with prefect_server():
            yield from crashed_runs(store, names, is_dead)
    except PrefectServerError as error:
        say(f"Prefect: {error}")
    except Exception as error:  # whatever the network or a broken server does
        logging.getLogger(__name__).debug("while asking Prefect", exc_info=True)
        say(f"Prefect: its record was not settled: {type(error).__name__}: {error}")


def _is_meant(record: Calculation, formulas: dict[str, str], wanted: str) -> bool:
    by_id = record.id.startswith(wanted) or record.structure.startswith(wanted)
    return formulas.get(record.structure) == wanted or (len(wanted) >= 4 and by_id)
