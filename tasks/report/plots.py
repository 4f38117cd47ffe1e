"""The plots of a report: finds, and how good the predictions were."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.stats import binom, norm

from leadline.tasks.report.canvas import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PAPER,
    TINT,
    Plot,
    axes,
    legend,
    legend_above,
    paper,
)
from leadline.tasks.report.chance import expected_finds, likely_finds
from leadline.tasks.report.formatting import counted, fixed, percent
from leadline.tasks.report.hull_plots import hull_plot
from leadline.tasks.report.view import CampaignView, Pick

ENOUGH_PAIRS = 10
"""Fewer answered predictions than this say nothing about calibration."""
MOST_PAIRS = 1500


def result_plot(view: CampaignView) -> Plot | None:
    """Return the picture of the campaign's objective: hull, or values in order."""
    return hull_plot(view) if view.objective.kind == "hull" else values_plot(view)


def learning_plot(view: CampaignView) -> Plot | None:
    """Return finds against calculations beside a random search; None before the first find."""
    finds, n = len(view.found), view.computed
    if not 0 < finds <= view.pool_size or not n:
        return None
    steps = np.arange(n + 1)
    found = np.searchsorted(sorted(phase.nth for phase in view.found), steps, side="right")
    figure = paper(5.2, 3.7)
    drawn = axes(figure, "calculations", "phases found" if _is_hull(view) else "found")
    some = np.unique(np.linspace(0, n, 200).astype(int))
    low, high = likely_finds(view.pool_size, finds, some)
    drawn.fill_between(some, low, high, step="post", color=FAINT, linewidth=0, alpha=0.7)
    random = expected_finds(view.pool_size, finds, steps)
    drawn.plot(steps, random, color=MUTED, linewidth=1.3, linestyle=(0, (4, 3)), label="random")
    drawn.step(steps, found, where="post", color=ACCENT, linewidth=2.2, label="this campaign")
    drawn.set_xlim(0, n)
    drawn.set_ylim(0, finds * 1.08)
    drawn.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend(drawn, "upper left")
    alt = (
        f"{counted(finds, 'find')} in {counted(n, 'calculation')}; a random search would have "
        f"{fixed(float(random[-1]), 1)} of them after as many."
    )
    return Plot("learning", figure, alt, "Shaded: nine random searches of ten.")


def missed_plot(view: CampaignView) -> Plot | None:
    """Return how many finds were expected to be missing over the rounds; None before two."""
    rounds = [
        each
        for each in sorted(view.rounds, key=lambda each: each.number)
        if each.expected_missed is not None and each.none_missed is not None
    ]
    if len(rounds) < 2:
        return None
    numbers = [each.number for each in rounds]
    expected = np.array([each.expected_missed for each in rounds], dtype=float)
    none = np.array([each.none_missed for each in rounds], dtype=float)
    figure = paper(5.2, 3.7)
    drawn = axes(figure, "round", "finds expected to be missing")
    drawn.plot(numbers, expected, color=ACCENT, linewidth=2.2, marker="o", markersize=4)
    drawn.yaxis.label.set_color(ACCENT)
    drawn.set_ylim(0, max(float(expected.max()) * 1.08, 1e-3))
    drawn.xaxis.set_major_locator(MaxNLocator(integer=True))
    beside = drawn.twinx()
    beside.plot(numbers, none, color=MUTED, linewidth=1.5, linestyle=(0, (4, 3)))
    beside.set_ylim(0, 1.08)
    beside.set_ylabel("probability that none is missing", color=MUTED, fontsize=9.5, labelpad=6)
    beside.tick_params(colors=MUTED, labelsize=9, length=0, pad=6)
    for side in beside.spines.values():
        side.set_visible(False)
    alt = (
        f"After round {numbers[-1]}, {fixed(float(expected[-1]), 2)} finds are expected to be "
        f"missing; the probability that none is missing is {fixed(float(none[-1]), 2)}."
    )
    caption = "Line: finds expected to be missing. Dashed: probability that none is."
    return Plot("missed", figure, alt, caption)


def values_plot(view: CampaignView) -> Plot | None:
    """Return a property's values in the order computed, beside the pool's predictions."""
    if not view.answered and view.pool is None:
        return None
    objective = view.objective
    figure = paper(9.0, 4.4)
    drawn = axes(figure, "calculation", objective.in_unit(objective.quantity))
    nth = np.array([pick.nth or 0 for pick in view.answered], dtype=int)
    values = np.array([pick.value for pick in view.answered], dtype=float)
    good = np.isin(nth, [phase.nth for phase in view.phases])
    drawn.scatter(nth[~good], values[~good], s=14, color=MUTED, linewidths=0, label="computed")
    drawn.scatter(nth[good], values[good], s=34, color=ACCENT, linewidths=0, label="found")
    if len(values):
        best = _best_so_far(view, values)
        drawn.step(nth, best, where="post", color=ACCENT, linewidth=1.3, label="best so far")
    called, marks = objective.sought.marks if objective.sought else ("", ())
    for nth_mark, mark in enumerate(marks):
        label = None if nth_mark else called
        drawn.axhline(mark, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=label)
    if view.pool is not None:
        _distribution_beside(drawn, view.pool.mean[~view.pool.computed])
    legend_above(figure)
    caption = "Right: what the model expects of the candidates left."
    return Plot("hull", figure, _values_alt(view, values), caption if view.pool is not None else "")


