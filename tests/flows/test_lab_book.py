"""The log of a run: lines that a person reads like a lab book."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from leadline.flows.lab_book import AT_ONCE, PER_S, LabBook, closing, opening, result
from leadline.surrogate.explain import hull_words, without_model
from leadline.tasks.answers import Answer, Answers
from leadline.tasks.assess import assess
from leadline.tasks.meaning import meaning
from leadline.tasks.problem import HullProblem, PropertyProblem
from leadline.tasks.store.records import Proposal, Round, StructureRecord


def answer(formula: str, energy: float, **shares: float) -> Answer:
    name = formula.lower().ljust(64, "0")
    properties = {"bulk_modulus": 100 * energy}
    return Answer(
        name, name, formula, "Pm-3m", shares, energy, properties, name, True, None, 1.0
    )  # fmt: skip


CU, AU = answer("Cu", 0.0, Cu=1.0), answer("Au", 0.0, Au=1.0)
DEEP = answer("CuAu", -0.05, Cu=0.5, Au=0.5)
NEAR = answer("Cu3Au", -0.0245, Cu=0.75, Au=0.25)
FAR = answer("CuAu3", 0.01, Cu=0.25, Au=0.75)


def test_a_result_is_told_by_what_it_does_to_the_hull() -> None:
    hull = HullProblem(tolerance=0.001)
    known = Answers({each.structure: each for each in (CU, AU)})
    says = meaning(hull, ("Cu", "Au"))
    assert says.of(CU) == "0.0000 eV/atom, an element"
    assert says.of(DEEP) == "\N{MINUS SIGN}0.0500 eV/atom"  # no references yet
    says.learn(assess(known, hull, ("Cu", "Au")), known)
    assert says.of(DEEP).endswith("50.0 meV/atom below the hull known before: it changes the hull")
    assert says.of(DEEP).endswith("eV/atom, on the hull")
    assert says.of(NEAR).endswith("0.5 meV/atom above the hull; it counts as found")
    assert says.of(FAR).endswith("35.0 meV/atom above the hull")


def test_a_result_is_told_by_whether_it_is_the_best_of_a_property() -> None:
    says = meaning(PropertyProblem("bulk_modulus", "maximise"), ("Cu", "Au"))
    known = Answers({FAR.structure: FAR})
    says.learn(assess(known, PropertyProblem("bulk_modulus", "maximise"), ("Cu", "Au")), known)
    assert says.of(DEEP) == "bulk_modulus -5; the best stays 1"
    assert says.of(answer("Cu2", 0.02, Cu=1.0)) == "bulk_modulus 2, the best so far"
    assert says.of(FAR) == "bulk_modulus 1; the best stays 2"


def test_a_result_stands_beside_what_was_predicted() -> None:
    line = result(DEEP, "it changes the hull", {"mean": -0.04, "sd": 0.012})
    minus = "\N{MINUS SIGN}"
    assert line == f"CuAu cuau0000: it changes the hull (predicted {minus}0.0400 ± 0.0120)."
    assert result(CU, "an element", {"mean": None}) == "Cu cu000000: an element."


def picks_of(*whys: tuple[str, str]) -> tuple[list[Proposal], dict[str, StructureRecord]]:
    ids = [f"{number:02d}" + "a" * 62 for number in range(len(whys))]
    picks = [
        Proposal("cu-au", 3, rank, id, {"words": words})
        for rank, (id, (_, words)) in enumerate(zip(ids, whys, strict=True))
    ]
    structures = {
        id: StructureRecord(id, {}, formula, "Au-Cu", 4, "Pm-3m", {})
        for id, (formula, _) in zip(ids, whys, strict=True)
    }
    return picks, structures


def test_a_round_opens_with_its_picks_and_why_they_were_chosen() -> None:
    words = hull_words("exploit", "Cu3Au", -0.0018, 0.0017, 0.37)
    drawn = without_model("random").words
    text = opening(3, *picks_of(("Cu3Au", words), ("CuAu", drawn), ("CuAu3", drawn)))
    assert text.splitlines() == [
        "Round 3 opens with 3 picks.",
        "  Cu₃Au 00aaaaaa: predicted 1.8 ± 1.7 meV/atom below the known hull, stable with "
        "probability 0.37; picked because it is the most promising of those left.",
        "  CuAu 01aaaaaa, CuAu₃ 02aaaaaa: Picked because: drawn at random, to keep the model's "
        "calibration honest.",
    ]


def test_a_large_round_opens_with_a_few_reasons() -> None:
    text = opening(3, *picks_of(*[("CuAu", f"reason {number}") for number in range(40)]))
    assert len(text.splitlines()) == 7
    assert text.endswith("and 35 more, in the report.")
    same = opening(1, *picks_of(*[("CuAu", "drawn at random")] * 40))
    assert same.endswith("and 35 more: drawn at random")


def test_a_round_is_closed_with_how_well_was_predicted() -> None:
    counts = {"ended": 32, "done": 31, "quarantined": 1, "found": 4}
    metrics = {"expected_missed": 2.13, "z_std": 1.26, "count": 31}
    assert closing(Round("cu-au", 3, counts, metrics), 120) == (
        "Round 3 is closed: 32 of 120 calculations, 4 finds, 1 in quarantine, about 2.1 more "
        "expected. 31 predictions so far, off by 1.26 times their stated spread."
    )
    young = Round("cu-au", 1, {**counts, "quarantined": 0}, {"expected_missed": None, "count": 0})
    assert closing(young, None) == "Round 1 is closed: 32 calculations, 4 finds."


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("lab book")
    made.setLevel(logging.INFO)
    yield made
    made.setLevel(logging.NOTSET)


def test_an_engine_faster_than_any_reader_fills_no_log(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    book = LabBook(logger, clock=lambda: now[0])
    for number in range(10_000):
        now[0] = 0.01 * number
        book.jot(f"result {number}")
    written = [each.getMessage() for each in caplog.records]
    results = [each for each in written if each.startswith("result")]
    assert results[:AT_ONCE] == [f"result {number}" for number in range(AT_ONCE)]
    assert len(results) == pytest.approx(AT_ONCE + PER_S * 100, abs=2)
    book.write("the end")
    left_out = [
        int(each.split()[0].removeprefix("(").replace(",", ""))
        for each in (record.getMessage() for record in caplog.records)
        if each.endswith("left out)")
    ]
    assert len(results) + sum(left_out) == 10_000
    assert caplog.records[-1].getMessage() == "the end"
