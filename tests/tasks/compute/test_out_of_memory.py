"""An engine that the kernel killed for memory is told from one that was killed otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.compute import out_of_memory
from leadline.tasks.compute.out_of_memory import explained, kills


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's counts, as a test writes them."""
    monkeypatch.setattr(out_of_memory, "COUNTS", tmp_path / "vmstat")
    return tmp_path / "vmstat"


@pytest.mark.parametrize(
    ("reason", "counted", "kind", "told"),
    [
        ("engine-killed", 4, FailureKind.REMOTE, "out-of-memory"),
        ("engine-crashed", 4, FailureKind.REMOTE, "out-of-memory"),
        ("engine-killed", 3, FailureKind.PHYSICS, "engine-killed"),
        ("scf-not-converged", 4, FailureKind.PHYSICS, "scf-not-converged"),
    ],
)
def test_the_kernels_count_explains_what_may_be_a_want_of_memory_and_nothing_else(
    counts: Path, reason: str, counted: int, kind: FailureKind, told: str
) -> None:
    counts.write_text(f"pgfault 17\noom_kill {counted}\nswap_ra 1\n")
    found = explained(Failure(FailureKind.PHYSICS, reason, "its words"), since=3)
    assert (found.kind, found.reason) == (kind, told)
    assert found.message.endswith("its words")


def test_a_kernel_that_does_not_count_has_killed_nothing(counts: Path) -> None:
    assert kills() == 0
    counts.write_text("pgfault 17\n")
    assert kills() == 0
