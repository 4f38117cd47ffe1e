"""What a report shows: plain numbers and strings, with no store and no scheduler behind them.

``tasks/assess.py`` fills a :class:`CampaignView` from the records; ``html.py`` and
``markdown.py`` draw it. Energies are eV/atom here and become meV/atom on the page
where they are distances to the hull. What is not known is None or empty: a
campaign can be shown at every stage of its life.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.aim import Aim
from leadline.tasks.problem import PropertyProblem
from leadline.tasks.requested import Requested
from leadline.tasks.utilisation import Utilisation

ON_HULL = 1e-6
"""Energy above the hull, eV/atom, up to which a phase counts as on it."""


@dataclass(frozen=True)
class Objective:
    """What the campaign looks for.

    Parameters
    ----------
    kind
        ``hull``: phases within a tolerance of the convex hull. ``property``:
        candidates on the good side of a threshold, or the best.
    words
        The objective as a person would say it.
    quantity, unit
        What a calculation gives, e.g. ``formation energy`` in ``eV/atom``; the unit
        is empty where the data name none.
    tolerance
        Energy above the hull up to which a phase counts as found, eV/atom.
    sought
        What is looked for, for a property.
    """

    kind: Literal["hull", "property"]
    words: str
    quantity: str = "formation energy"
    unit: str = "eV/atom"
    tolerance: float = 0.0
    sought: PropertyProblem | None = None

    @property
    def aim(self) -> Aim:
        """Which values are good."""
        return self.sought.aim if self.sought else Aim()

    def in_unit(self, words: str) -> str:
        """Return words with the unit after them in brackets, where there is one."""
        return f"{words} ({self.unit})" if self.unit else words

    def with_unit(self, number: str) -> str:
        """Return a number with its unit, where there is one."""
        return f"{number} {self.unit}".rstrip()


@dataclass(frozen=True)
class Phase:
    """One find: a phase near the hull, or a candidate past the threshold or of the best.

    Parameters
    ----------
    formula, structure, space_group
        Reduced formula, structure id, space group symbol ("" where unknown).
    fractions
        Atomic fractions in the order of the view's elements.
    value
        Formation energy in eV/atom, or the property.
    energy_above_hull
        eV/atom, or None for a property.
    nth
        The find's place among the campaign's calculations, from 1; 0 for what
        was known before the first (references, imported results).
    round
        Number of the round that proposed it.
    changed
        What a remedy changed of the engine's settings for it, "" where nothing.
    """

    formula: str
    structure: str
    space_group: str
    fractions: tuple[float, ...]
    value: float
    energy_above_hull: float | None
    nth: int
    round: int
    changed: str = ""

    @property
    def name(self) -> str:
        """Its formula, with a star where a remedy changed the physics."""
        return self.formula + ("*" if self.changed else "")


@dataclass(frozen=True)
class Reference:
    """An element's reference: computed phase, given value or fitted number.

    ``energy`` is eV/atom on the engine's own scale; ``source`` says in words
    where it comes from.
    """

    element: str
    energy: float
    source: str
    structure: str | None = None
    space_group: str = ""


@dataclass(frozen=True)
class Pick:
    """One candidate that a round chose, why, and what came of it.

    Parameters
    ----------
    structure, formula, fractions
        Structure id, reduced formula, atomic fractions.
    share
        ``start``, ``exploit``, ``uncertainty``, ``random``, ``reference`` or ``person``.
    words
        Why it was chosen, in one sentence.
    state
        State of its calculation (or ``vetoed``), as a word.
    mean, sd
        What the model said before the answer was read, in the objective's unit.
    stable_probability
        P(stable) at the time of the pick.
    nth
        Its place among the campaign's finished calculations, from 1.
    value
        The answer, in the objective's unit.
    energy_above_hull
        eV/atom above the hull as known now.
    evidence
        False where the relaxed structure is no longer the one predicted
        (``left_prototype``): the pair stays out of calibration.
    failure
        Why there is no answer, in words.
    changed
        What a remedy changed of the engine's settings for the answer, "" where nothing.
    """

    structure: str
    formula: str
    fractions: tuple[float, ...]
    share: str
    words: str
    state: str
    mean: float | None = None
    sd: float | None = None
    stable_probability: float | None = None
    nth: int | None = None
    value: float | None = None
    energy_above_hull: float | None = None
    evidence: bool = True
    failure: str = ""
    changed: str = ""

    @property
    def name(self) -> str:
        """Its formula, with a star where a remedy changed the physics of the answer."""
        return self.formula + ("*" if self.changed else "")


@dataclass(frozen=True)
class RoundView:
    """One round: what it picked and what the model knew.

    ``expected_missed`` finds are expected among what was not calculated, and there is none
    with a probability of ``none_missed``. ``notes`` are the model's own remarks (fallbacks,
    jitter); ``words`` says what the stop rules answered after it.
    """

    number: int
    picks: tuple[Pick, ...]
    training_size: int = 0
    expected_missed: float | None = None
    none_missed: float | None = None
    words: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PoolPredictions:
    """What the last model says of the whole pool of n candidates with k elements.

    Parameters
    ----------
    ids, formulas
        Structure ids and reduced formulas, n of each.
    fractions
        Atomic fractions, float[n, k].
    mean, sd
        Mean and standard deviation in the objective's unit, float[n].
    computed
        True where the answer is known already, bool[n].
    energy_above_hull, stable_probability
        Predicted distance to the hull in eV/atom and P(stable), float[n]; None
        for a property.
    """

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    fractions: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    computed: NDArray[np.bool_]
    energy_above_hull: NDArray[np.float64] | None = None
    stable_probability: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class FailureView:
    """A calculation that gave no answer, or none yet.

    ``kind`` says whose fault it is (``physics``, ``remote``, ...), ``message``
    is the engine's own words.
    """

    structure: str
    formula: str
    state: str
    kind: str
    reason: str
    message: str
    attempts: int
    round: int


@dataclass(frozen=True)
class RemedyView:
    """A calculation with changed physics, beside one in quarantine.

    Parameters
    ----------
    structure, formula, original
        Structure id, reduced formula, and id of the calculation in quarantine.
    words
        What it changes, and why that may help.
    calculation, state
        Its id and its state as a word; ``not computed`` where it was only named.
    energy
        eV/atom on its own scale, or None.
    counts
        Whether its label stands for the structure.
    """

    structure: str
    formula: str
    original: str
    words: str
    calculation: str
    state: str
    energy: float | None
    counts: bool


@dataclass(frozen=True)
class VerdictView:
    """Why the campaign stopped, with the numbers that a rule looked at."""

    rule: str
    words: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LedgerView:
    """Where the time went.

    Parameters
    ----------
    seconds
        By what used it: ``engine``, ``queue``, ``learning``, ``proposing``,
        ``store``, ``references``; engine seconds are summed over workers.
    wasted
        Engine seconds that gave no answer, by cause.
    wall
        Seconds from the first start to the last record, rests not counted.
    use
        How busy the workers were, or None where that cannot be told.
    requested
        What batch jobs asked for beside what was used, or None without such jobs.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    wasted: Mapping[str, float] = field(default_factory=dict)
    wall: float | None = None
    use: Utilisation | None = None
    requested: Requested | None = None


