from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from leadline.tasks.problem import PropertyProblem
from leadline.tasks.report.canvas import PNG_LIMIT, Plot
from leadline.tasks.report.hull_plots import corners, hull_plot, plausible
from leadline.tasks.report.plots import (
    learning_plot,
    missed_plot,
    parity_plot,
    reliability_plot,
    result_plot,
    values_plot,
)
from leadline.tasks.report.view import CampaignView, Objective

MakeView = Callable[..., CampaignView]
SYSTEMS = [("Au",), ("Au", "Cu"), ("Ag", "Au", "Cu"), ("Ag", "Au", "Cu", "Pd")]


def _all(view: CampaignView) -> list[Plot]:
    makers = (result_plot, learning_plot, missed_plot, parity_plot, reliability_plot)
    drawn = [make(view) for make in makers]
    return [plot for plot in drawn if plot is not None]


@pytest.mark.parametrize("elements", SYSTEMS[1:], ids="-".join)
def test_every_plot_is_valid_svg_and_a_small_png(
    elements: tuple[str, ...], make_view: MakeView
) -> None:
    plots = _all(make_view(elements))
    assert [plot.name for plot in plots] == ["hull", "learning", "missed", "parity", "reliability"]
    for plot in plots:
        assert ET.fromstring(plot.svg()).attrib["aria-label"] == plot.alt
        assert plot.png().startswith(b"\x89PNG")
        assert len(plot.png()) < PNG_LIMIT


def test_the_same_view_gives_the_same_bytes(view: CampaignView) -> None:
    for one, other in zip(_all(view), _all(view), strict=True):
        assert one.svg() == other.svg()
        assert one.png() == other.png()


def test_an_svg_takes_its_colours_from_the_page(view: CampaignView) -> None:
    plot = hull_plot(view)
    assert plot is not None
    assert "#" not in plot.svg().replace('="#', "").replace("url(#", "")
    assert "var(--accent)" in plot.svg()


def test_a_binary_hull_names_its_phases(view: CampaignView) -> None:
    plot = hull_plot(view)
    assert plot is not None
    words = [element.text for element in ET.fromstring(plot.svg()).iter()]
    assert {"Au", "Cu", "AuCu", "found"} <= set(words)
    assert plot.alt.startswith(f"Convex hull of Au-Cu: {len(view.phases)} phases found")


def test_the_corners_of_the_hull_are_the_elements_and_the_stable_phases(
    view: CampaignView,
) -> None:
    fractions, energies = corners(view)
    stable = [phase for phase in view.phases if (phase.energy_above_hull or 0.0) < 1e-9]
    assert len(fractions) == 2 + len(stable)
    assert energies[:2].tolist() == [0, 0]


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_young_campaign_draws_what_there_is(rounds: int, make_view: MakeView) -> None:
    view = make_view(rounds=rounds)
    assert (result_plot(view) is None) == (rounds == 0)
    assert (parity_plot(view) is None) == (rounds < 2)
    assert missed_plot(view) is None
    assert (reliability_plot(view) is None) == (rounds < 2)


def test_what_may_be_missing_is_told_as_it_was_after_the_last_round(view: CampaignView) -> None:
    plot, last = missed_plot(view), max(view.rounds, key=lambda each: each.number)
    assert plot is not None
    assert plot.alt.startswith(f"After round {last.number}, {last.expected_missed:.2f} finds")
    assert plot.alt.endswith(f"none is missing is {last.none_missed:.2f}.")


def test_a_pool_without_answers_is_drawn_with_its_predictions(make_view: MakeView) -> None:
    view = replace(make_view(), phases=(), rounds=(), computed=0)
    plot = hull_plot(view)
    assert plot is not None
    assert plot.alt == "Convex hull of Au-Cu: no phase found yet."


@pytest.mark.parametrize("elements", SYSTEMS[1:], ids="-".join)
def test_answers_without_a_model_are_drawn(elements: tuple[str, ...], make_view: MakeView) -> None:
    assert hull_plot(replace(make_view(elements), pool=None)) is not None


def test_polymorphs_of_one_element_are_bars(make_view: MakeView) -> None:
    view = make_view()
    one = replace(view, elements=("Au",), pool=None)
    plot = hull_plot(one)
    assert plot is not None
    assert "energy above the hull (meV/atom)" in plot.svg()


