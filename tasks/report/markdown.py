"""The report in short, for the artifact that a Prefect server shows of a campaign."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from leadline.tasks.report import summary
from leadline.tasks.report.canvas import Plot
from leadline.tasks.report.formatting import (
    count,
    counted,
    duration,
    fixed,
    formula,
    in_markdown,
    mev,
    short,
)
from leadline.tasks.report.plots import (
    learning_plot,
    missed_plot,
    parity_plot,
    reliability_plot,
    result_plot,
)
from leadline.tasks.report.view import CampaignView, Phase, Pick, RoundView

MOST_PHASES, MOST_PICKS, MOST_FAILURES, LATEST_ROUNDS = 15, 20, 10, 2
ALONE, BESIDE = 91, 79
"""Pixels an inch of a picture that stands alone, and of one of two side by side."""


@dataclass(frozen=True)
class Links:
    """Where there is more than an artifact holds.

    Parameters
    ----------
    report
        Address or path of the full report.
    dask
        Address of the Dask dashboard while a run works; empty where there is none.
    """

    report: str = ""
    dask: str = ""


def report_markdown(view: CampaignView, links: Links = Links()) -> str:
    """Return the report as markdown of less than 1 MB, its plots as PNG data URIs."""
    parts = [
        f"# {in_markdown(view.name)}",
        in_markdown(summary.sentence(view.objective.words)),
        f"> **{in_markdown(view.state.capitalize())}.** {in_markdown(summary.headline(view))}",
        *_links(links),
        _numbers(view),
        *_picture(result_plot(view)),
        *_phases(view),
        *_certificate(view),
        *_learning(view),
        *_rounds(view),
        *_ledger(view),
        *_failures(view),
        *_remedies(view),
        in_markdown(view.generated),
    ]
    return "\n\n".join(parts) + "\n"


def _links(links: Links) -> list[str]:
    """Return where there is more; a path is no link in a browser."""
    said = []
    if links.report:
        served = links.report.startswith(("http://", "https://"))
        said.append(
            f"[Full report]({links.report})" if served else f"Full report: `{links.report}`"
        )
    if links.dask:
        said.append(f"[Dask dashboard]({links.dask})")
    return [" · ".join(said)] if said else []


def _numbers(view: CampaignView) -> str:
    """Return the few numbers that say how far the campaign is, as one row."""
    missed = view.rounds[-1].expected_missed if view.rounds else None
    cells = {
        "calculations": summary.computed(view),
        "found": count(len(view.phases)),
        "expected to be missing": fixed(missed, 1),
        "now": summary.in_flight(view) or "nothing runs",
        "rounds": count(len(view.rounds)),
        "engine time": duration(view.ledger.seconds.get("engine")),
    }
    return _table(list(cells), [list(cells.values())])


def _picture(plot: Plot | None) -> list[str]:
    return [] if plot is None else [_image(plot, ALONE), f"*{in_markdown(plot.caption)}*"]


def _image(plot: Plot, pixels: int) -> str:
    """Return a picture in HTML: markdown's own pictures have no width and stand alone."""
    data = base64.b64encode(plot.png()).decode()
    width = round(pixels * plot.figure.get_figwidth())
    return (
        f'<img width="{width}" style="max-width: 100%" alt="{escape(plot.alt)}" '
        f'src="data:image/png;base64,{data}">'
    )


def _phases(view: CampaignView) -> list[str]:
    if not view.phases:
        return []
    rows = [
        [_name(p), p.space_group, fixed(p.value, 4),
         *([mev(p.energy_above_hull)] if view.objective.kind == "hull" else []),
         count(p.nth) if p.nth else "known", short(p.structure)]
        for p in view.phases[:MOST_PHASES]
    ]  # fmt: skip
    value = view.objective.in_unit(view.objective.quantity)
    above = ["above hull (meV/atom)"] if view.objective.kind == "hull" else []
    head = ["phase", "space group", value, *above, "calculation", "id"]
    rest = len(view.phases) - len(rows)
    more = [f"… and {count(rest)} more, in the full report."] if rest else []
    return ["## Found", _table(head, rows, numbers=range(2, 4 + len(above))), *more]


def _certificate(view: CampaignView) -> list[str]:
    """Return why the campaign stopped, with the evidence; else why it is where it is."""
    if view.verdict is None:
        known = view.reason and view.state != "running"
        return ["## Why it is at rest", in_markdown(summary.why(view))] if known else []
    rows = [["rule", view.verdict.rule.replace("_", " ")]]
    rows += [list(row) for row in summary.evidence_rows(view.verdict.evidence)]
    return [
        "## Why it stopped",
        in_markdown(summary.why(view)),
        _table(["evidence", "value"], rows),
    ]


