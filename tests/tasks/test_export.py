from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.db import connect
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser

from leadline.tasks.engines.atoms import to_atoms
from leadline.tasks.errors import InputError
from leadline.tasks.export import FORMATS, ExportRow, export_campaign
from leadline.tasks.structures import from_plain, to_plain


def _row(number: int = 0) -> ExportRow:
    """Return Cu3Au with one atom moved, computed by EMT."""
    initial = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.75), ["Au", "Cu"], [[0, 0, 0], [0, 0.5, 0.5]]
    )
    final = initial.copy()
    final.translate_sites([1], [0.01 + 0.001 * number, 0.0, 0.002], to_unit_cell=False)
    atoms = to_atoms(to_plain(final))
    atoms.calc = EMT()
    return ExportRow(
        structure=f"{number:064x}",
        calculation="ab" * 32,
        formula="Cu3Au",
        initial=to_plain(initial),
        final=to_plain(final),
        energy=float(atoms.get_potential_energy()),
        forces=atoms.get_forces().tolist(),
        stress=atoms.get_stress().tolist(),
        formation_energy=-0.0461,
        energy_above_hull=0.0012,
        properties={"volume_per_atom": 13.2},
        engine="emt",
        fingerprint="f0" * 32,
        recipe="relax",
        round=3,
        provenance={"source": "orderings", "note": 'a "quoted" name, <b> and Ångström\n=x'},
    )


@pytest.fixture(scope="module")
def rows() -> list[ExportRow]:
    return [_row(number) for number in range(3)]


def _agrees(atoms: Atoms, row: ExportRow) -> None:
    expected = to_atoms(row.structure_at_end)
    assert row.forces is not None
    assert row.stress is not None
    assert atoms.get_potential_energy() == pytest.approx(row.energy, abs=1e-8)
    assert np.allclose(atoms.get_forces(), row.forces, atol=1e-8)
    assert np.allclose(atoms.get_stress(), row.stress, atol=1e-8)
    assert np.allclose(atoms.positions, expected.positions, atol=1e-7)
    assert np.allclose(atoms.cell.array, expected.cell.array, atol=1e-7)


def test_ase_reads_energies_forces_and_stress_from_extxyz(
    rows: list[ExportRow], tmp_path: Path
) -> None:
    path = tmp_path / "all.extxyz"
    assert export_campaign(rows, "extxyz", path) == 3
    frames = read(path, index=":")
    for atoms, row in zip(frames, rows, strict=True):
        _agrees(atoms, row)
        assert atoms.info["energy_above_hull"] == 0.0012
        assert atoms.info["property_volume_per_atom"] == 13.2
        assert json.loads(atoms.info["provenance"]) == row.provenance


def test_ase_selects_and_reads_from_its_database(rows: list[ExportRow], tmp_path: Path) -> None:
    path = tmp_path / "all.db"
    export_campaign(rows, "ase-db", path)
    with connect(path) as database:
        found = list(database.select("energy_above_hull<0.002", recipe="relax"))
        assert len(found) == 3
        for entry, row in zip(found, rows, strict=True):
            _agrees(entry.toatoms(), row)
            assert entry.data["structure"] == row.structure
            assert entry.data["provenance"] == row.provenance
            assert from_plain(entry.data["initial"]) == from_plain(row.initial)


def test_what_a_remedy_changed_for_an_energy_is_said_beside_it(
    rows: list[ExportRow], tmp_path: Path
) -> None:
    both = [rows[0], replace(rows[1], changed="degauss 0.04 (0.02)")]
    for format in FORMATS:
        export_campaign(both, format, tmp_path / format)
    plain, marked = read(tmp_path / "extxyz", index=":", format="extxyz")
    assert "changed" not in plain.info
    assert marked.info["changed"] == "degauss 0.04 (0.02)"
    with connect(tmp_path / "ase-db", type="db") as database:
        found = [each.changed for each in database.select("changed")]
        assert found == ["degauss 0.04 (0.02)"]
    assert "# computed with: degauss" in (tmp_path / "cif" / "00002-Cu3Au.cif").read_text()
    index = json.loads((tmp_path / "json").read_text())
    assert [each["changed"] for each in index["rows"]] == ["", "degauss 0.04 (0.02)"]


