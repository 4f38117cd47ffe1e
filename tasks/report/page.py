"""The report: one page of HTML that needs nothing but itself.

Styles and plots are inside; there is no script, and a content policy in the page
forbids every request. Names, messages and provenance are escaped.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from leadline.tasks.report import formatting, summary
from leadline.tasks.report.hull_plots import plausible
from leadline.tasks.report.plots import (
    learning_plot,
    missed_plot,
    parity_plot,
    reliability_plot,
    result_plot,
)
from leadline.tasks.report.view import CampaignView, RoundView

MOST_PICKS = 600
"""Picks told one by one, of the latest rounds; the rest is one line a round."""
MOST_ROUNDS = 400
MOST_PHASES = 300
MOST_ROWS = 60
NEXT_CANDIDATES = 12


def report_html(view: CampaignView) -> str:
    """Return the whole page; it can be written at any stage of a campaign."""
    latest, earlier = _split(view.rounds)
    html: str = _template().render(
        view=view,
        hull=view.objective.kind == "hull",
        style=Markup(_source("style.css")),
        plots={plot.name: plot for plot in _drawn(view)},
        latest=latest,
        earlier=earlier[:MOST_ROUNDS],
        untold=max(len(earlier) - MOST_ROUNDS, 0),
        next_candidates=_next(view),
        phases=view.phases[:MOST_PHASES],
        failures=view.failures[:MOST_ROWS],
        remedies=view.remedies[:MOST_ROWS],
        summary=summary,
        finds_of=Counter(phase.round for phase in view.found),
        ledger=summary.ledger_rows(view),
        use=summary.use_words(view),
        requested=summary.request_words(view.ledger.requested),
    )
    return html


def _drawn(view: CampaignView) -> list[Any]:
    makers = (result_plot, learning_plot, missed_plot, parity_plot, reliability_plot)
    plots = [make(view) for make in makers]
    return [plot for plot in plots if plot is not None]


def _split(rounds: tuple[RoundView, ...]) -> tuple[list[RoundView], list[RoundView]]:
    """Return the rounds whose picks are told, and the earlier ones; newest first."""
    newest = sorted(rounds, key=lambda each: each.number, reverse=True)
    told, picks = 0, 0
    for each in newest:
        picks += len(each.picks)
        if picks > MOST_PICKS and told:
            break
        told += 1
    return newest[:told], newest[told:]


def _next(view: CampaignView) -> list[dict[str, Any]]:
    """Return the candidates not computed yet that may be what is looked for."""
    pool = view.pool
    if pool is None:
        return []
    return [
        {
            "formula": pool.formulas[place],
            "structure": pool.ids[place],
            "mean": float(pool.mean[place]),
            "sd": float(pool.sd[place]),
            "above": _at(pool.energy_above_hull, place),
            "probability": _at(pool.stable_probability, place),
        }
        for place in plausible(view, NEXT_CANDIDATES)
    ]


def _at(values: Any, place: Any) -> float | None:
    return None if values is None else float(values[place])


def _source(name: str) -> str:
    return files("leadline.tasks.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in ("formula", "fixed", "mev", "percent", "count", "duration", "short"):
        environment.filters[name] = getattr(formatting, name)
    environment.globals["counted"] = formatting.counted
    return environment.from_string(_source("page.html"))
