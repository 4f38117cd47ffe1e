"""Names beside points that do not lie over each other."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes

from leadline.tasks.report.canvas import INK, PAPER

_SIZE = 9.5
_PLACES = ((0, -15), (0, 15), (0, -29), (22, -9), (-22, -9), (0, 29), (0, -43))
"""Centres of a label seen from its point, in points, the best first."""


def place_labels(drawn: Axes, names: Iterable[tuple[float, float, str]]) -> None:
    """Write each name near its point (x, y), the first ones first.

    A name that finds no free place is left out: the table beside the plot has it.
    Set the limits of the axes before.
    """
    taken: list[tuple[float, float, float]] = []
    to_points = 72.0 / drawn.figure.dpi
    for x, y, name in names:
        here = drawn.transData.transform((x, y)) * to_points
        half = 0.31 * _SIZE * len(name) + 2
        for right, up in _PLACES:
            box = (float(here[0]) + right, float(here[1]) + up, half)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                _write(drawn, x, y, name, (right, up))
                break


def _overlap(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    return abs(one[0] - other[0]) < one[2] + other[2] and abs(one[1] - other[1]) < _SIZE + 3.5


def _write(drawn: Axes, x: float, y: float, name: str, place: tuple[float, float]) -> None:
    drawn.annotate(
        name, (x, y), xytext=place, textcoords="offset points", ha="center", va="center",
        color=INK, fontsize=_SIZE, zorder=7, annotation_clip=False,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
    )  # fmt: skip
