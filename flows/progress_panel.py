"""Progress as one panel of a terminal, redrawn in place; notes scroll above it."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TextIO

from rich import box, panel
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from leadline.flows.terminal_logging import through_stderr

if TYPE_CHECKING:
    from rich.console import RenderableType

    from leadline.flows.progress import Progress

WIDEST = 100
REFRESHES_PER_S = 4
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_COLOURS = {"failed": "yellow", "quarantined": "yellow", "cut": "yellow"}


class Panel:
    """The panel, and the terminal while it stands there.

    Parameters
    ----------
    stream
        A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, markup=False, highlight=False, emoji=False)
        self._shown: Progress | None = None
        self._since = time.monotonic()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        live = Live(
            console=self._console, get_renderable=self._now, refresh_per_second=REFRESHES_PER_S
        )
        self._open.enter_context(live)
        self._open.enter_context(through_stderr())
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            self._open.close()

    def show(self, snapshot: Progress) -> None:
        """Draw this from the next refresh on."""
        self._shown, self._since = snapshot, time.monotonic()

    def opened(self, line: str) -> None:
        """Print nothing: the panel has the round."""

    def note(self, line: str) -> None:
        """Print a line above the panel."""
        with suppress(OSError):
            self._console.print(Text(line))

    def _now(self) -> RenderableType:
        if self._shown is None:
            return Text("starting", style="dim")
        elapsed = self._shown.elapsed + time.monotonic() - self._since
        return draw(replace(self._shown, elapsed=elapsed), self._console.width)


def draw(snapshot: Progress, columns: int) -> RenderableType:
    """Return the panel for one moment, for a terminal of so many columns."""
    width = min(columns, WIDEST)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("calculations", _bar(snapshot))
    rows.add_row("", _counts(snapshot))
    if snapshot.review:
        rows.add_row("review", Text(snapshot.review_words, "yellow"))
    rows.add_row("found", _found(snapshot, width - 26))
    if snapshot.best:
        rows.add_row("best", Text(snapshot.best))
    rows.add_row("left", f"{snapshot.left_words}; pool of {snapshot.pool:,}")
    addresses = {"Prefect": snapshot.prefect, "Dask": snapshot.dask}
    known = [f"{name} {address}" for name, address in addresses.items() if address]
    lines: list[RenderableType] = [rows]
    if known:
        lines += ["", Text("   ".join(known), style="dim")]
    return panel.Panel(
        Group(*lines),
        title=_title(snapshot),
        title_align="left",
        subtitle=Text(snapshot.time_words, style="dim"),
        subtitle_align="right",
        border_style="dim",
        box=box.ROUNDED,
        padding=(0, 1),
        width=width,
    )


def _title(snapshot: Progress) -> Text:
    doing = f"· {snapshot.message} " if snapshot.message else ""
    return Text.assemble(
        (f" {snapshot.campaign} ", "bold not dim"),
        (f"· round {snapshot.round} ", "not dim"),
        (doing, "cyan not dim"),
    )


def _bar(snapshot: Progress) -> Table:
    line = Table.grid(padding=(0, 2), expand=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    of = f" of {snapshot.limit:,}" if snapshot.limit else ""
    bar = ProgressBar(
        total=max(snapshot.limit, 1),
        completed=snapshot.spent,
        complete_style="cyan",
        finished_style="cyan",
    )
    line.add_row(bar, f"{snapshot.spent:,}{of}")
    return line


def _counts(snapshot: Progress) -> Text:
    text = Text()
    for state, number in snapshot.counts:
        style = _COLOURS.get(state, "default") if number else "dim"
        text.append(f"{number:,} {state}", style).append("   ")
    return text


def _found(snapshot: Progress, width: int) -> Text:
    """Return how many were found, and as many of the latest as stand on a line."""
    if not snapshot.found:
        return Text("none yet", style="dim")
    count = Text(f"{len(snapshot.found)}", style="bold")
    names = [name.translate(_SUBSCRIPTS) for name in snapshot.found]
    while names and len(" ".join(names)) > width:
        names.pop(0)
    left_out = "" if len(names) == len(snapshot.found) else "… "
    return Text.assemble(count, f"  {left_out}{' '.join(names)}")
