"""From the records of a campaign to what a report shows: nothing but the store is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import yaml
from pymatgen.core import Composition

from leadline.tasks.answers import Answer
from leadline.tasks.assess import Assessment, assess
from leadline.tasks.errors import InputError
from leadline.tasks.metrics import prequential
from leadline.tasks.notebook import Notebook
from leadline.tasks.problem import HullProblem, Problem, problem_of
from leadline.tasks.recording import Predictions
from leadline.tasks.report.view import (
    CampaignView,
    LedgerView,
    Objective,
    Phase,
    Pick,
    PoolPredictions,
    Reference,
    RoundView,
    VerdictView,
)
from leadline.tasks.requested import requested
from leadline.tasks.setbacks import failure_views, last_failure, remedy_views
from leadline.tasks.store.owner import is_gone
from leadline.tasks.store.records import (
    Attempt,
    CalculationState,
    Campaign,
    Event,
    Proposal,
    Round,
)
from leadline.tasks.store.store import Store
from leadline.tasks.utilisation import Utilisation, utilisation

State = CalculationState


def campaign_view(store: Store, name: str) -> CampaignView:
    """Return everything that a report shows of a campaign, as the store knows it now.

    Raises
    ------
    InputError
        If the store holds no campaign of that name; the message lists those it holds.
    """
    return CampaignReader.of(store, name).view()


def known_campaign(store: Store, name: str) -> Campaign:
    """Return a campaign, or say which ones there are."""
    found = store.campaign(name)
    if found is None:
        names = ", ".join(each.name for each in store.campaigns()) or "none yet"
        raise InputError(
            f"there is no campaign {name!r} in {store.location}; it holds: {names}. "
            "`--store DIR` names another folder"
        )
    return found


def is_driven(campaign: Campaign) -> bool:
    """Tell whether a driver works on a campaign, and is not proved gone."""
    return campaign.owner is not None and not is_gone(campaign.owner)


@dataclass
class CampaignReader:
    """Reads one campaign from its records, each thing once."""

    store: Store
    campaign: Campaign

    @classmethod
    def of(cls, store: Store, name: str) -> CampaignReader:
        """Return the reader of a campaign, or say which campaigns there are."""
        return cls(store, known_campaign(store, name))

    @cached_property
    def book(self) -> Notebook:
        """Proposals and answers."""
        return Notebook.read(self.store, self.campaign.name)

    @cached_property
    def rounds(self) -> list[Round]:
        """The rounds, in order."""
        return self.store.rounds(self.campaign.name)

    @cached_property
    def problem(self) -> Problem:
        """What is looked for."""
        return problem_of(self.campaign.spec["objective"])

    @cached_property
    def predictions(self) -> Predictions | None:
        """What the last model said of the pool, or None before the first."""
        for each in reversed(self.rounds):
            if each.predictions is not None:
                return Predictions.from_npz(self.store.artefacts.get(each.predictions))
        return None

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Symbols in the order of all fractions."""
        if self.predictions is not None:
            return self.predictions.elements
        return tuple(sorted({symbol for each in self.book.answers for symbol in each.fractions}))

    @cached_property
    def assessment(self) -> Assessment:
        """What the answers mean."""
        references = self.campaign.spec["objective"].get("references") or {}
        return assess(self.book.answers, self.problem, self.elements, references.get("values"))

    @cached_property
    def place(self) -> dict[str, int]:
        """Place of each pick's answer, from 1."""
        return self.book.nth()

    @cached_property
    def round_of(self) -> dict[str, int]:
        """Round that proposed each structure."""
        return {each.structure: each.round for each in self.book.proposals}

    @cached_property
    def pool_size(self) -> int:
        """Candidates of the pool; 0 while it is not built."""
        if self.predictions is not None:
            return len(self.predictions.ids)
        return int(self._built().get("candidates", 0))

    def again(self) -> CampaignReader:
        """Return a reader of the campaign as it is now; what does not change is not read again."""
        fresh = CampaignReader.of(self.store, self.campaign.name)
        if any(each.predictions for each in self.rounds):
            fresh.elements, fresh.pool_size = self.elements, self.pool_size
        return fresh

    def view(self) -> CampaignView:
        """Return everything that a report shows."""
        book, campaign = self.book, self.campaign
        return CampaignView(
            name=campaign.name,
            objective=self._objective(),
            state=str(campaign.state),
            reason=campaign.reason,
            elements=self.elements,
            generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            pool_size=self.pool_size,
            computed=book.count(State.DONE),
            running=book.count(State.CLAIMED, State.RUNNING),
            waiting=book.count(State.QUEUED, State.CUT, State.CANCELLED),
            failed=book.count(State.FAILED),
            quarantined=book.count(State.QUARANTINED),
            verdict=self._verdict(),
            phases=self._phases(),
            references=self._references(),
            pool=self._pool(),
            rounds=tuple(self._round(each) for each in self.rounds if each.number > 0),
            calibration=prequential(book, self.assessment.values),
            failures=tuple(failure_views(book)),
            remedies=tuple(remedy_views(book)),
            ledger=self._ledger(),
            drops=self._built().get("dropped", {}),
            versions=campaign.packages,
            notes=tuple(f"Described by {reason}" for reason in self._descriptor()),
            spec_yaml=str(yaml.safe_dump(dict(campaign.spec), sort_keys=False)),
        )

    def _objective(self) -> Objective:
        problem = self.problem
        if isinstance(problem, HullProblem):
            return Objective(
                "hull",
                f"find every phase within {problem.tolerance * 1e3:g} meV/atom of the convex hull",
                tolerance=problem.tolerance,
            )
        return Objective(
            "property",
            problem.words,
            quantity=problem.name,
            unit="",
            sought=problem,
        )

    def _built(self) -> Mapping[str, Any]:
        built = [each for each in self._events if each.kind == "pool.built"]
        return built[-1].details if built else {}

    def _descriptor(self) -> list[str]:
        return [str(self._built()["descriptor"])] if "descriptor" in self._built() else []

    def _verdict(self) -> VerdictView | None:
        said = [each.verdict for each in self.rounds if each.verdict]
        if not said or not said[-1]["stop"]:
            return None
        last = said[-1]
        return VerdictView(str(last["rule"]), str(last["words"]), last["evidence"])

    def _phases(self) -> tuple[Phase, ...]:
        return tuple(
            Phase(
                formula=find.answer.formula,
                structure=find.answer.structure,
                space_group=find.answer.space_group,
                fractions=tuple(find.answer.share(self.elements)),
                value=find.value,
                energy_above_hull=find.energy_above_hull,
                nth=self.place.get(find.answer.structure, 0),
                round=self.round_of.get(find.answer.structure, 0),
                changed=find.answer.changed,
            )
            for find in self.assessment.finds
        )

    def _references(self) -> tuple[Reference, ...]:
        found = []
        for element, energy in self.assessment.references.items():
            lowest = self.book.answers.lowest(element)
            computed = lowest is not None and lowest.energy == energy
            found.append(
                Reference(
                    element,
                    energy,
                    _source(lowest) if computed and lowest else "given in the campaign file",
                    lowest.structure if lowest and computed else None,
                    lowest.space_group if lowest and computed else "",
                )
            )
        return tuple(found)

    def _pool(self) -> PoolPredictions | None:
        known = self.predictions
        if known is None:
            return None
        computed = np.array([each in self.book.answers for each in known.ids])
        return PoolPredictions(
            ids=known.ids,
            formulas=known.formulas,
            fractions=known.fractions,
            mean=known.mean,
            sd=known.sd,
            computed=computed,
            energy_above_hull=known.energy_above_hull,
            stable_probability=known.probability,
        )

    def _round(self, round_: Round) -> RoundView:
        mine = [each for each in self.book.proposals if each.round == round_.number]
        model = self.store.surrogate(self.campaign.name, round_.number)
        return RoundView(
            number=round_.number,
            picks=tuple(self._pick(each) for each in mine),
            training_size=model.training_size if model else 0,
            expected_missed=round_.metrics.get("expected_missed"),
            none_missed=round_.metrics.get("none_missed"),
            words=str((round_.verdict or {}).get("words", "")),
            notes=model.notes if model else (),
        )

    def _pick(self, proposal: Proposal) -> Pick:
        record = self.book.deciding(proposal)
        structure = self.book.structures[proposal.structure]
        answer = self.book.answer_of(proposal)
        why = proposal.why
        failure = last_failure(record) if answer is None else None
        return Pick(
            structure=proposal.structure,
            formula=structure.formula,
            fractions=_fractions(answer, structure.formula, self.elements),
            share=str(why["share"]),
            words=str(why["words"]),
            state=str(record.state) if record else str(proposal.state),
            mean=why.get("mean"),
            sd=why.get("sd"),
            stable_probability=why.get("stable_probability"),
            nth=self.place.get(proposal.structure),
            value=self.assessment.values.get(proposal.structure),
            energy_above_hull=self.assessment.above_hull.get(proposal.structure),
            evidence=answer.evidence if answer else True,
            failure=failure["message"] if failure else "",
            changed=answer.changed if answer else "",
        )

    def _ledger(self) -> LedgerView:
        seconds: defaultdict[str, float] = defaultdict(float)
        for each in self.rounds:
            for name, value in each.ledger.items():
                seconds[name] += value
        wall = seconds.pop("wall", None)
        seconds.pop("calculating", None)
        seconds.update(self._engine_seconds())
        wasted: defaultdict[str, float] = defaultdict(float)
        records = self.book.calculations.values()
        for record in records:
            for attempt in record.attempts:
                if attempt.failure and attempt.times.get("wall"):
                    wasted[str(attempt.failure["reason"])] += float(attempt.times["wall"])
        if waited := self._waited():
            seconds["queue"] = waited
        asked = requested(each for record in records for each in record.attempts)
        return LedgerView(dict(seconds), dict(wasted), wall, self._use(), asked)

    def _attempts(self) -> Iterator[tuple[str, Attempt]]:
        """Yield each attempt whose engine ran, with the id of its calculation."""
        for record in self.book.calculations.values():
            for attempt in record.attempts:
                if attempt.times.get("wall"):
                    yield record.id, attempt

    @cached_property
    def _claimed(self) -> Mapping[tuple[str, int], float]:
        """When this campaign claimed each attempt that it did; others' have other logs."""
        return {
            (each.subject, int(each.details["attempt"])): each.time.timestamp()
            for each in self._events
            if each.kind == "calculation.claimed"
        }

    def _waited(self) -> float:
        """Return the seconds between claims and starts: the queue, and workers that came late."""
        waits = (
            float(attempt.times["start"]) - self._claimed.get((id, attempt.number), float("inf"))
            for id, attempt in self._attempts()
            if "start" in attempt.times
        )
        return sum(max(each, 0.0) for each in waits)

    def _use(self) -> Utilisation | None:
        runs = [
            (each.time.timestamp(), int(each.details["workers"]))
            for each in self._events
            if each.kind == "cluster.opened"
        ]
        queued = self._queued()
        engines = [
            (min(queued.get((id, attempt.number), start), start), start, attempt.times["end"])
            for id, attempt in self._attempts()
            if (start := attempt.times.get("start"))
        ]
        return utilisation(engines, runs)

    def _queued(self) -> Mapping[tuple[str, int], float]:
        """Return when each calculation was queued for each of its attempts."""
        tries: Counter[str] = Counter()
        queued = {}
        for each in self._events:
            if each.kind == "calculation.queued":
                tries[each.subject] += 1
                queued[each.subject, tries[each.subject]] = each.time.timestamp()
        return queued

    @cached_property
    def _events(self) -> list[Event]:
        return self.store.events(self.campaign.name)

    def _engine_seconds(self) -> Mapping[str, float]:
        """Return the time of all engines that gave an answer here, by what it was for.

        From the records of attempts: a driver that is killed takes its own account with it.
        """
        first = [self.book.deciding(each) for each in self.book.proposals if each.round == 0]
        references = {each.id for each in first if each}
        seconds: defaultdict[str, float] = defaultdict(float)
        for id, attempt in self._attempts():
            if attempt.failure or (id, attempt.number) not in self._claimed:
                continue
            apart = self.book.is_apart(self.book.calculations[id])
            what = "references" if id in references else "remedies" if apart else "engine"
            seconds[what] += float(attempt.times["wall"])
        return seconds


def _source(answer: Answer) -> str:
    changed = f", with {answer.changed}" if answer.changed else ""
    return f"computed by this campaign{changed}"


def _fractions(answer: Answer | None, formula: str, elements: Sequence[str]) -> tuple[float, ...]:
    if answer is not None:
        return tuple(answer.share(elements))
    composition = Composition(formula)
    return tuple(float(composition.get_atomic_fraction(each)) for each in elements)
