"""Paper, ink and colour for every plot, and the way from a figure to SVG or PNG.

A figure is drawn once in the colours of light paper. In the page, each colour of
the palette becomes a CSS variable, so that one SVG is right on dark paper too.
No pyplot: figures are objects, and nothing stays behind.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from html import escape
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, FAINT, PAPER = "#1c2733", "#65717f", "#dfe4ea", "#ffffff"
ACCENT, TINT = "#0a758c", "#bfe0e6"
"""One accent for what was found; all else is grey. Both hold for the colour-blind."""
PALETTE = {
    INK: "ink", MUTED: "muted", FAINT: "faint", PAPER: "paper", ACCENT: "accent", TINT: "tint",
}  # fmt: skip
PNG_LIMIT = 80_000


@dataclass(frozen=True)
class Plot:
    """A figure with what it shows in words.

    Parameters
    ----------
    name
        Stable name, unique on a page.
    figure
        The drawing.
    alt
        What a person who does not see it should know.
    caption
        How to read it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str

    def svg(self) -> str:
        """Return an ``<svg>`` element that follows the page's colours and font."""
        buffer = io.StringIO()
        salted = mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name})
        with salted, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            self.figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
        return _inlined(buffer.getvalue(), self.name, self.alt)

    def png(self) -> bytes:
        """Return a PNG on light paper of less than 80 kB, coarser where it has to be."""
        for dots in (110, 85, 65, 45, 30):
            buffer = io.BytesIO()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                self.figure.savefig(
                    buffer, format="png", dpi=dots, facecolor=PAPER, metadata={"Software": None}
                )
            if buffer.tell() < PNG_LIMIT:
                break
        return buffer.getvalue()


def paper(width: float = 7.2, height: float = 4.2) -> Figure:
    """Return an empty figure, inches."""
    return Figure(figsize=(width, height), layout="constrained")


def axes(figure: Figure, x: str, y: str) -> Axes:
    """Return calm axes: no box, a faint grid, labels as plain text."""
    drawn = figure.add_subplot()
    drawn.set_facecolor("none")
    for side in ("top", "right"):
        drawn.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        drawn.spines[side].set_color(FAINT)
    drawn.tick_params(colors=MUTED, labelsize=9, length=0, pad=6)
    drawn.grid(color=FAINT, linewidth=0.7)
    drawn.set_axisbelow(True)
    drawn.set_xlabel(x, color=MUTED, fontsize=9.5, parse_math=False, labelpad=6)
    drawn.set_ylabel(y, color=MUTED, fontsize=9.5, parse_math=False, labelpad=6)
    return drawn


def legend(drawn: Axes, place: Literal["best", "upper left"] = "best") -> None:
    """Add a legend without a frame."""
    drawn.legend(loc=place, frameon=False, fontsize=9, labelcolor=INK, handlelength=1.6)


def legend_above(figure: Figure) -> None:
    """Add a legend in one line above the axes, where it lies over no point."""
    figure.legend(
        loc="outside upper right", ncols=4, frameon=False, fontsize=9, labelcolor=INK,
        handlelength=1.2, columnspacing=1.6,
    )  # fmt: skip


_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _inlined(svg: str, name: str, alt: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(
        r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.S
    )
    body = re.sub(r' id="[A-Za-z][A-Za-z0-9.]*_\d+"', "", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, variable in PALETTE.items():
        body = body.replace(colour, f"var(--{variable})")
    head = re.compile(r'<svg[^>]*?viewBox="([^"]+)"[^>]*>', flags=re.S)
    return head.sub(
        f'<svg class="plot" id="plot-{name}" role="img" aria-label="{escape(alt, quote=True)}" '
        r'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        r'viewBox="\1">',
        body,
        count=1,
    ).strip()
