"""The convex hull as a picture: line, triangle, or bars where there is no drawing it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from leadline.tasks.report.canvas import (
    ACCENT,
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
from leadline.tasks.report.formatting import count, counted, fixed, formula, tolerance
from leadline.tasks.report.labels import place_labels
from leadline.tasks.report.view import ON_HULL, CampaignView, Phase

Points = NDArray[np.float64]
MOST_BARS, MOST_DOTS, MOST_LABELS, MOST_ROWS = 120, 1200, 24, 16
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


def plausible(view: CampaignView, most: int) -> NDArray[np.intp]:
    """Return the places in the pool of what may yet be found, the likeliest first.

    Uncomputed candidates alone: by P(stable) where it is known, then by how far two
    standard deviations reach, of the energy above the hull or of the property.
    """
    pool = view.pool
    if pool is None:
        return np.array([], dtype=np.intp)
    height = pool.mean if pool.energy_above_hull is None else pool.energy_above_hull
    unknown = np.flatnonzero(~pool.computed)
    reach = (view.objective.aim.distance(height) - 2 * pool.sd)[unknown]
    chance = pool.stable_probability
    unlikely = np.zeros(len(unknown)) if chance is None else -chance[unknown]
    return unknown[np.lexsort((reach, unlikely))[:most]]


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
    shown = _predictions_on(drawn, view)
    found = {phase.structure for phase in view.phases}
    plain = [pick for pick in view.answered if pick.structure not in found]
    _dots(drawn, [(p.fractions[1], p.value) for p in plain], label="computed", **_COMPUTED)
    finds = [(phase.fractions[1], phase.value) for phase in view.phases]
    _dots(drawn, finds, label="found", **_FOUND)
    _dots(drawn, [(0, 0), (1, 0)], **(_FOUND | {"color": PAPER, "edgecolors": ACCENT}))
    hidden = _framed(drawn, view, shown)
    place_labels(drawn, _names(view))
    legend_above(figure)
    return Plot("hull", figure, _alt(view), _caption(view, len(shown), hidden))


def _predictions_on(drawn: Axes, view: CampaignView) -> NDArray[np.intp]:
    shown = plausible(view, MOST_DOTS)
    if view.pool is None or not len(shown):
        return shown
    x = _spread(view.pool.fractions[shown, 1])
    mean, width = view.pool.mean[shown], 2 * view.pool.sd[shown]
    barred = slice(0, MOST_BARS)
    drawn.vlines(
        x[barred], (mean - width)[barred], (mean + width)[barred],
        colors=TINT, linewidths=0.9, zorder=1,
    )  # fmt: skip
    hollow = {"facecolors": PAPER, "edgecolors": MUTED, "linewidths": 0.6}
    _dots(drawn, np.column_stack([x, mean]), s=9, zorder=2, label="predicted, ± 2 sd", **hollow)
    return shown


def _spread(x: Points) -> Points:
    """Move points of one composition sideways a little, so that each is seen."""
    columns, column, sizes = np.unique(x.round(6), return_inverse=True, return_counts=True)
    apart = np.diff(columns, prepend=-1.0, append=2.0)
    room = np.minimum(0.8 * np.minimum(apart[:-1], apart[1:]), 0.05)
    rank = np.array([np.sum(column[:i] == column[i]) for i in range(len(x))])
    golden = (rank * 0.6180339887) % 1.0 - 0.5
    moved: Points = x + np.where(sizes[column] > 1, room[column] * golden, 0.0)
    return moved


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


def _names(view: CampaignView) -> list[tuple[float, float, str]]:
    ends = [(float(i), 0.0, name) for i, name in enumerate(view.elements)]
    lowest = [(p.fractions[1], p.value, formula(p.name)) for p in lowest_of_formula(view)]
    return ends + lowest[:MOST_LABELS]


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
    shown = _likely_on(drawn, view)
    computed = _flat([pick.fractions for pick in view.answered])
    _dots(drawn, computed, label="computed", **_COMPUTED)
    _dots(drawn, _flat([p.fractions for p in view.phases]), label="found", **_FOUND)
    for place, name in zip(_CORNERS, view.elements, strict=True):
        drawn.annotate(
            name, place, xytext=(0, 9 if place[1] else -14), textcoords="offset points",
            ha="center", va="center", color=INK, fontsize=12,
        )  # fmt: skip
    names = [
        (*_flat([phase.fractions])[0].tolist(), formula(phase.name))
        for phase in lowest_of_formula(view)[:MOST_LABELS]
    ]
    place_labels(drawn, names)
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


def _likely_on(drawn: Axes, view: CampaignView) -> int:
    """Draw the likeliest prediction of each composition; return how many were drawn."""
    pool = view.pool
    if pool is None:
        return 0
    order = plausible(view, len(pool))
    _, first = np.unique(pool.fractions[order].round(6), axis=0, return_index=True)
    shown = order[np.sort(first)][:MOST_DOTS]
    chance = pool.stable_probability
    strength = np.full(len(shown), 0.3) if chance is None else 0.15 + 0.85 * chance[shown]
    colours = [to_rgba(ACCENT, float(alpha)) for alpha in np.clip(strength, 0, 1)]
    places = _flat(pool.fractions[shown])
    _dots(drawn, places, facecolors="none", edgecolors=colours, s=16, zorder=2, label="predicted")
    return len(shown)


def _flat(fractions: object) -> Points:
    """Return the places of compositions in the triangle, float[n, 2]."""
    places: Points = np.asarray(fractions, dtype=float).reshape(-1, 3) @ _CORNERS
    return places


def _dots(drawn: Axes, places: object, **style: Any) -> None:
    x, y = np.asarray(places, dtype=float).reshape(-1, 2).T
    if len(x):
        drawn.scatter(x, y, **style)


def _bars(view: CampaignView) -> Plot:
    found = {phase.structure for phase in view.phases}
    rows = _lowest(view)
    heights = np.array([1000 * height for height, _, _, _ in rows])
    places = np.arange(len(rows))
    figure = paper(8.0, 1.4 + 0.25 * max(len(rows), 4))
    drawn = axes(figure, "energy above the hull (meV/atom)", "")
    drawn.axvspan(0, 1000 * view.objective.tolerance, color=TINT, alpha=0.45, linewidth=0)
    widths = np.array([2000 * sd for _, sd, _, _ in rows])
    drawn.hlines(places, heights - widths, heights + widths, colors=MUTED, linewidths=0.9)
    groups = {
        "predicted, ± 2 sd": (widths > 0, {"s": 26, "facecolors": PAPER, "edgecolors": MUTED}),
        "computed": (widths == 0, {**_COMPUTED, "s": 26}),
        "found": (np.array([row[3] in found for row in rows], dtype=bool), _FOUND),
    }
    for label, (which, style) in groups.items():
        _dots(drawn, np.column_stack([heights, places])[which], label=label, **style)
    drawn.set_yticks(places, [formula(name) for _, _, name, _ in rows])
    drawn.tick_params(axis="y", labelcolor=INK)
    drawn.invert_yaxis()
    legend_above(figure)
    caption = "The lowest computed, and below them the likeliest of those not computed. "
    return Plot("hull", figure, _alt(view), caption + "In the band, a phase counts as found.")


def _lowest(view: CampaignView) -> list[tuple[float, float, str, str]]:
    """Return (eV/atom above the hull, sd, formula, id) of the lowest, computed ones first."""
    known = sorted(
        (pick.energy_above_hull, 0.0, pick.name, pick.structure)
        for pick in view.answered
        if pick.energy_above_hull is not None
    )
    pool = view.pool
    if pool is None or pool.energy_above_hull is None:
        return known[:MOST_ROWS]
    height, sd = pool.energy_above_hull, pool.sd
    likely = [
        (float(height[i]), float(sd[i]), pool.formulas[i], pool.ids[i])
        for i in plausible(view, MOST_ROWS // 2)
    ]
    return known[:MOST_ROWS] + likely


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
    words = [f"Found: within {tolerance(view.objective.tolerance)} of the hull."]
    if shown and view.pool is not None:
        unknown = int((~view.pool.computed).sum())
        words.append(_which(shown, unknown, len(view.elements)))
    if hidden:
        words.append(f"{counted(hidden, 'point lies', 'points lie')} above the frame.")
    return " ".join(words)


def _which(shown: int, unknown: int, elements: int) -> str:
    if elements == 3:
        return (
            f"Predicted: the likeliest of each of {counted(shown, 'composition')}, "
            "the likelier the stronger."
        )
    bars = f"; bars for the {count(MOST_BARS)} likeliest." if shown > MOST_BARS else "."
    which = "all" if shown == unknown else f"the {count(shown)} likeliest of"
    return f"Predicted: {which} {count(unknown)} not computed, spread sideways{bars}"
