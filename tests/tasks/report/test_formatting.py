from __future__ import annotations

import pytest

from leadline.tasks.report.formatting import (
    counted,
    duration,
    fixed,
    formula,
    mev,
    percent,
    short,
    tolerance,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Cu3Au", "Cu₃Au"),
        ("Ca(OH)2", "Ca(OH)₂"),
        ("Fe12O", "Fe₁₂O"),
        ("Cu0.5Au0.5", "Cu0.5Au0.5"),
        ("", ""),
        ("H2", "H₂"),
    ],
)
def test_a_formula_has_subscripts(text: str, shown: str) -> None:
    assert formula(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"), (0, "0.0 s"), (0.01, "< 0.1 s"), (9.4, "9.4 s"), (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min"), (270_000, "3 d 3 h"),
    ],
)  # fmt: skip
def test_a_time_has_its_two_largest_units(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_numbers_have_a_true_minus_sign_and_no_negative_zero() -> None:
    assert fixed(-0.0461) == "−0.046"
    assert fixed(-0.0001) == "0.000"
    assert mev(0.00123) == "1.2"
    assert mev(-0.0461, 0) == "−46"
    assert fixed(None) == mev(None) == percent(None) == "–"


def test_small_shares_keep_a_digit() -> None:
    assert [percent(share) for share in (0, 0.004, 0.05, 0.5, 1)] == [
        "0 %", "0.4 %", "5.0 %", "50 %", "100 %",
    ]  # fmt: skip


def test_a_tolerance_reads_as_it_was_written() -> None:
    assert tolerance(0.001) == "1 meV/atom"
    assert tolerance(0.0025) == "2.5 meV/atom"


def test_nouns_follow_their_number() -> None:
    assert counted(1, "phase") == "1 phase"
    assert counted(1200, "phase") == "1,200 phases"
    assert counted(2, "point lies", "points lie") == "2 points lie"
    assert short("0123456789abcdef") == "0123456789"
