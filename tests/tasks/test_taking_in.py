"""An answer that no database takes ends its calculation, not its campaign."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadline.tasks.calculation import Result
from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import open_store
from leadline.tasks.taking_in import TOO_LARGE, take_in

LARGE = "x" * 17 * 1024 * 1024


@pytest.mark.parametrize("kind", ["embedded", "server"])
def test_an_answer_too_large_for_a_record_fails_its_calculation(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri = request.getfixturevalue("java_server").uri if kind == "server" else None
    made = Calculation("large", "s1", {"name": "emt"}, {"name": "relax"}, "f1", campaign="cu-au")
    answer = Result("large", 1, True, energy=-1.0, structure={"text": LARGE}, times={"wall": 2.0})
    with open_store(uri, tmp_path) as store:
        [record] = store.ensure_calculations([made])
        assert store.claim("large", "me") is not None
        take_in(store, None, record, 1, answer)
        found = store.calculation("large")
    assert found is not None
    assert found.state is CalculationState.FAILED
    assert found.failure is not None
    assert found.failure["reason"] == TOO_LARGE
    assert "stays in its file" in found.failure["message"]
    assert len(found.failure["message"]) < 1000
