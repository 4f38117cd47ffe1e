"""The embedded store killed between any two writes: a step is there whole, or not at all.

The process at work is stopped before each system call that writes, and what stands
then is copied: that is what SIGKILL there would leave. Each copy is opened again.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.store.records import (
    Calculation,
    CalculationState,
    Campaign,
    CampaignState,
    Proposal,
    ProposalState,
    Round,
    StructureRecord,
    SurrogateRecord,
)
from leadline.tasks.store.rows import FILE
from leadline.tasks.store.store import Store, open_store

if TYPE_CHECKING:
    from tests.tasks.store.conftest import Cut, Cuts

NAME = "cu-au"
DRIVER = "a driver"
PICKS = range(3)
LOST = Failure(FailureKind.REMOTE, "worker-lost", "the worker went away")
PHYSICS = Failure(FailureKind.PHYSICS, "scf-not-converged", "it did not converge")
ANSWER = Result("c0", 1, True, energy=-3.72, forces=[[0.0, 0.1, 0.2]], properties={"volume": 11.8})
Step = Callable[[Store], object]


def commit_round(store: Store) -> None:
    plain = {"lattice": [[4.0, 0.0, 0.0]], "species": ["Cu"], "coords": [[0.0, 0.0, 0.0]]}
    structures = [
        StructureRecord(f"s{k}", plain, "Cu", "Cu", 1, "Fm-3m", {"source": "files"}) for k in PICKS
    ]
    proposals = [Proposal(NAME, 0, rank, f"s{rank}", {"mean": -0.1}) for rank in PICKS]
    model = SurrogateRecord(NAME, 0, {"noise": 1e-6}, "digest", 10, {"rmse": 0.1})
    store.commit_round(Round(NAME, 0, {"pool": 9}), proposals, structures, model)


def queue(store: Store) -> None:
    """Queue the calculations of a round and link its picks: one step, as the loop does it."""
    wanted = [Calculation(f"c{k}", f"s{k}", {}, {}, "f", campaign=NAME) for k in PICKS]
    with store.step():
        for rank, each in enumerate(store.ensure_calculations(wanted)):
            store.set_proposal(NAME, 0, rank, ProposalState.LINKED, calculation=each.id)


def finish(store: Store) -> None:
    with store.step():
        store.relate("s0", relaxed_to="s1")
        store.finish("c0", 1, ANSWER)


FIRST: list[Step] = [
    lambda store: store.create_campaign(Campaign(NAME, {"batch": 5})),
    lambda store: store.take_lease(NAME, DRIVER),
    commit_round,
    queue,
    lambda store: store.claim("c0", DRIVER, campaign=NAME),
    lambda store: store.start("c0", 1, {"host": "node1"}),
    finish,
    lambda store: store.claim("c1", DRIVER, {"mixing.beta": 0.3}, "slower", campaign=NAME),
]
SECOND: list[Step] = [
    lambda store: store.fail("c1", 1, PHYSICS, CalculationState.FAILED),
    lambda store: store.quarantine("c1", "physics"),
    lambda store: store.claim("c2", DRIVER, campaign=NAME),
    lambda store: store.fail("c2", 1, LOST, CalculationState.CUT),
    lambda store: store.requeue("c2"),
    lambda store: store.send(NAME, "stop", {"why": "enough"}),
    lambda store: store.take_inbox(
        NAME, lambda asked: store.log(NAME, "applied", asked.kind, asked.payload)
    ),
    lambda store: store.new_spec_version(NAME, {"batch": 8}, "larger"),
    lambda store: store.update_round(NAME, 0, state="assessed", metrics={"rmse": 0.2}),
    lambda store: store.beat(NAME, DRIVER),
    lambda store: store.set_campaign_state(NAME, CampaignState.RESTING, "by hand"),
    lambda store: store.release_lease(NAME, DRIVER),
]
STEPS = [*FIRST, *SECOND]


def campaign(folder: str) -> None:
    """Take all steps, in two runs of a driver; say what is stored after each."""
    for steps in (FIRST, SECOND):
        with open_store(directory=Path(folder)) as store:
            say(everything(store))
            for step in steps:
                step(store)
                say(everything(store))


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def everything(store: Store) -> str:
    """All records as one line."""
    documents = store._documents
    return repr(
        (
            store.campaigns(),
            store.rounds(NAME),
            store.proposals(NAME),
            store.structures_of(),
            store.by_state(*CalculationState),
            store.surrogate(NAME, 0),
            store.events(NAME),
            [(each.id, each.owner) for each in documents.leases.objects.order_by("pk")],
            [(each.id, each.payload) for each in documents.inbox.objects.order_by("pk")],
        )
    )


def outline(store: Store) -> list[object]:
    """What does not depend on when it was done."""
    return [
        [(each.state, each.spec, len(each.versions), each.owner) for each in store.campaigns()],
        [(each.number, each.state) for each in store.rounds(NAME)],
        [(each.rank, each.state, each.calculation) for each in store.proposals(NAME)],
        [
            (each.id, each.state, each.energy, [attempt.state for attempt in each.attempts])
            for each in store.by_state(*CalculationState)
        ],
        [(each.kind, "" if "inbox" in each.kind else each.subject) for each in store.events(NAME)],
    ]


def check_that_states_and_events_agree(store: Store) -> None:
    events = store.events(NAME)
    for each in store.by_state(*CalculationState):
        kinds = [event.kind for event in events if event.subject == each.id]
        assert kinds[-1] == f"calculation.{each.state}"
        assert kinds.count("calculation.claimed") == len(each.attempts)
    rounds = [event.subject for event in events if event.kind == "round.committed"]
    assert len(rounds) == len(store.rounds(NAME))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_step_cut_at_any_write_is_there_whole_or_not_at_all(cuts: Cuts, tmp_path: Path) -> None:
    folder, said = tmp_path / "store", tmp_path / "said"
    folder.mkdir()
    found: list[tuple[Cut, str]] = []
    kept: dict[str, Path] = {}
    for number, cut in enumerate(cuts(__file__, "campaign", folder, said)):
        copy = shutil.copytree(cut.folder, tmp_path / f"kept-{number}")
        state = reopened(cut.folder)
        found.append((cut, state))
        if kept.setdefault(state, copy) != copy:
            shutil.rmtree(copy)
    lines = said.read_text().splitlines()
    assert len(lines) == len(STEPS) + 2
    for cut, state in found:
        allowed = lines[max(cut.said - 1, 0) : cut.said + 1]
        assert state in allowed, f"after {cut.said} lines, {cut.before} cut off: {state}"
    assert len(found) > 5 * len(STEPS)
    assert kept.keys() == {*lines}
    check_that_each_is_carried_on(lines, kept)


def reopened(folder: Path) -> str:
    """Open the store as a reader and as the next writer, and return what both see."""
    seen = None
    if (folder / FILE).exists():
        with open_store(directory=folder, write=False) as reader:
            seen = everything(reader)
    with open_store(directory=folder, self_test=False) as store:
        state = everything(store)
        check_that_states_and_events_agree(store)
    assert seen in (None, state)
    assert not list(folder.glob("*.new*"))
    return state


def check_that_each_is_carried_on(lines: list[str], kept: dict[str, Path]) -> None:
    """From wherever the first driver was killed, the next one comes to the same end."""
    states = list(dict.fromkeys(lines))
    ends = []
    for taken, state in enumerate(states):
        with open_store(directory=kept[state], self_test=False) as store:
            for step in STEPS[taken:]:
                step(store)
            ends.append(outline(store))
    assert ends == [ends[-1]] * len(states)
