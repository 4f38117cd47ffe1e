from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from leadline.tasks.candidates.feature_table import is_table, read_table
from leadline.tasks.errors import CandidateError

CONTENT = """\ufeffflow , heat,name,yield
1,20,a,0.5
2,20,b,
1,20,c,0.7
3,25,d,0.9
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(CONTENT, encoding="utf-8")
    return path


def test_repeats_are_averaged_and_rows_without_a_measurement_left_out(table: Path) -> None:
    found = read_table(table, "yield", ["flow", "heat"])
    assert found.names == ("line 2", "line 5")
    assert found.columns == ("flow", "heat")
    np.testing.assert_array_equal(found.features, [[1, 20], [3, 25]])
    np.testing.assert_allclose(found.values, [0.6, 0.9])


def test_all_columns_but_the_measured_one_are_features_by_default(table: Path) -> None:
    table.write_text("y,a,b\n1,2,3\n4,5,6\n", encoding="utf-8")
    assert read_table(table, "y").columns == ("a", "b")


def test_a_compressed_table_is_the_same(table: Path) -> None:
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert is_table(packed)
    columns = ["flow", "heat"]
    assert read_table(packed, "yield", columns).names == read_table(table, "yield", columns).names


@pytest.mark.parametrize(
    ("label", "columns", "words"),
    [
        ("yields", (), r"has no column 'yields'; it has: 'flow', 'heat', 'name', 'yield'"),
        ("yield", ("flow", "hat"), r"has no column 'hat'"),
        ("yield", ("flow", "yield"), "'yield' is what was measured"),
        ("name", (), "no row has a number in column 'name'"),
        ("yield", (), r"column 'name' is no feature.*line 2 has 'a'; line 3 has 'b'"),
    ],
)
def test_what_is_no_search_is_refused_in_plain_words(
    table: Path, label: str, columns: tuple[str, ...], words: str
) -> None:
    with pytest.raises(CandidateError, match=words):
        read_table(table, label, columns)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00\x01", b'a,b\n"1,2\n', b"a,b\n1,2,3,4\n1\n"]
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(CandidateError, match=r"broken\.csv"):
        read_table(path, "b")
    with pytest.raises(CandidateError, match="there is no file"):
        read_table(tmp_path / "absent.csv", "b")
