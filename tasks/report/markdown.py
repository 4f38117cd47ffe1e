"""The report in short, for the artifact that a Prefect server shows of a campaign."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

from leadline.tasks.report import summary
from leadline.tasks.report.canvas import Plot
from leadline.tasks.report.formatting import (
    count,
    counted,
    duration,
    fixed,
    formula,
    mev,
    short,
)
from leadline.tasks.report.plots import (
    learning_plot,
    parity_plot,
    reliability_plot,
    result_plot,
)
from leadline.tasks.report.view import CampaignView, Phase, Pick, RoundView

MOST_PHASES, MOST_PICKS, MOST_FAILURES, LATEST_ROUNDS = 30, 40, 10, 2


def report_markdown(view: CampaignView) -> str:
    """Return the report as markdown of less than 1 MB, its plots as PNG data URIs."""
    parts = [
        f"# {_text(view.name)}",
        _text(summary.sentence(view.objective.words)),
        f"**{_text(summary.headline(view))}**",
        f"*{_text(view.state)}*: {_text(summary.why(view))} {summary.in_flight(view)}".strip(),
        *_pictures(result_plot(view)),
        *_phases(view),
        *_pictures(learning_plot(view)),
        *([summary.CONDITION] if view.found else []),
        *_pictures(parity_plot(view), reliability_plot(view)),
        *_calibration(view),
        *_rounds(view),
        *_ledger(view),
        *_failures(view),
        *_remedies(view),
        f"{_text(view.generated)}",
    ]
    return "\n\n".join(parts) + "\n"


def _pictures(*plots: Plot | None) -> list[str]:
    return [
        f"![{_text(plot.alt)}](data:image/png;base64,{base64.b64encode(plot.png()).decode()})"
        f"\n\n{_text(plot.caption)}"
        for plot in plots
        if plot is not None
    ]


def _phases(view: CampaignView) -> list[str]:
    if not view.phases:
        return []
    rows = [
        [_name(p), short(p.structure), p.space_group, fixed(p.value, 4),
         mev(p.energy_above_hull), count(p.nth) if p.nth else "known"]
        for p in view.phases[:MOST_PHASES]
    ]  # fmt: skip
    value = view.objective.in_unit(view.objective.quantity)
    head = ["phase", "structure", "space group", value, "above hull (meV/atom)", "found at"]
    table = _table(head, rows)
    rest = len(view.phases) - len(rows)
    return ["## Found", table, *([f"… and {count(rest)} more."] if rest else [])]


def _name(phase: Phase) -> str:
    return formula(phase.formula) + (f" (with {phase.changed})" if phase.changed else "")


def _calibration(view: CampaignView) -> list[str]:
    rows = summary.calibration_rows(view)
    return [_table(["measure", "value", "ideal"], rows)] if rows else []


def _rounds(view: CampaignView) -> list[str]:
    newest = sorted(view.rounds, key=lambda each: each.number, reverse=True)[:LATEST_ROUNDS]
    parts = [part for each in newest for part in _round(view, each)]
    return ["## Latest rounds", *parts] if newest else []


def _round(view: CampaignView, each: RoundView) -> list[str]:
    head = ["candidate", "picked for", view.objective.in_unit("predicted"), "computed", "why"]
    table = _table(head, [_pick(pick) for pick in each.picks[:MOST_PICKS]])
    title = f"### Round {each.number}: {counted(len(each.picks), 'pick')}"
    return [title, *([_text(each.words)] if each.words else []), table]


def _pick(pick: Pick) -> list[str]:
    predicted = fixed(pick.mean) + ("" if pick.sd is None else f" ± {fixed(pick.sd)}")
    answer = pick.state if pick.value is None else fixed(pick.value)
    name = f"{formula(pick.formula)} {short(pick.structure)}"
    words = f"{pick.words} Computed with {pick.changed}." if pick.changed else pick.words
    return [name, pick.share, predicted, answer, pick.failure or words]


def _ledger(view: CampaignView) -> list[str]:
    rows = [[words, time] for words, _, time in summary.ledger_rows(view)]
    rows += [[f"wasted: {cause}", duration(time)] for cause, time in view.ledger.wasted.items()]
    if not rows:
        return []
    spared = summary.saved_words(view)
    said = [f"Saved beside the random expectation: {spared}."] if spared else []
    uses = (summary.use_words(view), summary.request_words(view.ledger.requested))
    said += [words for words in uses if words]
    return ["## Time", _table(["", "time"], rows), *said]


def _failures(view: CampaignView) -> list[str]:
    if not view.failures:
        return []
    rows = [
        [f"{formula(f.formula)} {short(f.structure)}", f.state, f.kind, f.reason, f.message[:200]]
        for f in view.failures[:MOST_FAILURES]
    ]
    return ["## Failed", _table(["calculation", "state", "kind", "reason", "message"], rows)]


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


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_text(cell, 400) for cell in line) + " |" for line in lines)


def _text(words: str, most: int = 2000) -> str:
    """Return words that markdown shows as they are: one line, no markup of their own."""
    line = " ".join(words[:most].split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\\[\]*_#|!`])", r"\\\1", line)
