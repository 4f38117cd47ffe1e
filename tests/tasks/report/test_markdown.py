from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from leadline.tasks.report.markdown import Links, report_markdown
from leadline.tasks.report.view import CampaignView, RemedyView

MakeView = Callable[..., CampaignView]


def _images(text: str) -> list[bytes]:
    found = re.findall(r'<img [^>]*src="data:image/png;base64,([A-Za-z0-9+/=]+)">', text)
    return [base64.b64decode(each) for each in found]


def test_the_artifact_holds_the_plots_of_the_page(view: CampaignView) -> None:
    images = _images(report_markdown(view))
    assert len(images) == 5
    assert all(image.startswith(b"\x89PNG") and len(image) < 80_000 for image in images)


def test_the_artifact_tells_phases_picks_time_and_verdict(view: CampaignView) -> None:
    text = report_markdown(view)
    assert "22 phases found with 60 of 430 candidates computed." in text
    assert "3 rounds in a row (30 calculations) found no new phase" in text
    assert "### Round 6: 10 picks" in text
    assert "### Round 4" not in text
    assert "| engine | 6 min 52 s |" in text
    assert "| wasted: worker-lost | 12 s |" in text
    assert "12 batch jobs asked for 12 h 00 min" in text
    assert "`cdcdcdcdcd`, quarantined: physics, collapsed: the cell shrank" in text


def test_the_artifact_begins_with_where_the_campaign_is(view: CampaignView) -> None:
    top = report_markdown(view).partition("<img")[0]
    assert "> **Stopped.** 22 phases found" in top
    assert "| 60 of 430 | 22 |" in top


def test_the_artifact_holds_the_stop_certificate_once_there_is_one(view: CampaignView) -> None:
    text = report_markdown(view)
    assert "## Why it stopped" in text
    assert "| rule | rounds without discovery |" in text
    resting = replace(view, verdict=None, state="resting", reason="this run's 5 are done")
    assert "## Why it is at rest\n\nThis run's 5 are done." in report_markdown(resting)
    running = replace(view, verdict=None, state="running", reason="a run works on it")
    assert "## Why" not in report_markdown(running)


def test_the_artifact_says_why_each_candidate_was_picked(view: CampaignView) -> None:
    pick = view.rounds[-1].picks[0]
    words = f"{pick.formula} is predicted low; picked because it is the most promising."
    told = replace(view.rounds[-1], picks=(replace(pick, words=words, failure=""),))
    text = report_markdown(replace(view, rounds=(told,)))
    assert "*Predicted low; picked because it is the most promising.*" in text
    assert f"`{pick.structure[:10]}`: " in text


def test_the_artifact_leads_to_the_report_and_to_the_dashboard(view: CampaignView) -> None:
    served = report_markdown(
        view, Links("https://x.org/cu-au.html", "http://127.0.0.1:8787/status")
    )
    assert (
        "[Full report](https://x.org/cu-au.html) · [Dask dashboard](http://127.0.0.1:8787/status)"
        in served
    )
    assert "Full report: `/srv/cu-au.html`\n" in report_markdown(view, Links("/srv/cu-au.html"))
    assert "Full report" not in report_markdown(view)


def test_the_artifact_tells_what_stands_beside_the_failed_with_other_physics(
    view: CampaignView,
) -> None:
    words = "degauss 0.04 (0.02): calmer"
    remedy = RemedyView("a" * 64, "Cu3Au", "c1", words, "c2", "done", -3.25, counts=False)
    counted = replace(view.phases[0], changed="degauss 0.04 (0.02)")
    phases = (counted, *view.phases[1:])
    text = report_markdown(replace(view, remedies=(remedy,), phases=phases))
    assert "## Beside the failed, with other physics" in text
    assert "| done | degauss 0.04 (0.02): calmer | \N{MINUS SIGN}3.2500 | nowhere |" in text
    assert text.count("(with degauss 0.04 (0.02))") == 1


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_young_campaign_has_a_short_artifact(rounds: int, make_view: MakeView) -> None:
    text = report_markdown(make_view(rounds=rounds))
    assert len(_images(text)) <= 2
    assert text.endswith("22 November 2026, 16:40 UTC\n")


def test_the_artifact_stays_under_a_megabyte(make_view: MakeView) -> None:
    view = make_view(("Ag", "Au", "Cu"), size=12_000, rounds=300, batch=30)
    assert len(report_markdown(view).encode()) < 1_000_000


def test_words_of_an_engine_are_no_markup_and_tables_are_whole(view: CampaignView) -> None:
    message = "line one\nline two | with a bar <script> [link](http://x) `code` # *"
    failures = tuple(replace(each, message=message) for each in view.failures)
    text = report_markdown(replace(view, failures=failures))
    for table in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    assert "<script>" not in text
    assert "\\[link\\]" in text
