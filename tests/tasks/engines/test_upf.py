"""Headers of pseudopotential files, in both versions of the format."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.tasks.engines.upf import read_upf
from leadline.tasks.errors import ConfigurationError

VERSION_1 = """<PP_HEADER>
   0                   Version Number
  C                    Element
   US                  Ultrasoft pseudopotential
    F                  Nonlinear Core Correction
 SLA  PZ   NOGX NOGC   PZ   Exchange-Correlation functional
    4.00000000000      Z valence
  -11.33270            Total energy
  25.0000000  200.0000000     Suggested cutoff for wfc and rho
</PP_HEADER>
"""
VERSION_2 = """<UPF version="2.0.1">
<PP_HEADER generated='by "atomic"' element="Li"
 pseudo_type="PAW" functional=" SLA  PW   PSX  PSC" z_valence="3.000D+00"
 wfc_cutoff="7.8E+001" rho_cutoff="3.55e2" />
"""


def test_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "C.UPF"
    path.write_text(VERSION_1)
    found = read_upf(path)
    assert (found.element, found.kind, found.functional) == ("C", "US", "LDA")
    assert (found.valence, found.ecutwfc, found.ecutrho) == (4.0, 25.0, 200.0)
    assert found.sha256 == hashlib.sha256(VERSION_1.encode()).hexdigest()


def test_the_second_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Li.UPF"
    path.write_text(VERSION_2)
    found = read_upf(path)
    assert (found.element, found.kind, found.functional) == ("Li", "PAW", "PBESOL")
    assert (found.valence, found.ecutwfc, found.ecutrho) == (3.0, 78.0, 355.0)


@pytest.mark.parametrize(
    "names",
    [("PBE", " SLA PW PBX PBC", "SLA PW PBE PBE"), ("LDA ", "PZ", " SLA PZ NOGX NOGC"),
     ("PBESOL", "SLA PW PSX PSC")],
)  # fmt: skip
def test_long_and_short_names_of_a_functional_are_one(tmp_path: Path, names: list[str]) -> None:
    found = set()
    for name in names:
        path = tmp_path / "x.UPF"
        path.write_text(VERSION_2.replace(" SLA  PW   PSX  PSC", name))
        found.add(read_upf(path).functional)
    assert len(found) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.UPF cannot be read: No such file"):
        read_upf(tmp_path / "gone.UPF")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary() | st.text().map(lambda text: f"<PP_HEADER {text}/>".encode()))
def test_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.UPF"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no UPF pseudopotential"):
        read_upf(path)


@pytest.mark.espresso
def test_every_file_that_debian_ships_in_the_format_is_read() -> None:
    folder = Path("/usr/share/espresso/pseudo")
    if not folder.is_dir():
        pytest.skip("needs Debian's quantum-espresso-data")
    files = [path for path in folder.iterdir() if path.suffix.lower() == ".upf"]
    assert len(files) > 50
    for path in files:
        found = read_upf(path)
        assert path.name.lower().startswith(found.element.lower())
        assert found.valence > 0
