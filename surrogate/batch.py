"""Which candidates to calculate next, several at a time and aware of what is pending."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.acquisition import ACQUISITIONS, Acquisition, Context, chosen

Floats = NDArray[np.float64]
Share = Literal["exploit", "uncertainty", "random"]


@dataclass(frozen=True)
class Shares:
    """How many picks serve which end; what is left of one exploits.

    Parameters
    ----------
    uncertainty
        Share of the picks that go where the model knows least.
    random
        Share that is drawn at random: the unbiased sample that keeps calibration honest.
    """

    uncertainty: float = 0.05
    random: float = 0.05

    def split(self, q: int, rng: np.random.Generator) -> tuple[Share, ...]:
        """Return what each of q picks is for; over many rounds the shares hold exactly.

        A fraction of a pick is given by chance, so that picks one at a time keep
        the shares too. Exploiting picks come first.
        """
        start = rng.random()
        ends = np.floor(start + q * np.array([0.0, self.random, self.random + self.uncertainty]))
        random, uncertain = (int(count) for count in np.diff(ends))
        counts: dict[Share, int] = {
            "exploit": q - random - uncertain,
            "uncertainty": uncertain,
            "random": random,
        }
        return tuple(share for share, count in counts.items() for _ in range(count))


@dataclass(frozen=True)
class Choice:
    """One pick: a row of the shortlist, its score when picked, and what it is for."""

    row: int
    score: float
    share: Share


def choose(
    context: Context,
    X: NDArray[np.float32],
    rule: Acquisition,
    shares: tuple[Share, ...],
    free: NDArray[np.bool_],
    *,
    success: Floats | None = None,
    cost: Floats | None = None,
) -> list[Choice]:
    """Return one pick for each of the shares, fewer if the free rows run out.

    Each pick is scored given those before it. Rows that are not free (pending,
    known, vetoed) are never picked.

    Parameters
    ----------
    context
        Belief about the n rows of the shortlist, what is pending already taken in.
    X
        Their features, float32[n, d].
    rule
        Scores the exploiting picks.
    shares
        What each pick is for, in order.
    free
        Rows that may be picked, bool[n].
    success
        Probability that a calculation gives an answer, float64[n]; certain by default.
    cost
        What it costs, in any unit, float64[n]; the same for all by default.
    """
    if rule.name == "auto":
        rule = chosen(context)
    answers = np.ones(len(X)) if success is None else success
    costs = np.ones(len(X)) if cost is None else cost
    open_rows, picks = free.copy(), []
    rules: dict[Share, Acquisition] = {
        "exploit": rule,
        "uncertainty": ACQUISITIONS["uncertainty"],
        "random": ACQUISITIONS["random"],
    }
    for share in shares:
        if not open_rows.any():
            break
        scored = rules[share].per_cost(rules[share](context, X), answers, costs)
        scores = np.where(open_rows, scored, -np.inf)
        row = int(scores.argmax())
        open_rows[row] = False
        picks.append(Choice(row, float(scores[row]), share))
        context = replace(context, posterior=context.posterior.given(row))
    return picks