def test_an_id_that_reads_as_a_number_does_not_stop_the_database(
    rows: list[ExportRow], tmp_path: Path
) -> None:
    odd = [replace(rows[0], structure="12345"), replace(rows[1], recipe="True", round=None)]
    export_campaign(odd, "ase-db", tmp_path / "all.db")
    with connect(tmp_path / "all.db") as database:
        assert [entry.data["structure"] for entry in database.select()] == [
            "12345",
            rows[1].structure,
        ]


def test_cif_is_a_folder_of_the_final_structures_with_an_index(
    rows: list[ExportRow], tmp_path: Path
) -> None:
    export_campaign(rows, "cif", tmp_path / "cifs")
    files = sorted((tmp_path / "cifs").glob("*.cif"))
    assert [file.name for file in files] == [f"{n:05d}-Cu3Au.cif" for n in (1, 2, 3)]
    for file, row in zip(files, rows, strict=True):
        assert "# energy above hull (eV/atom): 0.0012" in file.read_text()
        (structure,) = CifParser(file).parse_structures(primitive=False)
        expected = from_plain(row.structure_at_end)
        assert structure.composition == expected.composition
        assert np.allclose(
            np.sort(structure.distance_matrix.ravel()),
            np.sort(expected.distance_matrix.ravel()),
            atol=1e-5,
        )
    index = json.loads((tmp_path / "cifs" / "index.json").read_text())
    assert [entry["structure"] for entry in index["rows"]] == [row.structure for row in rows]


def test_json_gives_back_every_number_with_its_unit(rows: list[ExportRow], tmp_path: Path) -> None:
    export_campaign(rows, "json", tmp_path / "all.json")
    content = json.loads((tmp_path / "all.json").read_text())
    assert content["units"]["energy_above_hull"] == "eV/atom"
    assert [ExportRow(**entry) for entry in content["rows"]] == rows


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "cif"])
def test_a_second_export_replaces_the_first_and_leaves_nothing_else(
    format: str, rows: list[ExportRow], tmp_path: Path
) -> None:
    path = tmp_path / "all.out"
    export_campaign(rows, format, path)
    first = path.stat().st_size
    export_campaign(rows[:1], format, path)
    assert path.stat().st_size <= first
    assert [each.name for each in tmp_path.iterdir()] == ["all.out"]


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_row_without_forces_stress_or_hull_is_written(
    format: str, rows: list[ExportRow], tmp_path: Path
) -> None:
    bare = replace(
        rows[0], final=None, forces=None, stress=None, formation_energy=None,
        energy_above_hull=None, round=None, fingerprint="", provenance={}, properties={},
    )  # fmt: skip
    export_campaign([bare], format, tmp_path / "bare")
    if format == "extxyz":
        (atoms,) = read(tmp_path / "bare", format="extxyz", index=":")
        assert atoms.get_potential_energy() == pytest.approx(bare.energy)
        assert "energy_above_hull" not in atoms.info
    else:
        assert (tmp_path / "bare").exists()


def test_a_failed_export_leaves_what_was_there(rows: list[ExportRow], tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    export_campaign(rows, "json", path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        export_campaign([replace(rows[0], energy=float("nan"))], "json", path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["all.json"]


def test_what_cannot_be_exported_is_refused_with_what_to_do(
    rows: list[ExportRow], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="allowed are extxyz, ase-db, cif, json"):
        export_campaign(rows, "xyz", tmp_path / "all")
    with pytest.raises(InputError, match="nothing to export"):
        export_campaign([], "json", tmp_path / "all")
    with pytest.raises(InputError, match="is not there"):
        export_campaign(rows, "json", tmp_path / "no" / "all")
    export_campaign(rows, "cif", tmp_path / "cifs")
    for format in ("cif", "json"):
        with pytest.raises(InputError, match="name a path that is free"):
            export_campaign(rows, format, tmp_path / "cifs")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="cif writes a folder"):
        export_campaign(rows, "cif", tmp_path / "file")


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=30))
def test_any_provenance_survives_extxyz(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "one.extxyz"
    row = replace(_PLAIN, provenance={"note": text})
    export_campaign([row], "extxyz", path)
    (atoms,) = read(path, index=":")
    assert json.loads(atoms.info["provenance"]) == {"note": text}


_PLAIN = _row()
