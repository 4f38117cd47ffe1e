"""Whatever pw.x leaves behind, an attempt ends in a whole result: numbers, or a failure with words.

Its exit code is that of a good end throughout: the worst case for who reads the files.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from damage import counted, damaged
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.ase import AseAtomsAdaptor

from leadline.tasks.calculation import Request, Result
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.espresso_run import PwProfile
from leadline.tasks.engines.upf import read_upf
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.structures import to_plain

UPF = (
    b'<UPF version="2.0.1"><PP_HEADER element="Cu" pseudo_type="NC" functional="PBE" '
    b'z_valence="11.0" wfc_cutoff="0.0" rho_cutoff="0.0"/></UPF>'
)
UPF_1 = (
    b"<PP_HEADER>\n   0 Version Number\n  Si Element\n  NC Norm - Conserving\n"
    b" SLA  PZ   NOGX NOGC   PZ   Exchange-Correlation functional\n    4.00000000000 Z valence\n"
    b"  0.0  0.0 Suggested cutoff for wfc and rho\n</PP_HEADER>\n"
)
GOOD = b"""\
     Program PWSCF v.6.7MaX starts
     bravais-lattice index     =            0
     lattice parameter (alat)  =       4.8240  a.u.
     number of atoms/cell      =            1
     number of atomic types    =            1
     celldm(1)=   4.824000  celldm(2)=   0.000000  celldm(3)=   0.000000
     crystal axes: (cart. coord. in units of alat)
               a(1) = (   0.000000   0.707107   0.707107 )
               a(2) = (   0.707107   0.000000   0.707107 )
               a(3) = (   0.707107   0.707107   0.000000 )
     site n.     atom                  positions (alat units)
         1           Cu  tau(   1) = (   0.0000000   0.0000000   0.0000000  )
!    total energy              =     -87.80000000 Ry
     total magnetization       =     1.00 Bohr mag/cell
     absolute magnetization    =     1.10 Bohr mag/cell
     convergence has been achieved in   6 iterations
     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.00000000    0.00000000    0.00000000

     total   stress  (Ry/bohr**3)                   (kbar)     P=      -14.71
  -0.00010000   0.00000000   0.00000000          -14.71        0.00        0.00
   0.00000000  -0.00010000   0.00000000            0.00      -14.71        0.00
   0.00000000   0.00000000  -0.00010000            0.00        0.00      -14.71

   JOB DONE.
"""
CRASH = b"""\

 %%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%
     Error in routine cdiaghg (115):
     S matrix not positive definite
 %%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%

     stopping ...
"""


@pytest.fixture
def request_in(folder: Path) -> Request:
    (folder / "Cu.UPF").write_bytes(UPF)
    return Request(
        calculation="c" * 64,
        attempt=1,
        structure_id="s",
        structure=to_plain(AseAtomsAdaptor.get_structure(bulk("Cu"))),
        engine={
            "name": "espresso",
            "settings": {
                "pseudopotentials": {"Cu": "Cu.UPF"},
                "ecutwfc": 30,
                "kspacing": 0.5,
                "nspin": 2,
            },
        },
        recipe={"name": "static", "settings": {}},
        site={"pseudopotentials": str(folder), "version": "6.7"},
        folder=str(folder / "calculation"),
    )


def result_of(request: Request, monkeypatch: pytest.MonkeyPatch, **files: bytes) -> Result:
    """Compute with a pw.x that leaves ``files`` and says that all is well."""

    def leave(profile: PwProfile, directory: Path, *_: Any, **__: Any) -> None:
        for name, content in files.items():
            (directory / name.replace("_", ".")).write_bytes(content)

    monkeypatch.setattr(PwProfile, "run", leave)
    directory = Path(request.folder) / "attempt-1"
    result = compute(request, directory)
    assert Result.from_json(result.to_json()) == Result.from_json(result.to_json())
    return result


def whole(result: Result) -> None:
    """Check that a result is an answer with finite numbers, or a failure with words."""
    if result.complete:
        assert result.energy is not None
        assert math.isfinite(result.energy)
        assert all(math.isfinite(each) for each in result.properties.values())
    else:
        assert result.failure is not None
        assert result.failure.message
        assert result.energy is None


def test_the_sample_is_an_answer_and_stars_are_no_number(
    request_in: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = result_of(request_in, monkeypatch, espresso_pwo=GOOD)
    assert good.complete
    assert good.properties["total_magnetization"] == 1.0
    for spoilt in (b"********", b"NaN", b"Infinity"):
        output = GOOD.replace(b"=     1.00 Bohr", b"= " + spoilt + b" Bohr")
        result = result_of(request_in, monkeypatch, espresso_pwo=output)
        assert result.complete
        assert "total_magnetization" not in result.properties


@pytest.mark.parametrize("what", ["damaged", "anything"])
def test_an_output_is_an_answer_or_a_failure(
    what: str, request_in: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    @counted(1000 if what == "damaged" else 200)
    @given(damaged(GOOD) if what == "damaged" else st.binary(max_size=300))
    def holds(content: bytes) -> None:
        whole(result_of(request_in, monkeypatch, espresso_pwo=content))

    holds()


def test_the_words_of_a_crash_are_found_or_missed_and_never_trip(
    request_in: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    @counted(500)
    @given(damaged(CRASH), damaged(GOOD), st.booleans())
    def holds(crash: bytes, output: bytes, inside: bool) -> None:
        whole(
            result_of(
                request_in,
                monkeypatch,
                espresso_pwo=output + (crash if inside else b""),
                espresso_err=crash,
                CRASH=crash,
            )
        )

    holds()


@pytest.mark.parametrize("good", [UPF, UPF_1], ids=["version 2", "version 1"])
def test_a_pseudopotential_is_read_or_refused(good: bytes, folder: Path) -> None:
    @counted(600)
    @given(st.one_of(damaged(good), st.binary(max_size=200)))
    def holds(content: bytes) -> None:
        path = folder / "Si.UPF"
        path.write_bytes(content)
        try:
            read = read_upf(path)
        except ConfigurationError as error:
            assert "Si.UPF" in str(error)  # noqa: PT017
        else:
            assert all(math.isfinite(each) for each in (read.valence, read.ecutwfc, read.ecutrho))

    holds()