@dataclass(frozen=True)
class CampaignView:
    """Everything that a report shows of one campaign.

    Parameters
    ----------
    name, objective, state, reason
        The campaign, its state (``CampaignState`` as a word) and why it is in it.
    elements
        Element symbols in the order of all fractions.
    generated
        When this view was taken, as a person reads it, with its time zone.
    pool_size
        Candidates in the pool.
    computed
        Calculations of the pool that have an answer; references not counted.
    running, waiting, failed, quarantined
        Calculations in these states.
    verdict
        Why it stopped, or None while no rule has answered.
    phases
        The finds, best first; the references among the hull's corners not included.
    references
        The elements' references.
    pool
        The last model's predictions, or None before the first model.
    rounds
        In order; round 0 (references) may be left out.
    calibration
        Metrics of ``leadline.surrogate.calibration`` over the predictions made
        before their answers were known.
    failures, remedies, ledger, drops
        What failed; the calculations with changed physics beside it; where time went;
        candidates dropped before the pool, by reason.
    versions, spec_yaml, notes
        Packages and their versions, the spec in force, remarks for the reader.
    """

    name: str
    objective: Objective
    state: str
    elements: tuple[str, ...]
    generated: str
    reason: str = ""
    pool_size: int = 0
    computed: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0
    quarantined: int = 0
    verdict: VerdictView | None = None
    phases: tuple[Phase, ...] = ()
    references: tuple[Reference, ...] = ()
    pool: PoolPredictions | None = None
    rounds: tuple[RoundView, ...] = ()
    calibration: Mapping[str, float | None] = field(default_factory=dict)
    failures: tuple[FailureView, ...] = ()
    remedies: tuple[RemedyView, ...] = ()
    ledger: LedgerView = field(default_factory=LedgerView)
    drops: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    spec_yaml: str = ""
    notes: tuple[str, ...] = ()

    @property
    def picks(self) -> tuple[Pick, ...]:
        """All picks in the order of the rounds."""
        return tuple(pick for round_ in self.rounds for pick in round_.picks)

    @property
    def answered(self) -> tuple[Pick, ...]:
        """The picks with an answer, in the order of their calculations."""
        done = [pick for pick in self.picks if pick.value is not None and pick.nth is not None]
        return tuple(sorted(done, key=lambda pick: pick.nth or 0))

    @property
    def prequential(self) -> tuple[tuple[Pick, int], ...]:
        """Picks whose prediction was made before the answer, each with its round."""
        return tuple(
            (pick, round_.number)
            for round_ in self.rounds
            for pick in round_.picks
            if pick.evidence and None not in (pick.mean, pick.sd, pick.value)
        )

    @property
    def found(self) -> tuple[Phase, ...]:
        """The finds that calculations of this campaign made."""
        return tuple(phase for phase in self.phases if phase.nth > 0)
