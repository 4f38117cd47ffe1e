"""What a crash left between the store, the folders and the processes of this host.

Each difference is found with its proof and settled by the rule that bears its name.
What a driver works on that is not proved gone is left to that driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.compute.attempt import Standing, State, Watch, give_up, orphans, take_over
from leadline.tasks.compute.attempt_files import HEARTBEAT_SECONDS, calculation_folder, sign_off
from leadline.tasks.compute.batch_job import submitted
from leadline.tasks.compute.processes import kill, marks
from leadline.tasks.errors import ComputeError, ConflictError, InputError
from leadline.tasks.judge import Judge
from leadline.tasks.notebook import Notebook
from leadline.tasks.recipes.table import recipe
from leadline.tasks.store.base import now
from leadline.tasks.store.owner import (
    host_of,
    in_words,
    is_alive,
    is_gone,
    restarted_since,
    this_process,
)
from leadline.tasks.store.records import Calculation, CalculationState, Campaign, CampaignState
from leadline.tasks.store.store import Store
from leadline.tasks.taking_in import lost_with_driver, take_in

WATCH_SECONDS = 2 * HEARTBEAT_SECONDS
"""How long counters on other hosts are watched: a living one rises in that time."""
SILENT_SECONDS = 60.0
"""Age of a last beat after which a driver is called silent."""
LATE = "its answer came late"
STARTED = (CalculationState.CLAIMED, CalculationState.RUNNING)
OPEN = tuple(each for each in CalculationState if each is not CalculationState.DONE)


@dataclass(frozen=True)
class Difference:
    """One thing that does not agree.

    Parameters
    ----------
    rule
        Its name in ``RULES``.
    subject, found
        What it is about, and what was seen, for a person.
    settle
        Does what the rule says; None where nothing is to be done. Raises
        ConflictError or LeaseError if another process was first.
    """

    rule: str
    subject: str
    found: str
    settle: Callable[[], object] | None = None


class Reconciler:
    """Looks for what does not agree.

    Parameters
    ----------
    store
        The store; one that was opened for reading finds, and cannot settle.
    roots
        Folders in which calculations may lie.
    by
        Who asks, for what is written about it.
    name
        The campaign to look at; None takes all.
    gone
        Host that ``by`` says is gone.
    """

    def __init__(
        self,
        store: Store,
        roots: Sequence[Path],
        by: str,
        *,
        name: str | None = None,
        gone: str | None = None,
    ) -> None:
        self.store, self.roots, self.by, self.name, self.gone = store, roots, by, name, gone
        self._watch = Watch()
        self._judges: dict[str, tuple[Judge, Notebook]] = {}
        driven = [each for each in store.campaigns() if each.owner and not self._is_dead(each)]
        self._busy = {id_ for one in driven for id_ in self._asked(one.name)}
        self._records = {each.id: each for each in self._read()}

    @property
    def open(self) -> int:
        """How many calculations have not ended."""
        return len(self._records)

    def watch(self, say: Callable[[str], object], seconds: float = WATCH_SECONDS) -> None:
        """See whether anything moves on other hosts, where it is not known.

        Raises
        ------
        InputError
            If the host that is said to be gone is not.
        """
        looks = self._looks()
        unknown = {
            each.running.host
            for each in looks.values()
            if each.running and each.state is State.UNKNOWN and not each.orphans
        }
        if not (unknown or self.gone):
            return
        before = {each.name: each.heartbeat for each in self.store.campaigns()}
        hosts = ", ".join(sorted(unknown | ({self.gone} if self.gone else set())))
        say(f"watching for {seconds:.0f} s whether anything moves on {hosts}")
        time.sleep(seconds)
        looks = self._looks()
        if self.gone:
            moving = self._moving(looks, before)
            if moving:
                raise InputError(
                    f"{self.gone} is not gone: {moving}. End it there, or wait for it; "
                    "nothing was changed"
                )

    def differences(self) -> Iterator[Difference]:
        """Yield each difference; settle one before the next is asked for."""
        for campaign in self.store.campaigns():
            if self.name in (None, campaign.name):
                yield from self._campaign(campaign)
        yield from self._left_behind()
        for record in self._records.values():
            yield from self._calculation(record)

    def _read(self) -> list[Calculation]:
        if self.name is None:
            return self.store.by_state(*OPEN)
        found = self._asked(self.name).values()
        return [each for each in found if each.state in OPEN]

    def _asked(self, campaign: str) -> dict[str, Calculation]:
        """Return what a campaign asked for, remedies of the physics included, by id."""
        linked = (each.calculation for each in self.store.proposals(campaign) if each.calculation)
        own = self.store.calculations(linked)
        named = [each.remedy["calculation"] for each in own.values() if each.remedy]
        return {**own, **self.store.calculations(named)}

    def _is_dead(self, campaign: Campaign) -> bool:
        owner = campaign.owner or ""
        if self.gone is not None and host_of(owner) == self.gone:
            return True
        # Another boot may be that of a namesake of this host, which beats.
        return is_gone(owner) and (not restarted_since(owner) or _is_silent(campaign))

    def _looks(self) -> dict[str, Standing]:
        found = {}
        for each in self._records:
            folder = self._folder(each)
            if (folder / "turns").exists():
                try:
                    found[each] = self._watch.look(folder)
                except ComputeError:  # told with the differences
                    continue
        return found

    def _moving(self, looks: Mapping[str, Standing], before: Mapping[str, datetime | None]) -> str:
        """Return what was seen to live on the host that is said to be gone, or ''."""
        for each in looks.values():
            if each.running and each.running.host == self.gone and each.state is State.ALIVE:
                return each.why
        for campaign in self.store.campaigns():
            owner = campaign.owner or ""
            beats = before.get(campaign.name) != campaign.heartbeat
            if host_of(owner) == self.gone and (is_alive(owner) or beats):
                return f"{in_words(owner)} drives campaign {campaign.name}"
        return ""

    def _campaign(self, campaign: Campaign) -> Iterator[Difference]:
        subject, owner = f"campaign {campaign.name}", campaign.owner
        if owner is None:
            return
        who = f"its driver, {in_words(owner)}"
        if self._is_dead(campaign):
            rest = partial(self._rest, campaign, owner)
            yield Difference("dead-driver", subject, f"{who}, is gone", rest)
        elif not is_alive(owner) and _is_silent(campaign):
            yield Difference("silent-driver", subject, f"{who}, last beat {campaign.heartbeat}")

    def _rest(self, campaign: Campaign, owner: str) -> None:
        with self.store.step():
            if campaign.state is CampaignState.RUNNING:
                reason = f"its driver, {in_words(owner)}, is gone; `leadline run` carries it on"
                resting = CampaignState.RESTING
                self.store.set_campaign_state(campaign.name, resting, reason, owner=owner)
            self.store.release_lease(campaign.name, owner)

    def _left_behind(self) -> Iterator[Difference]:
        """Find engines on this host without a guardian, whatever the store says of them."""
        for mark in sorted(marks()):
            id_, _, attempt = mark.partition("/")
            if id_ in self._busy or not (id_.isalnum() and attempt.isdigit()):
                continue
            try:
                found = orphans(self._folder(id_), int(attempt))
            except ComputeError:  # told with the calculation
                continue
            if found:
                pids = ", ".join(str(each.pid) for each in found)
                words = f"attempt {attempt} lost its guardian and left processes {pids}"
                subject = f"calculation {id_[:12]}"
                yield Difference("orphan", subject, words, partial(kill, found))

    def _calculation(self, record: Calculation) -> Iterator[Difference]:
        folder, subject = self._folder(record.id), self._subject(record)
        started = record.state in STARTED
        if started and is_alive(record.attempts[-1].owner):
            return
        try:
            standing = self._watch.look(folder)
        except ComputeError as error:
            yield Difference("unreadable", subject, str(error))
            return
        if record.id in self._busy:
            yield from self._of_gone_host(record, standing)
            return
        if standing.orphans and self.store.write:
            standing = take_over(folder, self._watch)
        if standing.state is State.FINISHED and standing.result:
            settle = partial(self._keep, record, standing.result)
            yield Difference("answer", subject, standing.why, settle)
        elif standing.state is State.ALIVE:
            yield Difference("alive", subject, standing.why)
        elif standing.state is State.UNKNOWN:
            yield from self._of_unknown_end(record, standing)
        elif started:
            yield from self._over(record, standing)

    def _keep(self, record: Calculation, result: Result) -> None:
        """Record an answer; of an attempt that was given up, as a further one."""
        store, number = self.store, len(record.attempts)
        with store.step():
            if record.state not in STARTED:
                if record.state is CalculationState.QUARANTINED:
                    store.retry(record.id, self.by, LATE)
                elif record.state is not CalculationState.QUEUED:
                    store.requeue(record.id)
                campaign = record.campaign
                claimed = store.claim(record.id, this_process(), reason=LATE, campaign=campaign)
                if claimed is None:
                    raise ConflictError(f"another driver has claimed calculation {record.id}")
                number = claimed.number
            take_in(store, self._judge(record), record, number, result)

    def _of_unknown_end(self, record: Calculation, standing: Standing) -> Iterator[Difference]:
        if standing.running and standing.running.host == self.gone:
            yield from self._of_gone_host(record, standing)
        elif not standing.orphans:
            yield Difference("unknown", self._subject(record), standing.why)

    def _of_gone_host(self, record: Calculation, standing: Standing) -> Iterator[Difference]:
        ran = standing.running
        if ran is None or ran.host != self.gone or standing.state is not State.UNKNOWN:
            return
        words = f"attempt {ran.attempt} was started by process {ran.pid} on {ran.host}"
        settle = partial(self._give_up, record, ran.attempt)
        yield Difference("gone-host", self._subject(record), words, settle)

    def _give_up(self, record: Calculation, attempt: int) -> None:
        """Sign an attempt off; a living driver sees that for itself."""
        words = f"{self.by} said that {self.gone} is gone"
        sign_off(self._folder(record.id), attempt, words)
        if record.state in STARTED and record.id not in self._busy:
            self._cut(record, "host-gone", words)

    def _over(self, record: Calculation, standing: Standing) -> Iterator[Difference]:
        """Find the end of a claimed attempt of which nothing is alive."""
        subject, attempt, left = self._subject(record), record.attempts[-1], standing.result
        why = f"its driver ended: {standing.why}"
        if left is not None and left.attempt == attempt.number:
            judge = self._judge(record)
            told = lost_with_driver(left, attempt.owner)
            settle = partial(take_in, self.store, judge, record, attempt.number, told)
            reason = left.failure.reason if left.failure else "unconverged"
            yield Difference("over", subject, f"attempt {attempt.number} ended: {reason}", settle)
        elif attempt.number in standing.attempts:
            cut = partial(self._cut, record, "driver-lost", why)
            yield Difference("over", subject, standing.why, cut)
        elif self._waits_in_a_queue(record):
            sent = submitted(self._folder(record.id), attempt.number)
            assert sent is not None
            yield Difference("queued", subject, f"it is {sent.system}'s batch job {sent.job}")
        elif is_gone(attempt.owner) or host_of(attempt.owner) == self.gone:
            found = f"attempt {attempt.number} was claimed by {in_words(attempt.owner)}"
            give_up = partial(self._give_up_claim, record, why)
            yield Difference("never-started", subject, found, give_up)
        else:
            found = f"attempt {attempt.number} was claimed by {in_words(attempt.owner)}"
            yield Difference("unknown", subject, found)

    def _waits_in_a_queue(self, record: Calculation) -> bool:
        attempt = record.attempts[-1]
        given_up = host_of(attempt.owner) == self.gone
        return not given_up and submitted(self._folder(record.id), attempt.number) is not None

    def _cut(self, record: Calculation, reason: str, words: str) -> None:
        failure = Failure(FailureKind.REMOTE, reason, words)
        self.store.fail(record.id, len(record.attempts), failure, CalculationState.CUT)

    def _give_up_claim(self, record: Calculation, words: str) -> None:
        """Cut an attempt that did not start; a batch job of which we never knew is to start none.

        A folder that is not there is on a disk of another machine.
        """
        folder = self._folder(record.id)
        if folder.parent.is_dir():
            give_up(folder, record.attempts[-1].number)
        self._cut(record, "not-started", words)

    def _judge(self, record: Calculation) -> Judge | None:
        """Return what knows the phases of a calculation's campaign; None where it is to be none."""
        if not recipe(record.recipe["name"], record.recipe["settings"]).relaxes_cell:
            return None
        if record.campaign not in self._judges:
            book = Notebook.read(self.store, record.campaign)
            judge = Judge(self.store)
            judge.remembers(book.answers)
            self._judges[record.campaign] = judge, book
        judge, book = self._judges[record.campaign]
        return None if book.is_apart(record) else judge

    def _folder(self, calculation: str) -> Path:
        record = self._records.get(calculation)
        said = [each.where.get("folder") for each in record.attempts] if record else []
        folders = [Path(each) for each in reversed(said) if each]
        folders += [calculation_folder(root, calculation) for root in self.roots]
        return next((each for each in folders if (each / "turns").exists()), folders[0])

    def _subject(self, record: Calculation) -> str:
        structure = self.store.structure(record.structure)
        return f"{structure.formula if structure else 'calculation'} {record.id[:12]}"


def _is_silent(campaign: Campaign) -> bool:
    beat = campaign.heartbeat
    return beat is None or (now() - beat).total_seconds() > SILENT_SECONDS
