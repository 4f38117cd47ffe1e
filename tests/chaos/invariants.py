"""What must hold at the end, whatever happened: read from the store, the files and the log."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from plan import BUDGET
from slurm_here import Slurm
from stage import LAST_WORDS, UNKNOWN_JOB, Stage

from leadline.tasks.compute.attempt_files import read_result
from leadline.tasks.compute.batch_systems import CAUSES
from leadline.tasks.compute.dispatcher import LOST_WITH_JOB
from leadline.tasks.store.records import CalculationState as State
from leadline.tasks.store.records import CampaignState
from leadline.tasks.store.store import Store

LEGAL: dict[str, frozenset[str]] = {
    "": frozenset({"queued"}),
    "queued": frozenset({"claimed"}),
    "claimed": frozenset({"running", "done", "failed", "cut", "cancelled"}),
    "running": frozenset({"done", "failed", "cut", "cancelled"}),
    "failed": frozenset({"queued", "quarantined"}),
    "cut": frozenset({"queued", "quarantined"}),
    "cancelled": frozenset({"queued", "quarantined"}),
    "done": frozenset(),
    "quarantined": frozenset(),
}
"""Which state of a calculation may follow which."""
LOST = frozenset({*CAUSES.values(), *LOST_WITH_JOB, "driver-lost", "guardian-lost"})
"""What may be on record of an engine whose job was ended."""
CONVERGED = 1e-5
"""eV within which relaxations agree that take different ways to one minimum."""
Labels = dict[str, tuple[str, float | None]]


def violations(stage: Stage, undisturbed: Labels | None) -> list[str]:
    """Return what is wrong at the end, in words; nothing if all holds."""
    with stage.opened() as store:
        return [
            *stage.faults,
            *_ended(store),
            *_kept(stage, store),
            *_told(store),
            *_committed_once(store),
            *_attempted(stage, store),
            *_explained(stage, store),
            *_one_engine_at_a_time(stage),
            *_nothing_after_an_answer(stage),
            *_labelled(store, undisturbed),
            *_whole(stage),
            *_no_job_left(stage),
            *_no_orphan(stage),
        ]


def labels(store: Store) -> Labels:
    """Return state and energy of each structure that was asked for."""
    proposals = store.proposals("chaos")
    records = store.calculations([each.calculation or "" for each in proposals])
    return {
        each.structure: (str(record.state), record.energy)
        for each in proposals
        for record in [records[each.calculation or ""]]
    }


def _ended(store: Store) -> Iterator[str]:
    campaign = store.campaign("chaos")
    if campaign is None:
        yield "the campaign never began"
        return
    if campaign.state is not CampaignState.STOPPED:
        yield f"the campaign is {campaign.state}: {campaign.reason}"
    if campaign.owner is not None:
        yield f"the lease is left with {campaign.owner}"
    proposals = store.proposals("chaos")
    picks = [each for each in proposals if each.why["share"] != "reference"]
    if len(picks) != BUDGET:
        yield f"{len(picks)} picks, and not {BUDGET}"
    twice = [n for n, times in Counter(each.structure for each in proposals).items() if times > 1]
    if twice:
        yield f"picked more than once: {twice}"
    open_ = [each for each in State if each not in (State.DONE, State.QUARANTINED)]
    yield from (f"{each.id} is left {each.state}" for each in store.by_state(*open_))


def _kept(stage: Stage, store: Store) -> Iterator[str]:
    """Every calculation that was seen finished is kept, with its energy."""
    records = store.calculations(stage.results)
    for calculation, energy in stage.results.items():
        record = records.get(calculation)
        if record is None or record.state is not State.DONE:
            yield f"{calculation} had finished, and is {record and record.state}"
        elif record.energy != energy:
            yield f"{calculation} had finished with {energy}, and says {record.energy}"


def _told(store: Store) -> Iterator[str]:
    """The log of events tells a legal way to the state of each calculation."""
    told: defaultdict[str, list[str]] = defaultdict(list)
    for event in store.events("chaos"):
        kind, _, what = event.kind.partition(".")
        if kind == "calculation":
            told[event.subject].append(what)
    for record in store.by_state(*State):
        way = ["", *told.pop(record.id, [])]
        legal = all(after in LEGAL[before] for before, after in pairwise(way))
        if not legal or way[-1] != record.state:
            yield f"{record.id} is {record.state}, and its events tell {way[1:]}"
    yield from (f"events tell of {each}, which is not there" for each in told)


def _committed_once(store: Store) -> Iterator[str]:
    rounds = store.rounds("chaos")
    if [each.number for each in rounds] != list(range(len(rounds))):
        yield f"rounds are numbered {[each.number for each in rounds]}"
    yield from (
        f"round {each.number} is left {each.state}" for each in rounds if each.state == "open"
    )
    for kind in ("round.committed", "round.assessed"):
        told = Counter(each.subject for each in store.events("chaos") if each.kind == kind)
        if list(told.values()) != [1] * len(rounds):
            yield f"{len(rounds)} rounds, and {kind} is told {dict(told)}"


def _attempted(stage: Stage, store: Store) -> Iterator[str]:
    """Each attempt that took a turn is recorded, and no record speaks of it as under way."""
    records = {each.id: each for each in store.by_state(*State)}
    for _, running in stage.attempts():
        record = records.get(running.calculation)
        if record is None or running.attempt > len(record.attempts):
            yield f"attempt {running.attempt} of {running.calculation} ran, and is not recorded"
    for record in records.values():
        states = [each.state for each in record.attempts]
        if any(each in ("claimed", "running", "done") for each in states[:-1]):
            yield f"{record.id} has attempts {states}"
        for attempt in record.attempts:
            before = attempt.continued_from
            if before is not None and before["attempt"] >= attempt.number:
                yield f"{record.id}: attempt {attempt.number} went on from {before}"


def _explained(stage: Stage, store: Store) -> Iterator[str]:
    """What was lost with a job of the queue says so: it is no trouble of another kind."""
    records = store.calculations(calculation for calculation, _ in stage.lost_jobs)
    for calculation, number in stage.lost_jobs:
        attempts = records[calculation].attempts if calculation in records else ()
        failure = attempts[number - 1].failure if number <= len(attempts) else None
        # An engine that ended in that very moment keeps what it said itself.
        if failure and failure["kind"] == "remote" and failure["reason"] not in LOST:
            yield f"{calculation}: attempt {number} was lost with its job, and says {failure}"


def _one_engine_at_a_time(stage: Stage) -> Iterator[str]:
    """No engine starts while another is alive for the same calculation.

    An engine that is ended before it could say that it starts leaves an end alone,
    and one whose guardian was killed leaves a start alone.
    """
    alive: dict[str, int | None] = {}
    for line in stage.engine_log():
        calculation, attempt = line["calculation"], int(line["attempt"])
        before = alive.get(calculation)
        over = before is None or (calculation, before) in stage.unguarded
        if line["event"] == "start" and not over:
            yield f"{calculation}: attempt {attempt} started while {before} was alive"
        if line["event"] == "end" and not over and before != attempt:
            yield f"{calculation}: attempt {attempt} ended while {before} was alive"
        alive[calculation] = attempt if line["event"] == "start" else None
    for calculation, last in alive.items():
        if last is not None and (calculation, last) not in stage.unguarded:
            yield f"{calculation}: attempt {last} never ended"


def _nothing_after_an_answer(stage: Stage) -> Iterator[str]:
    """No attempt was started after one with a complete result."""
    last: defaultdict[str, int] = defaultdict(int)
    for line in stage.engine_log():
        last[line["calculation"]] = max(last[line["calculation"]], int(line["attempt"]))
    for calculation, latest in last.items():
        for attempt in range(1, latest):
            left = read_result(stage.calculations / calculation, attempt)
            if left is not None and left.complete:
                yield f"{calculation}: attempt {attempt} had finished, and {latest} was started"


def _labelled(store: Store, undisturbed: Labels | None) -> Iterator[str]:
    """The labels are those of an undisturbed run.

    A relaxation that went on from where a lost attempt had come takes another way to the
    same minimum: its energy is the same to what ``fmax`` leaves open.
    """
    found = labels(store)
    if undisturbed is None:
        return
    missing = {each[:8]: undisturbed[each] for each in undisturbed.keys() - found.keys()}
    new = {each[:8]: found[each] for each in found.keys() - undisturbed.keys()}
    room = dict.fromkeys(_continued(store), CONVERGED)
    other = {
        each[:8]: (undisturbed[each], found[each])
        for each in found.keys() & undisturbed.keys()
        if not _agree(found[each], undisturbed[each], room.get(each, 0.0))
    }
    if missing or new or other:
        yield f"other labels than undisturbed: missing {missing}, instead {new}, changed {other}"


def _continued(store: Store) -> Iterator[str]:
    """Give the structures whose answer is that of a relaxation that went on."""
    for record in store.by_state(State.DONE):
        if record.attempts[-1].continued_from is not None:
            yield record.structure


def _agree(one: tuple[str, float | None], other: tuple[str, float | None], room: float) -> bool:
    if one[1] is None or other[1] is None:
        return one == other
    return one[0] == other[0] and abs(one[1] - other[1]) <= room


def _whole(stage: Stage) -> Iterator[str]:
    if stage.database is not None:
        return
    connection = sqlite3.connect(stage.store / "store.sqlite")
    try:
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
    finally:
        connection.close()
    if said != "ok":
        yield f"the store's file is damaged: {said}"


def _no_job_left(stage: Stage) -> Iterator[str]:
    """No job of the campaign waits in the queue, or runs there for nobody.

    A controller that was killed may take a job for running that its node has ended. Of a job
    whose driver was killed as it submitted it nobody knows: its worker finds no driver, and ends.
    """
    if stage.slurm is None:
        return
    left = _left_after(LAST_WORDS, stage.slurm)
    times = {job: at for job, at in stage.slurm.submitted().items() if job in left}
    if all(map(stage.may_be_unknown, times.values())):
        left = _left_after(UNKNOWN_JOB, stage.slurm)
    yield from (f"job {job} is left in the queue, {state}" for job, state in left.items())


def _left_after(seconds: float, slurm: Slurm) -> dict[str, str]:
    deadline = time.monotonic() + seconds
    while (left := _jobs_left(slurm)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _jobs_left(slurm: Slurm) -> dict[str, str]:
    there = slurm.jobs_on_the_node()
    return {job: state for job, state in slurm.jobs().items() if state != "RUNNING" or job in there}


def _no_orphan(stage: Stage) -> Iterator[str]:
    """No engine is alive, and when all workers have ended, no process at all."""
    yield from (f"process {each.pid} computes, for nobody" for each in stage.engines())
    if stage.yard is not None:
        stage.yard.close()
    deadline = time.monotonic() + LAST_WORDS
    while (left := stage.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    yield from (f"process {each.pid} is left: {' '.join(each.cmdline())}" for each in left)
