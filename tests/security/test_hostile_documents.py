"""Documents, files and links made by somebody who means harm: they do nothing, in clear words."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pytest
from ase.build import bulk

from leadline.flows.spec_file import read_spec
from leadline.tasks.calculation import Request
from leadline.tasks.candidates.files import FilesSource
from leadline.tasks.compute.profile import load_profile
from leadline.tasks.engines.compute import compute
from leadline.tasks.errors import ProfileError, SpecError, StoreError
from leadline.tasks.store.artefacts import Artefacts
from leadline.tasks.store.records import ArtefactRef
from leadline.tasks.structures import from_plain

CRYSTAL: dict[str, Any] = {
    "lattice": [[3.6, 0, 0], [0, 3.6, 0], [0, 0, 3.6]],
    "species": ["Cu"],
    "coords": [[0.0, 0.0, 0.0]],
}
NAMES = {"@module": "trap", "@class": "Trap", "@callable": "trap.spring", "@version": None}
SPEC = """\
name: small
candidates: [{source: orderings, lattice: fcc, elements: [Cu, Au], max_atoms: 2}]
engine: {name: emt}
"""


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a mark when it is imported, or when anything of it is called."""
    mark = tmp_path / "sprung"
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "trap.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(folder)
    return mark


def untouched(trap: Path) -> bool:
    return not trap.exists() and "trap" not in sys.modules


def test_a_document_that_names_a_class_is_a_crystal_or_nothing(trap: Path) -> None:
    species = [{**NAMES, "element": "Cu"}]
    assert len(from_plain({**CRYSTAL, **NAMES})) == 1
    with pytest.raises(Exception, match="cannot be rebuilt"):
        from_plain({**CRYSTAL, "species": species})
    with pytest.raises(Exception, match="cannot be rebuilt"):
        from_plain({**CRYSTAL, "lattice": {**NAMES, "matrix": CRYSTAL["lattice"]}})
    assert untouched(trap)


def test_files_whose_contents_name_classes_are_read_as_numbers(trap: Path, tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "rows.db") as rows:
        rows.write(bulk("Cu"), data={"__ase_objtype__": "trap", **NAMES}, note=json.dumps(NAMES))
    words = json.dumps(NAMES).replace('"', '\\"')
    (tmp_path / "frames.extxyz").write_text(
        '1\nLattice="3.6 0 0 0 3.6 0 0 0 3.6" Properties=species:S:1:pos:R:3 '
        f'note="{words}" run="_JSON {words}"\nCu 0 0 0\n'
    )
    source = FilesSource({"paths": ["rows.db", "frames.extxyz"], "geometry": "ideal"}, tmp_path)
    found = list(source.generate(np.random.default_rng(0)))
    assert [each.formula for each in found] == ["Cu", "Cu"]
    assert untouched(trap)


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [sprung]",
        "!!python/module:trap",
        "!!python/name:trap.spring",
        "!!python/object/new:trap.Trap {}",
    ],
)
def test_a_tag_in_yaml_is_refused_and_calls_nothing(
    value: str, trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEADLINE_PROFILES", str(tmp_path))
    (tmp_path / "spec.yaml").write_text(f"{SPEC}description: {value}\n")
    (tmp_path / "good.yaml").write_text(SPEC)
    (tmp_path / "mine.yaml").write_text(f"cluster: {value}\n")
    with pytest.raises(SpecError, match="could not determine a constructor"):
        read_spec(tmp_path / "spec.yaml")
    with pytest.raises(SpecError, match="is not YAML"):
        read_spec(tmp_path / "good.yaml", [f"description={value}"])
    with pytest.raises(ProfileError, match="could not determine a constructor"):
        load_profile("mine")
    assert untouched(trap)


@pytest.mark.parametrize("digest", ["../../secret", "/etc/passwd", "ab/../../secret", "", "A" * 64])
def test_a_record_cannot_point_out_of_the_folder_of_artefacts(digest: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept")
    files = Artefacts(str(tmp_path / "store" / "artefacts"))
    with pytest.raises(StoreError, match="which is no sha256"):
        files.get(ArtefactRef(digest, 4, "text/plain"))


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "a/b", ".hidden", "x" * 5000])
def test_names_that_are_paths_name_no_profile_and_no_campaign(name: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    with pytest.raises(ProfileError, match="no machine profile is called"):
        load_profile(name)
    with pytest.raises(SpecError, match="name: found"):
        read_spec(tmp_path / "spec.yaml", [f"name={json.dumps(name)}"])


def test_links_that_turn_back_or_lead_to_devices_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "cifs"
    folder.mkdir()
    (folder / "round").symlink_to(folder)
    (folder / "zero.cif").symlink_to("/dev/zero")
    (folder / "gone.cif").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.cif")
    (folder / "good.cif").write_text(to_cif())
    source = FilesSource({"paths": ["cifs"], "geometry": "ideal"}, tmp_path)
    assert [each.formula for each in source.generate(np.random.default_rng(0))] == ["Cu"]


def test_a_link_in_the_place_of_scratch_or_raw_files_costs_nobody_a_file(tmp_path: Path) -> None:
    victim = tmp_path / "home"
    victim.mkdir()
    (victim / "thesis").write_text("ten years")
    attempt = tmp_path / "calculation" / "attempt-1"
    (attempt / "raw").mkdir(parents=True)
    (attempt / "raw" / "out").symlink_to(victim)
    request = Request(
        calculation="c" * 64,
        attempt=1,
        structure_id="s",
        structure=CRYSTAL,
        engine={"name": "espresso", "settings": {}},
        recipe={"name": "static", "settings": {}},
        site={},
        folder=str(attempt.parent),
        keep="none",
    )
    assert compute(request, attempt).failure is not None
    assert (victim / "thesis").read_text() == "ten years"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "1e308", ".nan"])
@pytest.mark.parametrize("key", ["stop.calculations", "objective.tolerance", "compute.workers"])
def test_a_number_of_no_size_is_refused_by_its_key(key: str, number: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    with pytest.raises(SpecError) as refused:
        read_spec(tmp_path / "spec.yaml", [f"{key}={number}"])
    assert key in str(refused.value)
    assert len(str(refused.value)) < 1000


def to_cif() -> str:
    return str(from_plain(CRYSTAL).to(fmt="cif"))
