"""The convex hull as a picture: line, triangle, or bars where there is no drawing it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

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
    paper,
)
from leadline.tasks.report.formatting import count, counted, fixed, formula, mev
from leadline.tasks.report.view import ON_HULL, CampaignView, Phase, PoolPredictions

Points = NDArray[np.float64]
MOST_BARS, MOST_DOTS, MOST_LABELS, MOST_ROWS = 300, 1200, 18, 24
_COMPUTED: dict[str, Any] = {"s": 14, "color": MUTED, "linewidths": 0, "zorder": 3}
_FOUND: dict[str, Any] = {
    "s": 40, "color": ACCENT, "edgecolors": PAPER, "linewidths": 1.2, "zorder": 5,
}  # fmt: skip
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def hull_plot(view: CampaignView) -> Plot | None:
    """Return the hull of two elements, of three, or bars for another number of them.

    None while there is neither an answer nor a prediction to draw.
    """
    if not view.answered and not view.phases and view.pool is None:
        return None
    draw = {2: _binary, 3: _ternary}.get(len(view.elements), _bars)
    return draw(view)


def plausible(pool: PoolPredictions, most: int) -> NDArray[np.intp]:
    """Return the places of the uncomputed candidates that may yet be stable, likeliest first.

    Ordered by predicted energy above the hull less two standard deviations; without
    a hull distance, by the mean less two standard deviations.
    """
    height = pool.mean if pool.energy_above_hull is None else pool.energy_above_hull
    unknown = np.flatnonzero(~pool.computed)
    return unknown[np.argsort((height - 2 * pool.sd)[unknown], kind="stable")[:most]]


def corners(view: CampaignView) -> tuple[Points, Points]:
    """Return fractions[m, k] and formation energies[m] of the hull's corners, elements first."""
    stable = [phase for phase in view.phases if (phase.energy_above_hull or 0.0) <= ON_HULL]
    fractions = np.vstack([np.eye(len(view.elements)), *[[phase.fractions] for phase in stable]])
    energies = [0.0] * len(view.elements) + [phase.value for phase in stable]
    return fractions, np.array(energies)


def _binary(view: CampaignView) -> Plot:
    figure = paper(9.0, 4.6)
    second = view.elements[1]
    drawn = axes(figure, f"atomic fraction of {second}", "formation energy (eV/atom)")
    fractions, energies = corners(view)
    order = np.lexsort((energies, fractions[:, 1]))
    drawn.plot(fractions[order, 1], energies[order], color=ACCENT, linewidth=1.4, zorder=4)
    shown = _predictions_on(drawn, view.pool)
    found = {phase.structure for phase in view.phases}
    plain = [pick for pick in view.answered if pick.structure not in found]
    _dots(drawn, [(p.fractions[1], p.value) for p in plain], label="computed", **_COMPUTED)
    finds = [(phase.fractions[1], phase.value) for phase in view.phases]
    _dots(drawn, finds, label="found", **_FOUND)
    _dots(drawn, [(0, 0), (1, 0)], **(_FOUND | {"color": PAPER, "edgecolors": ACCENT}))
    hidden = _framed(drawn, view, shown)
    _labels(drawn, view)
    legend(drawn, "upper center")
    return Plot("hull", figure, _alt(view), _caption(view, len(shown), hidden))


def _predictions_on(drawn: Axes, pool: PoolPredictions | None) -> NDArray[np.intp]:
    if pool is None:
        return np.array([], dtype=np.intp)
    shown = plausible(pool, MOST_DOTS)
    x, mean, spread = pool.fractions[shown, 1], pool.mean[shown], 2 * pool.sd[shown]
    barred = slice(0, MOST_BARS)
    drawn.errorbar(
        x[barred], mean[barred], spread[barred],
        fmt="none", ecolor=TINT, elinewidth=0.9, zorder=1,
    )  # fmt: skip
    drawn.scatter(
        x, mean, s=11, facecolors=PAPER, edgecolors=MUTED, linewidths=0.6, zorder=2,
        label="predicted, ± 2 sd",
    )  # fmt: skip
    return shown


def _framed(drawn: Axes, view: CampaignView, shown: NDArray[np.intp]) -> int:
    """Set the frame on what matters, and return how many points lie above it."""
    values = [pick.value for pick in view.answered if pick.value is not None]
    values += [phase.value for phase in view.phases]
    means = [] if view.pool is None else list(view.pool.mean[shown])
    everything = np.array([0.0, *values, *means])
    low = min(0.0, everything.min())
    high = max(np.quantile(everything, 0.97), -0.35 * low, 0.01)
    drawn.set_xlim(-0.03, 1.03)
    drawn.set_ylim(low - 0.16 * (high - low), high + 0.08 * (high - low))
    return int((everything > drawn.get_ylim()[1]).sum())


def _labels(drawn: Axes, view: CampaignView) -> None:
    names = [(0.0, 0.0, view.elements[0]), (1.0, 0.0, view.elements[1])]
    names += [(p.fractions[1], p.value, p.formula) for p in lowest_of_formula(view)]
    for x, energy, name in names[:MOST_LABELS]:
        drawn.annotate(
            formula(name), (x, energy), xytext=(0, -9), textcoords="offset points",
            ha="center", va="top", color=INK, fontsize=9.5, zorder=6,
        )  # fmt: skip


def lowest_of_formula(view: CampaignView) -> list[Phase]:
    """Return the lowest find of each formula, those on the hull first, then by height."""
    lowest: dict[str, Phase] = {}
    for phase in sorted(view.phases, key=lambda phase: phase.energy_above_hull or 0.0):
        lowest.setdefault(phase.formula, phase)
    return list(lowest.values())


