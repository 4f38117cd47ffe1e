"""The loop's hands: what campaign.py says in a line, done on real parts.

Everything that decides what happens next is read from the store, so that a driver
that was killed at any point is carried on by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from prefect.exceptions import TerminationSignal

from leadline.flows.assessing import close_rounds, progress_of, round_metrics
from leadline.flows.bench import Bench
from leadline.flows.dispatching import Dispatching
from leadline.flows.ending import summary_of
from leadline.flows.importing import import_file
from leadline.flows.inbox import Handlers
from leadline.flows.limits import RunLimits
from leadline.flows.opening_round import no_ground, reference_picks
from leadline.flows.pace import Pace
from leadline.flows.picking import chance, new_imports, next_picks, room, with_costs
from leadline.flows.progress import opening_words
from leadline.flows.queueing import Queue
from leadline.flows.reviewing import ask, ready, speak_for_silence, take_verdicts, waiting
from leadline.flows.setting import SETTING, take_over
from leadline.flows.snapshot import snapshot
from leadline.flows.spec import CampaignSpec
from leadline.flows.steps import Steps
from leadline.flows.summary import CampaignSummary, RunEnd
from leadline.flows.verdicts import VERDICT
from leadline.flows.watching import Watcher
from leadline.flows.witness import Nobody, Witness
from leadline.surrogate.explain import without_model
from leadline.surrogate.stopping import Verdict, verdict
from leadline.tasks.assess import Assessment, assess
from leadline.tasks.calculate import Outcome
from leadline.tasks.errors import ConfigurationError, LeaseError
from leadline.tasks.failed_attempts import whereabouts
from leadline.tasks.learn import Learned, learn
from leadline.tasks.ledger import Ledger, node_hours
from leadline.tasks.metrics import surprises
from leadline.tasks.notebook import Notebook
from leadline.tasks.propose import Outlook, Pick, pool_outlook
from leadline.tasks.recording import (
    kept_model,
    kept_predictions,
    proposal_of,
    structure_record,
)
from leadline.tasks.remedies import remedy_words
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.base import now
from leadline.tasks.store.records import (
    Calculation,
    CalculationState,
    CampaignState,
    Message,
    Round,
    StructureRecord,
)
from leadline.tasks.training import training_set
from leadline.tasks.vetoes import Vetoes
from leadline.tasks.viewing import known_campaign

State = CalculationState

TERMINATED = "with its process, by Prefect or its machine"
ENDING_S = 15.0
"""Seconds that engines have to end once the process is told to; Prefect gives it thirty."""


class Loop:
    """One run of a campaign: from what the store knows, as far as the limits allow."""

    def __init__(self, bench: Bench, limits: RunLimits, watcher: Watcher) -> None:
        self.bench, self.limits, self.watcher = bench, limits, watcher
        self.name, self.store, self.lease = bench.spec.name, bench.store, bench.lease
        self.book = Notebook.read(bench.store, self.name)
        self.rounds = {each.number: each for each in bench.store.rounds(self.name)}
        self.queue = Queue(bench, self.book, watcher.note)
        self.ledger, self.steps, self.pace = Ledger(), Steps(), Pace()
        self.began = now()
        self.created = known_campaign(bench.store, self.name).created or self.began
        self.steady = bench.spec.compute.mode == "steady"
        self.learned: Learned | None = None
        self.outlook: Outlook | None = None
        self._begins = False
        self.assessment = self._assessed()
        self.dispatching = Dispatching(
            bench.desk,
            bench.cluster.capacity,
            limits,
            watcher,
            allowed=lambda: self.lease.held,
            given_up=bench.cluster.given_up,
        )
        limits.detaches = bench.cluster.outlives_limits
        bench.cluster.leave_when(lambda: watcher.stop_requested or limits.over)
        limits.price = self.price
        self._vetoes = Vetoes(bench.file)
        self.witness: Witness = Nobody()
        if bench.desk.judge is not None:
            bench.desk.judge.remembers(self.book.answers)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Say that the campaign runs, and what became of it if that ends in an error."""
        self._say(CampaignState.RUNNING, "a run works on it")
        try:
            with self.dispatching.at_work(), self._ending_with_its_process():
                yield
        except LeaseError:
            raise  # the campaign is another driver's, and so is what is said of it
        except TerminationSignal:
            self._say(CampaignState.CANCELLED, _sentence(self.watcher.why_stopped))
            raise
        except ConfigurationError as error:
            self._say(CampaignState.FAILED, str(error))
            raise
        except BaseException as error:
            self._say(CampaignState.RESTING, f"its run ended by {type(error).__name__}: {error}")
            raise

    def resume(self) -> None:
        """Carry on what an earlier run left: picks to queue, calculations to end."""
        for known in self.bench.spec.start.known:
            self.watcher.note(import_file(self.store, self.bench, self.bench.file, known))
        self.book.unlink(self.bench.recipe.id, self.bench.fingerprint)
        self.store.log_again(self.book.calculations)
        self.queue.remedies()
        left = self.book.unended
        if left:
            self.watcher.note(
                f"carrying on {counted(len(left), 'calculation')} that an earlier run left"
            )
        self.dispatching.add((each, self.formula(each.structure)) for each in left)
        self.review()
        self.calculate()

    def learn(self) -> None:
        """Train on what is known, and say what it means for the whole pool."""
        bench = self.bench
        self.assessment = self._assessed()
        if not bench.given_references:
            bench.desk.elements.update(self.assessment.references)
        training = training_set(self.book.answers, self.assessment, bench.rows)
        if len(training) < 2:
            self.learned = self.outlook = None
            return
        with self.ledger.timed("learning"):
            self.learned = self.steps.do(
                "learn",
                f"learn from {counted(len(training), 'label')}",
                lambda: learn(bench.pool, training, bench.learning, self.learned, bench.place),
            )
            self.outlook = pool_outlook(
                self.learned,
                bench.pool,
                bench.problem,
                bench.proposing,
                chance(self, "outlook"),
                surprises=surprises(self.book, self.assessment.values),
                closed=self.closed,
            )

    def assess(self) -> Verdict:
        """Close the rounds that have ended, and ask the stop rules."""
        self.lease.check()
        self.heed()
        found = verdict(self.bench.stop, progress_of(self))
        close_rounds(self, found)
        self.witness.assessed()
        self.show()
        return found

    def propose(self) -> None:
        """Pick, and store each pick with its reasons before any answer is read."""
        number = len(self.rounds)
        with self.ledger.timed("proposing"):
            if not self.rounds:
                self._commit(*reference_picks(self.bench))
            elif new := new_imports(self):
                self._commit([Pick(-1, each.id, without_model("known")) for each in new], new)
            elif room(self):
                picks = self.steps.do(
                    "propose", f"propose round {number}", lambda: next_picks(self)
                )
                candidates = self.bench.file.some([each.id for each in picks])
                structures = [structure_record(each) for each in candidates]
                self._commit(with_costs(self.bench.desk, picks, structures), structures)

    def review(self) -> None:
        """Ask a person about the picks, where the spec says so, and queue what may be run.

        Nobody is waited for here: verdicts come in while calculations run.
        """
        ask(self)
        self._queue()

    def heed(self) -> None:
        """Do what others ask: settings and verdicts in the inbox, or the rule for silence."""
        if self._begins and self.dispatching.running:
            self._begins = False
            self.show()
        handlers: Handlers = {SETTING: self._set, VERDICT: partial(take_verdicts, self)}
        asked = self.bench.inbox.take_if_any(handlers)
        if self.bench.spec.review is not None:
            speak_for_silence(self)
        if (asked or self.bench.spec.review is not None) and ready(self):
            self._queue()

    def calculate(self) -> None:
        """Take in what ends: a whole round in batch mode, until there is room in steady mode.

        Workers go on meanwhile, and while the next round is made, with what is picked already.
        """
        with self.ledger.timed("calculating"), self.pace.waiting():
            self.dispatching.run(
                until=lambda: self.steady and room(self) > 0,
                ended=self._ended,
                meanwhile=self.heed,
                more=lambda: bool(waiting(self)),
            )

    def drained(self) -> bool:
        """Wait for what still runs in steady mode; True if that brought answers."""
        if self.dispatching.over:
            return False
        with self.ledger.timed("calculating"), self.pace.waiting():
            self.dispatching.run(until=lambda: False, ended=self._ended, meanwhile=self.heed)
        return True

    @property
    def goes_on(self) -> bool:
        """True while nothing asks this run to rest."""
        return not self.why_rest

    @property
    def why_rest(self) -> str:
        """Why this run ends although no stop rule has answered, in words; or ''."""
        if self.watcher.stop_requested:
            return self.watcher.why_stopped
        if reached := self.limits.reached():
            return reached
        if self.dispatching.stuck and not room(self):
            return next(iter(self.dispatching.stuck.values()))
        return no_ground(self.name, self.book, self.bench.problem)

    def end(self, verdict: Verdict) -> CampaignSummary:
        """Leave the campaign in a state that says why, and return what it came to."""
        ended = CampaignState.CANCELLED if self.watcher.cancelled else CampaignState.RESTING
        state = CampaignState.STOPPED if verdict.stop else ended
        reason = verdict.words if verdict.stop else _sentence(self.why_rest)
        cut_short = self.watcher.stop_now and not verdict.stop
        self._say(state, reason)
        return summary_of(
            self.name,
            self.book,
            self.assessment,
            verdict,
            state=str(state),
            reason=reason,
            pool=len(self.bench.pool),
            waiting=self.dispatching.stuck,
            problem=self.bench.problem,
            end=RunEnd.CANCELLED if cut_short else RunEnd[state.name],
        )

    def show(self) -> None:
        """Show how far the campaign has come."""
        shown = snapshot(self)
        self.watcher.show(shown)
        self.witness.shown(shown)

    @property
    def closed(self) -> list[int]:
        """Rows never to be proposed again: proposed before, or much like what was vetoed."""
        return [*self.book.closed(self.bench.rows), *self.near_vetoed()]

    def near_vetoed(self) -> set[int]:
        """Return the rows of the near duplicates of what a person vetoed."""
        return self._vetoes.near(self.book.structures[e.structure] for e in self.book.vetoed)

    def _set(self, message: Message) -> None:
        """Go on under a spec that a person changed."""
        if not (words := take_over(self.store, message)):
            return
        self.watcher.note(words)
        spec = CampaignSpec.model_validate(known_campaign(self.store, self.name).spec)
        if spec.compute.workers not in (None, self.bench.spec.compute.workers):
            self.dispatching.slots = self.bench.cluster.resized(spec.compute.workers)
        self.bench = self.bench.under(spec)
        ask(self)

    @contextmanager
    def _ending_with_its_process(self) -> Iterator[None]:
        """Let what runs end, and be recorded as cancelled, where Prefect ends the process."""
        try:
            yield
        except TerminationSignal:
            self.watcher.cancel(TERMINATED)
            self.dispatching.wait_for_all(ENDING_S)
            raise

    def _say(self, state: CampaignState, reason: str) -> None:
        self.store.set_campaign_state(self.name, state, reason, owner=self.lease.owner)

    def _assessed(self) -> Assessment:
        bench, answers = self.bench, self.book.answers
        return assess(answers, bench.problem, bench.pool.elements, bench.given_references)

    def _commit(self, picks: Sequence[Pick], structures: Sequence[StructureRecord]) -> None:
        """Store a round: picks, structures, model, predictions, and the round last."""
        number = len(self.rounds)
        proposals = [proposal_of(self.name, number, rank, each) for rank, each in enumerate(picks)]
        with self.ledger.timed("store"):
            self.lease.check()
            committed = Round(
                campaign=self.name,
                number=number,
                counts={"proposed": len(picks)},
                metrics=round_metrics(self),
                predictions=kept_predictions(self.store, self.bench.pool, self.outlook),
            )
            model = kept_model(self.store, self.name, number, self.learned)
            committed = self.store.commit_round(committed, proposals, structures, model)
        self.rounds[number] = committed
        self.book.add(proposals, structures)
        self.witness.opened(committed, proposals)
        if proposals:
            self._begins = True
            self.watcher.opened(f"{self.name}, {opening_words(number, proposals)}")

    def _queue(self) -> None:
        """Queue the calculation of each pick, and let those that are open wait for a worker."""
        self.lease.check()
        with self.ledger.timed("store"):
            new = self.queue.picks(ready(self))
        self.dispatching.add((each, self.formula(each.structure)) for each in new)

    def _ended(self, outcome: Outcome) -> None:
        record = outcome.calculation
        if asked := self.store.structure(record.structure):
            self.book.structures[asked.id] = asked
        self.book.take_in(record)
        if record.state is State.QUARANTINED and self.lease.held:
            self._follow()
        seconds = float(record.times.get("wall", 0.0))
        self.limits.charge(self._node_hours(record, self.began))
        if outcome.state is State.DONE:
            self.pace.ended(seconds)
        if outcome.waiting or outcome.failure is not None:
            words = outcome.waiting or _why(outcome)
            if (named := remedy_words(record)) and record.remedy_of is None:
                words += f"; another calculation may converge, with {named}"
            self.watcher.note(f"{self.formula(record.structure)}: {outcome.state}: {words}")
        self.witness.ended(outcome)
        self.show()

    def _follow(self) -> None:
        """Queue the remedies that are asked for since a calculation was set aside."""
        with self.ledger.timed("store"):
            new = self.queue.remedies()
        self.dispatching.add((each, self.formula(each.structure)) for each in new)

    def spent(self) -> float:
        """Return the node-hours that engines have spent on the campaign's calculations."""
        records = self.book.calculations.values()
        return sum(self._node_hours(each, self.created) for each in records)

    def _node_hours(self, record: Calculation, since: datetime) -> float:
        return node_hours(record, self._nodes_of(record.structure), since)

    def price(self) -> float:
        """Return the node-hours that the next calculation may take; 0 while nothing is known."""
        waiting = self.dispatching.waiting
        nodes = self._nodes_of(waiting[0][0].structure) if waiting else self.nodes(1)
        return nodes * self.limits.outlook() / 3600

    def _nodes_of(self, structure: str) -> float:
        known = self.book.structures.get(structure)
        return self.nodes(known.sites if known else 1)

    def nodes(self, sites: int) -> float:
        """Return how many nodes a calculation of so many atoms takes up."""
        return self.bench.profile.nodes(self.bench.spec.engine.name, sites)

    def formula(self, structure: str) -> str:
        """Return the formula of a structure that is known, or the start of its id."""
        record = self.book.structures.get(structure)
        return record.formula if record else structure[:8]


def _why(outcome: Outcome) -> str:
    """Return why there is no answer, and where to read more about it."""
    failure = outcome.failure
    return f"{failure.message}; {whereabouts(outcome.calculation)}" if failure else ""


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