def _best_so_far(view: CampaignView, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return after each value the best until then."""
    far = view.objective.aim.distance(values)
    newest = np.where(far <= np.minimum.accumulate(far), np.arange(len(far)), 0)
    return np.asarray(values[np.maximum.accumulate(newest)])


def _values_alt(view: CampaignView, values: NDArray[np.float64]) -> str:
    objective = view.objective
    if not len(values):
        return f"{objective.quantity}: no candidate is computed yet."
    best = _best_so_far(view, values)[-1]
    return (
        f"{objective.quantity} of {counted(len(values), 'candidate')} in the order computed; "
        f"the best is {objective.with_unit(fixed(float(best)))}."
    )


def parity_plot(view: CampaignView) -> Plot | None:
    """Return predictions made before the answer against the answers; None without any."""
    pairs = [pick for pick, _ in view.prequential][-MOST_PAIRS:]
    if not pairs:
        return None
    figure = paper(4.8, 4.4)
    unit = view.objective.in_unit
    drawn = axes(figure, unit("predicted"), unit("computed"))
    everything = [v for pick in pairs for v in (pick.mean, pick.value) if v is not None]
    low, high = min(everything), max(everything)
    pad = 0.06 * (high - low) or 0.01
    line = [low - pad, high + pad]
    drawn.plot(line, line, color=FAINT, linewidth=1.4, zorder=1)
    kinds = (("exploit", ACCENT, ACCENT), ("uncertainty", PAPER, ACCENT), ("random", PAPER, MUTED))
    for share, face, edge in kinds:
        chosen = [pick for pick in pairs if _kind(pick) == share]
        if chosen:
            _with_bars(drawn, chosen, face, edge, share)
    drawn.set_xlim(*line)
    drawn.set_ylim(*line)
    legend(drawn, "upper left")
    alt = (
        f"{counted(len(pairs), 'prediction')} against the computed value, made before it was known."
    )
    return Plot("parity", figure, alt, "Bars: ± 2 sd. On the line, a prediction was right.")


def reliability_plot(view: CampaignView) -> Plot | None:
    """Return how often intervals held the answer against how often they should.

    None with fewer than ten pairs. The shaded band is where nine of ten perfectly
    calibrated models would lie with as many predictions (binomial).
    """
    pairs = [pick for pick, _ in view.prequential]
    if len(pairs) < ENOUGH_PAIRS:
        return None
    mean, sd, value = np.array([(p.mean, p.sd, p.value) for p in pairs], dtype=float).T
    score = np.abs(value - mean) / np.maximum(sd, 1e-300)
    levels = np.linspace(0.02, 0.98, 49)
    held = (score[:, None] <= norm.ppf(0.5 + levels / 2)).mean(axis=0)
    figure = paper(4.8, 4.4)
    drawn = axes(figure, "interval of the prediction", "share of answers in it")
    low, high = (binom.ppf(tail, len(pairs), levels) / len(pairs) for tail in (0.05, 0.95))
    drawn.fill_between(levels, low, high, color=FAINT, alpha=0.7, linewidth=0)
    drawn.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    drawn.plot(levels, held, color=ACCENT, linewidth=2.2)
    drawn.set_xlim(0, 1)
    drawn.set_ylim(0, 1.02)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    drawn.set_xticks(ticks, [percent(tick) for tick in ticks])
    drawn.set_yticks(ticks, [percent(tick) for tick in ticks])
    at_half = float((score <= norm.ppf(0.75)).mean())
    alt = f"Reliability: the 50 % intervals held {percent(at_half)} of the answers."
    caption = "Under the dashed line, the model was too sure; over it, too cautious."
    return Plot("reliability", figure, alt, caption)


def _is_hull(view: CampaignView) -> bool:
    return view.objective.kind == "hull"


def _kind(pick: Pick) -> str:
    return pick.share if pick.share in {"uncertainty", "exploit"} else "random"


def _with_bars(drawn: Axes, picks: list[Pick], face: str, edge: str, label: str) -> None:
    mean, sd, value = np.array([(p.mean, p.sd, p.value) for p in picks], dtype=float).T
    drawn.errorbar(mean, value, xerr=2 * sd, fmt="none", ecolor=TINT, elinewidth=0.9, zorder=2)
    drawn.scatter(
        mean, value, s=20, facecolors=face, edgecolors=edge, linewidths=0.9, zorder=3, label=label
    )


def _distribution_beside(drawn: Axes, means: NDArray[np.float64]) -> None:
    if not len(means):
        return
    side = drawn.inset_axes((1.02, 0, 0.16, 1), sharey=drawn)
    side.hist(means, bins=40, orientation="horizontal", color=TINT)
    side.set_axis_off()