def _ternary(view: CampaignView) -> Plot:
    figure = paper(7.6, 6.4)
    drawn = figure.add_subplot()
    drawn.set_axis_off()
    drawn.set_aspect("equal")
    outline = np.vstack([_CORNERS, _CORNERS[:1]])
    drawn.plot(*outline.T, color=MUTED, linewidth=1.0, zorder=1)
    _tie_lines(drawn, view)
    shown = _likely_on(drawn, view.pool)
    computed = _flat([pick.fractions for pick in view.answered])
    _dots(drawn, computed, label="computed", **_COMPUTED)
    _dots(drawn, _flat([p.fractions for p in view.phases]), label="found", **_FOUND)
    for place, name in zip(_CORNERS, view.elements, strict=True):
        drawn.annotate(
            name, place, xytext=(0, 9 if place[1] else -14), textcoords="offset points",
            ha="center", va="center", color=INK, fontsize=12,
        )  # fmt: skip
    for phase in lowest_of_formula(view)[:MOST_LABELS]:
        drawn.annotate(
            formula(phase.formula), _flat([phase.fractions])[0], xytext=(0, -8),
            textcoords="offset points", ha="center", va="top", color=INK, fontsize=8.5, zorder=6,
        )  # fmt: skip
    legend(drawn, "upper left")
    return Plot("hull", figure, _alt(view), _caption(view, shown, 0))


def _tie_lines(drawn: Axes, view: CampaignView) -> None:
    fractions, energies = corners(view)
    flat = _flat(fractions)
    try:
        facets = _lower_facets(np.column_stack([flat, energies]))
    except QhullError:
        return
    for facet in facets:
        edge = flat[[*facet, facet[0]]]
        drawn.plot(*edge.T, color=ACCENT, linewidth=0.9, alpha=0.55, zorder=2)


def _lower_facets(points: Points) -> NDArray[np.integer[Any]]:
    """Return the triangles of the hull that face down, int[t, 3]; qhull's own normals decide."""
    hull = ConvexHull(points)
    lower: NDArray[np.integer[Any]] = hull.simplices[hull.equations[:, 2] < -1e-9]
    return lower


def _likely_on(drawn: Axes, pool: PoolPredictions | None) -> int:
    """Draw the likeliest prediction of each composition; return how many were drawn."""
    if pool is None:
        return 0
    order = plausible(pool, len(pool))
    _, first = np.unique(pool.fractions[order].round(6), axis=0, return_index=True)
    shown = order[np.sort(first)][:MOST_DOTS]
    chance = pool.stable_probability
    strength = np.full(len(shown), 0.3) if chance is None else 0.15 + 0.85 * chance[shown]
    colours = [(ACCENT, float(alpha)) for alpha in np.clip(strength, 0, 1)]
    places = _flat(pool.fractions[shown])
    _dots(drawn, places, facecolors="none", edgecolors=colours, s=16, zorder=2, label="predicted")
    return len(shown)


def _flat(fractions: object) -> Points:
    """Return the places of compositions in the triangle, float[n, 2]."""
    places: Points = np.asarray(fractions, dtype=float).reshape(-1, 3) @ _CORNERS
    return places


def _dots(drawn: Axes, places: object, **style: Any) -> None:
    x, y = np.asarray(places, dtype=float).reshape(-1, 2).T
    drawn.scatter(x, y, **style)


def _bars(view: CampaignView) -> Plot:
    known = sorted(
        (pick.energy_above_hull, pick.formula, pick.structure)
        for pick in view.answered
        if pick.energy_above_hull is not None
    )[:MOST_ROWS]
    figure = paper(8.0, 1.2 + 0.24 * max(len(known), 4))
    drawn = axes(figure, "energy above the hull (meV/atom)", "")
    found = {phase.structure for phase in view.phases}
    heights = [1000 * energy for energy, _, _ in known]
    colours = [ACCENT if structure in found else FAINT for _, _, structure in known]
    drawn.barh(range(len(known)), heights, color=colours, height=0.55)
    drawn.scatter(heights, range(len(known)), s=26, color=[
        ACCENT if structure in found else MUTED for _, _, structure in known
    ], zorder=3)  # fmt: skip
    drawn.set_yticks(range(len(known)), [formula(name) for _, name, _ in known])
    drawn.tick_params(axis="y", labelcolor=INK)
    drawn.grid(visible=False, axis="y")
    drawn.invert_yaxis()
    drawn.set_xlim(left=min([0.0, *heights]) - 0.02 * max([1.0, *heights]))
    return Plot("hull", figure, _alt(view), "The lowest computed phases; in colour, the found.")


def _alt(view: CampaignView) -> str:
    system = "-".join(view.elements)
    if not view.phases:
        return f"Convex hull of {system}: no phase found yet."
    deepest = min(view.phases, key=lambda phase: phase.value)
    return (
        f"Convex hull of {system}: {counted(len(view.phases), 'phase')} found; the deepest is "
        f"{formula(deepest.formula)} at {fixed(deepest.value)} eV/atom."
    )


def _caption(view: CampaignView, shown: int, hidden: int) -> str:
    words = [f"Found: within {mev(view.objective.tolerance)} meV/atom of the hull."]
    if shown and view.pool is not None:
        unknown = int((~view.pool.computed).sum())
        words.append(
            f"Predicted: {count(shown)} of {counted(unknown, 'uncomputed candidate')}, "
            "those most likely to be stable"
            + (", the likelier the stronger." if len(view.elements) == 3 else ".")
        )
    if hidden:
        words.append(f"{counted(hidden, 'point lies', 'points lie')} above the frame.")
    return " ".join(words)
