"""What jobs asked for beside what was used: in numbers, in the report, for one calculation."""

from __future__ import annotations

from typing import Any

import pytest

from leadline.tasks.report.summary import request_words
from leadline.tasks.requested import Requested, requested
from leadline.tasks.store.records import Attempt, Calculation
from leadline.tasks.trial import requested_words


def attempt(number: int, job: str | None, wall: float | None, **used: float) -> Attempt:
    asked = {"walltime": 3600.0, "memory": 8e9, "most_walltime": 43200.0, "most_memory": 64e9}
    times = {} if wall is None else {"wall": wall}
    return Attempt(number, where={"job": job}, asked=asked, times=times, used=used)


def test_a_job_asks_once_whatever_ran_in_it_and_one_that_nobody_named_for_itself() -> None:
    attempts = [
        attempt(1, "17", 600.0, memory=2e9),
        attempt(1, "17", 1200.0, memory=4e9),
        attempt(1, "18", 1800.0, cores=4.0),
        attempt(1, None, None),
        Attempt(2, times={"wall": 50.0}),
    ]
    assert requested(attempts) == Requested(3, 3 * 3600.0, 3600.0, 8e9, 3e9)
    assert requested([Attempt(1, times={"wall": 50.0})]) is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            Requested(3, 10800.0, 2700.0, 8e9, 2e9),
            "3 batch jobs asked for 3 h 00 min, of which engines ran for 45 min 00 s (25 %), and "
            "for 8.0 GB on average, of which 2.0 GB (25 %).",
        ),
        (
            Requested(1, 3600.0, 36.0),
            "A batch job asked for 1 h 00 min, of which engines ran for 36 s (1.0 %).",
        ),
        (None, ""),
    ],
)
def test_what_jobs_asked_for_is_told_with_what_was_used_of_it(
    asked: Requested | None, words: str
) -> None:
    assert request_words(asked) == words


def test_one_calculation_is_set_beside_what_the_profile_asks_for() -> None:
    fields: dict[str, Any] = {"structure": "s", "engine": {}, "recipe": {}, "fingerprint": "f"}
    used = {"memory": 2.1e9, "cores": 32.0}
    record = Calculation(
        "c", **fields, attempts=(attempt(1, "17", 31.0),), times={"wall": 31.0}, used=used
    )
    assert requested_words(record).startswith(
        "the profile asks for 12 h 00 min and 64.0 GB a job, and one calculation used 31 s and "
        "2.1 GB; compute.right_sizing"
    )
    assert requested_words(Calculation("c", **fields, times={"wall": 31.0}, used=used)) == ""