def _learning(view: CampaignView) -> list[str]:
    """Return how the search went, and whether the predictions were right."""
    makers = (learning_plot, missed_plot, parity_plot, reliability_plot)
    plots = [make(view) for make in makers]
    drawn = [plot for plot in plots if plot is not None]
    if not drawn:
        return []
    pictures = " ".join(_image(plot, BESIDE) for plot in drawn)
    captions = " ".join(plot.caption for plot in drawn)
    return ["## How it went", pictures, f"*{in_markdown(captions)}*", *_calibration(view)]


def _name(phase: Phase) -> str:
    return formula(phase.formula) + (f" (with {phase.changed})" if phase.changed else "")


def _calibration(view: CampaignView) -> list[str]:
    rows = summary.calibration_rows(view)
    return [_table(["predictions before the answers", "value", "ideal"], rows)] if rows else []


def _rounds(view: CampaignView) -> list[str]:
    newest = sorted(view.rounds, key=lambda each: each.number, reverse=True)[:LATEST_ROUNDS]
    parts = [part for each in newest for part in _round(view, each)]
    return ["## What was picked, and why", *parts] if newest else []


def _round(view: CampaignView, each: RoundView) -> list[str]:
    """Return a round's picks as a list: in a table, reasons would not be wrapped."""
    picks = each.picks[:MOST_PICKS]
    rest = len(each.picks) - len(picks)
    lines = [_pick(view, pick) for pick in picks]
    lines += [f"- … and {count(rest)} more, in the full report."] if rest else []
    return [f"### Round {each.number}: {counted(len(each.picks), 'pick')}", "\n".join(lines)]


def _pick(view: CampaignView, pick: Pick) -> str:
    """Return a pick with what came of it, and why it was made."""
    came = pick.state if pick.value is None else view.objective.with_unit(fixed(pick.value, 4))
    if pick.energy_above_hull is not None:
        came += f", {mev(pick.energy_above_hull)} meV/atom above the hull"
    if pick.failure:
        came += f": {pick.failure[:200]}"
    why = pick.words.removeprefix(f"{pick.formula} is ").removeprefix("Picked because: ")
    if pick.changed:
        came += f", computed with {pick.changed}"
    name = f"**{in_markdown(formula(pick.formula))}** `{short(pick.structure)}`"
    return f"- {name}: {in_markdown(came)}. *{in_markdown(summary.sentence(why))}*"


def _ledger(view: CampaignView) -> list[str]:
    rows = [[words, time] for words, _, time in summary.ledger_rows(view)]
    rows += [[f"wasted: {cause}", duration(time)] for cause, time in view.ledger.wasted.items()]
    if not rows:
        return []
    spared = summary.saved_words(view)
    said = [f"Saved beside the random expectation: {spared}."] if spared else []
    uses = (summary.use_words(view), summary.request_words(view.ledger.requested))
    said += [words for words in uses if words]
    return ["## Where the time went", _table(["", "time"], rows, numbers=(1,)), *said]


def _failures(view: CampaignView) -> list[str]:
    lines = [
        f"- **{in_markdown(formula(each.formula))}** `{short(each.structure)}`, "
        f"{in_markdown(each.state)}: {in_markdown(each.kind)}, {in_markdown(each.reason)}: "
        f"{in_markdown(each.message, 200)}"
        for each in view.failures[:MOST_FAILURES]
    ]
    return ["## Failed", "\n".join(lines)] if lines else []


def _remedies(view: CampaignView) -> list[str]:
    if not view.remedies:
        return []
    rows = [
        [f"{formula(r.formula)} {short(r.structure)}", r.state, r.words[:200], fixed(r.energy, 4),
         "for the structure" if r.counts else "nowhere"]
        for r in view.remedies[:MOST_FAILURES]
    ]  # fmt: skip
    head = ["calculation", "state", "changed physics", "energy (eV/atom)", "counts"]
    return ["## Beside the failed, with other physics", _table(head, rows)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Return a table; the columns of ``numbers`` are aligned at their right."""
    right = set(numbers)
    rule = ["---:" if place in right else "---" for place in range(len(head))]
    lines = [head, rule, *rows]
    return "\n".join(
        "| " + " | ".join(in_markdown(cell, 400) for cell in line) + " |" for line in lines
    )