def test_a_ternary_whose_phases_lie_on_one_edge_is_drawn(make_view: MakeView) -> None:
    view = make_view(("Ag", "Au", "Cu"))
    edge = [phase for phase in view.phases if phase.fractions[2] == 0]
    assert hull_plot(replace(view, phases=tuple(edge))) is not None
    assert hull_plot(replace(view, phases=())) is not None


def test_the_likeliest_are_not_computed_and_on_the_good_side(make_view: MakeView) -> None:
    view = make_view(kind="property")
    assert view.pool is not None
    lowest = plausible(view, 5)
    assert not view.pool.computed[lowest].any()
    assert view.pool.mean[lowest].max() < np.median(view.pool.mean)
    best = replace(view.objective, sought=PropertyProblem("heat_all", "maximise"))
    highest = plausible(replace(view, objective=best), 5)
    assert view.pool.mean[highest].min() > np.median(view.pool.mean)


def test_the_likeliest_of_a_hull_come_by_their_chance(view: CampaignView) -> None:
    assert view.pool is not None
    assert view.pool.stable_probability is not None
    chances = view.pool.stable_probability[plausible(view, 400)]
    assert len(chances) == 370
    assert (np.diff(chances) <= 0).all()


def test_a_property_shows_the_best_so_far_on_its_side(make_view: MakeView) -> None:
    view = make_view(kind="property")
    low = values_plot(view)
    high = values_plot(
        replace(
            view, objective=replace(view.objective, sought=PropertyProblem("heat_all", "maximise"))
        )
    )
    assert low is not None
    assert high is not None
    values = [pick.value for pick in view.answered if pick.value is not None]
    assert f"the best is −{-min(values):.3f} eV/atom" in low.alt
    assert f"the best is {max(values):.3f} eV/atom" in high.alt.replace("−", "-")
    assert values_plot(replace(view, rounds=(), pool=None)) is None
    unanswered = values_plot(replace(view, rounds=()))
    assert unanswered is not None
    assert unanswered.alt == "heat_all: no candidate is computed yet."


def test_what_left_its_prototype_stays_out_of_parity(view: CampaignView) -> None:
    moved = tuple(
        replace(each, picks=tuple(replace(pick, evidence=False) for pick in each.picks))
        for each in view.rounds
    )
    assert parity_plot(replace(view, rounds=moved)) is None
    assert reliability_plot(replace(view, rounds=moved)) is None


def test_nine_pairs_say_nothing_of_reliability(make_view: MakeView) -> None:
    view = make_view(rounds=2)
    short = replace(view.rounds[1], picks=view.rounds[1].picks[:9])
    few = replace(view, rounds=(view.rounds[0], short))
    assert parity_plot(few) is not None
    assert reliability_plot(few) is None


def test_a_model_that_is_sure_and_right_is_drawn(view: CampaignView) -> None:
    exact = tuple(
        replace(each, picks=tuple(replace(p, mean=0.5, sd=0.0, value=0.5) for p in each.picks))
        for each in view.rounds
    )
    plot = reliability_plot(replace(view, rounds=exact))
    assert plot is not None
    assert "held 100 %" in plot.alt
    assert parity_plot(replace(view, rounds=exact)) is not None


@pytest.mark.parametrize("name", ["$x_1$ of 100 $", "</text><script>alert(1)</script>", "能隙 Ä"])
def test_a_strange_name_of_a_property_is_plain_text(name: str, make_view: MakeView) -> None:
    objective = Objective("property", "", name, name)
    plot = values_plot(replace(make_view(kind="property"), objective=objective))
    assert plot is not None
    root = ET.fromstring(plot.svg())
    assert any((element.text or "") == f"{name} ({name})" for element in root.iter())
    assert plot.png().startswith(b"\x89PNG")


def test_a_pool_of_thousands_stays_a_small_drawing(make_view: MakeView) -> None:
    plot = hull_plot(make_view(size=20_000))
    assert plot is not None
    assert len(plot.svg()) < 500_000
    assert len(plot.png()) < PNG_LIMIT
    assert "the 1,200 likeliest of 19,940 not computed" in plot.caption
