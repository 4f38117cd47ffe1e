"""`leadline watch`: a campaign in a terminal, live, from the store alone.

Any process may look on while a driver works: nothing here asks Prefect, or writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from leadline.flows.lab_book import closing, opening, result
from leadline.flows.progress import Progress, ProgressDisplay, best_words, name_of
from leadline.flows.store_of import open_for
from leadline.flows.verdicts import waiting_among
from leadline.tasks.meaning import Meaning, meaning
from leadline.tasks.report.formatting import formula
from leadline.tasks.report.summary import sentence
from leadline.tasks.store.owner import in_words
from leadline.tasks.store.records import CalculationState as State
from leadline.tasks.store.records import CampaignState, Event, Proposal
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import CampaignReader, is_driven, known_campaign

LOOK_S = 2.0
"""Seconds between two looks at the store at least."""
BEGAN = f"campaign.{CampaignState.RUNNING}"
"""Kind of the event with which a run begins to work."""
SHARE = 0.1
"""Of its time, what looking may take: a large campaign is looked at less often."""


def watch(name: str, say: Callable[[str], object]) -> None:
    """Show a campaign until its run ends, or Ctrl-C; then say how it stands.

    Raises
    ------
    InputError
        If the store holds no campaign of that name; the message lists those it holds.
    """
    with open_for(write=False) as store:
        known_campaign(store, name)
        onlooker = Onlooker(store, name)
        try:
            with ProgressDisplay() as display:
                for now, lines in onlooker.looks():
                    for line in lines:
                        display.note(line)
                    display.show(now)
        except KeyboardInterrupt:
            pass
        say(onlooker.standing())


class Onlooker:
    """Looks at a campaign again and again, and tells what is new.

    Parameters
    ----------
    store, name
        Where it is.
    pause
        Waits so many seconds between two looks.
    """

    def __init__(
        self, store: Store, name: str, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._store, self._name, self._pause = store, name, pause
        self._reader = CampaignReader.of(store, name)
        self._meaning: Meaning | None = None
        self._last: Event | None = None
        self._began: datetime | None = None
        self._answered: set[tuple[int, int]] = set()
        self._opened: set[int] = set()
        self._closed: set[int] = set()
        self._aside: set[str] = set()

    def looks(self) -> Iterator[tuple[Progress, list[str]]]:
        """Yield how far the campaign is, with lines of what is new, until its run ends."""
        self._has_news()
        self._news()  # of what was before, the first picture says enough
        yield self._progress(), []
        while self._is_driven():
            began = time.monotonic()
            if self._has_news():
                lines = self._news()
                yield self._progress(), lines
            self._pause(max(LOOK_S, (time.monotonic() - began) / SHARE))
        if self._has_news():
            lines = self._news()
            yield self._progress(), lines

    def standing(self) -> str:
        """Return how the campaign stands, in a sentence."""
        campaign = known_campaign(self._store, self._name)
        if is_driven(campaign):
            return f"{self._name} goes on, driven by {in_words(str(campaign.owner))}."
        if campaign.state is CampaignState.RUNNING:
            return f"{self._name}: its run was killed; `leadline run` carries it on."
        return f"{self._name}: {campaign.state}. {sentence(campaign.reason)}".rstrip()

    def _is_driven(self) -> bool:
        return is_driven(known_campaign(self._store, self._name))

    def _has_news(self) -> bool:
        new = self._store.events(self._name, after=self._last)
        for each in new:
            self._last = each
            self._began = each.time if each.kind == BEGAN else self._began
        return bool(new)

    def _news(self) -> list[str]:
        """Read the campaign anew, and return lines of what it did since the last time."""
        reader = self._reader = self._reader.again()
        lines = [*self._rounds_opened(), *self._answers(), *self._set_aside()]
        self._meaning = meaning(reader.problem, reader.elements)
        self._meaning.learn(reader.assessment, reader.book.answers)
        return [*lines, *self._rounds_closed()]

    def _rounds_opened(self) -> Iterator[str]:
        book = self._reader.book
        for each in self._reader.rounds:
            if each.number not in self._opened:
                self._opened.add(each.number)
                picks = [pick for pick in book.proposals if pick.round == each.number]
                yield from opening(each.number, picks, book.structures).splitlines()

    def _answers(self) -> Iterator[str]:
        """Yield what came back, in the order in which it ended."""
        book = self._reader.book
        new = [
            each
            for each in book.proposals
            if (each.round, each.rank) not in self._answered and book.answer_of(each)
        ]
        for each in sorted(new, key=self._end_of):
            self._answered.add((each.round, each.rank))
            answer = book.answer_of(each)
            if answer is not None and self._meaning is not None:
                yield result(answer, self._meaning.of(answer), each.why)

    def _end_of(self, proposal: Proposal) -> float:
        record = self._reader.book.calculations.get(proposal.calculation or "")
        return float(record.times.get("end", 0.0)) if record else 0.0

    def _set_aside(self) -> Iterator[str]:
        book = self._reader.book
        for id, each in book.calculations.items():
            if each.state is State.QUARANTINED and id not in self._aside:
                self._aside.add(id)
                failure: Mapping[str, Any] = each.attempts[-1].failure or {}
                name = formula(book.structures[each.structure].formula)
                why = f"{failure.get('reason', '')}: {failure.get('message', '')}"
                yield f"{name} {each.structure[:8]}: quarantined: {why}"

    def _rounds_closed(self) -> Iterator[str]:
        budget = self._reader.campaign.spec["stop"].get("calculations")
        for each in self._reader.rounds:
            if each.state == "assessed" and each.number not in self._closed:
                self._closed.add(each.number)
                yield closing(each, budget)

    def _progress(self) -> Progress:
        reader = self._reader
        book, finds = reader.book, reader.assessment.finds
        last = reader.rounds[-1] if reader.rounds else None
        return Progress(
            campaign=self._name,
            round=last.number if last else 0,
            pool=reader.pool_size,
            spent=book.ended,
            budget=reader.campaign.spec["stop"].get("calculations"),
            running=book.count(State.CLAIMED, State.RUNNING),
            done=book.count(State.DONE),
            failed=book.count(State.FAILED),
            quarantined=book.count(State.QUARANTINED),
            cut=book.count(State.CUT),
            review=len(self._waiting()),
            best=best_words(finds),
            found=tuple(map(name_of, finds)),
            finds_left=last.metrics.get("expected_missed") if last else None,
            elapsed=self._elapsed(),
        )

    def _waiting(self) -> list[Proposal]:
        asks = self._reader.campaign.spec.get("review")
        return waiting_among(self._reader.book.proposals) if asks else []

    def _elapsed(self) -> float:
        """Return the seconds since the run that works on it began."""
        if self._began is None:
            return 0.0
        return max((datetime.now(UTC) - self._began).total_seconds(), 0.0)
