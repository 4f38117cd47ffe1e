"""From sources to a pool, its file, and what the mathematics sees of it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from leadline.surrogate.candidate import Candidate, Geometry
from leadline.surrogate.descriptors.table import descriptor
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.features import pool_features
from leadline.tasks.candidates.pool import BLOCK, PoolFile
from leadline.tasks.candidates.source import Drops, Source, SourceSettings, make_candidate
from leadline.tasks.candidates.table import source
from leadline.tasks.errors import CandidateError
from leadline.tasks.structures import structure_id

SAMPLE = Path(__file__).parents[2] / "data" / "cuagau_fcc" / "dataset.extxyz.gz"
ORDERINGS = {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 5}


class Given(Source):
    """A source that gives the structures that a test made."""

    name: ClassVar[str] = "given"
    Settings: ClassVar[type[SourceSettings]] = SourceSettings
    distinct: ClassVar[bool] = False
    geometry: Geometry = "ideal"

    def __init__(self, settings: Mapping[str, Any], base: Path) -> None:
        self.structures: list[Structure] = settings["structures"]
        self.drops = Drops()

    def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
        for structure in self.structures:
            yield make_candidate(structure, {"source": self.name}, self.geometry)


def build(
    folder: Path, *sources: tuple[str, dict[str, Any]] | list[Structure], **options: Any
) -> PoolFile:
    checks = options.pop("checks", Checks())
    made = [
        Given({"structures": given}, folder)
        if isinstance(given, list)
        else source(given[0], given[1], SAMPLE.parent)
        for given in sources
    ]
    return build_pool(made, checks, np.random.default_rng(0), folder, **options)


def copper(edge: float = 3.6, **properties: Any) -> Structure:
    matrix = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]) * edge
    return Structure(Lattice(matrix), ["Cu"], [[0.0, 0.0, 0.0]], site_properties=properties)


def test_a_pool_holds_what_the_source_gave_in_its_order(tmp_path: Path) -> None:
    pool = build(tmp_path, ("orderings", ORDERINGS))
    given = list(source("orderings", ORDERINGS, tmp_path).generate(np.random.default_rng(0)))
    assert pool.ids == tuple(c.id for c in given)
    assert pool.formulas == tuple(c.formula for c in given)
    assert pool.elements == ("Au", "Cu")
    assert pool.sites.tolist() == [len(c.material) for c in given]
    assert pool.fractions[:, 1] == pytest.approx(
        [c.composition.get_atomic_fraction("Cu") for c in given]
    )
    read = list(pool.candidates())
    assert [c.id for c in read] == list(pool.ids)
    assert [structure_id(cell_of(c)) for c in read] == list(pool.ids)
    assert [dict(c.provenance) for c in read] == [dict(c.provenance) for c in given]


def cell_of(candidate: Candidate) -> Structure:
    assert isinstance(candidate.material, Structure)
    return candidate.material


def test_the_same_settings_give_the_same_file(tmp_path: Path) -> None:
    one = build(tmp_path / "a", ("orderings", ORDERINGS))
    other = build(tmp_path / "b", ("orderings", ORDERINGS))
    assert one.path.name == other.path.name
    assert one.path.read_bytes() == other.path.read_bytes()
    more = build(tmp_path / "b", ("orderings", ORDERINGS | {"max_atoms": 4}))
    assert more.sha256 != one.sha256


def test_one_candidate_is_read_without_the_others(tmp_path: Path) -> None:
    pool = build(tmp_path, ("orderings", ORDERINGS | {"max_atoms": 8}))
    assert len(pool) > 2 * BLOCK
    for row in (0, BLOCK - 1, BLOCK, len(pool) - 1):
        found = pool.candidate(pool.ids[row])
        assert (found.id, found.formula) == (pool.ids[row], pool.formulas[row])
    wanted = [pool.ids[600], pool.ids[1], pool.ids[600]]
    assert [c.id for c in pool.some(wanted)] == wanted
    with pytest.raises(CandidateError, match="no candidate of this pool has the id"):
        pool.candidate("0" * 64)


def test_one_crystal_in_several_cells_counts_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    moved = copper()
    moved.translate_sites([0], [0.3, 0.1, 0.7])
    rattled = copper() * (2, 1, 1)
    rattled.perturb(0.02, seed=1)
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotated = Structure(Lattice(copper().lattice.matrix @ turned), ["Cu"], [[0.0, 0.0, 0.0]])
    cells = [copper(), copper(), moved, copper() * (2, 2, 1), rattled, rotated, copper(3.7)]
    pool = build(tmp_path, cells)
    assert len(pool) == 1
    assert pool.report.dropped == {"duplicate": 6}


def test_volume_tells_apart_only_what_is_not_relaxed(tmp_path: Path) -> None:
    cells = [copper(3.4), copper(3.8)]
    assert len(build(tmp_path, cells, scale=False)) == 2
    assert len(build(tmp_path, cells, scale=True)) == 1


def test_moments_tell_apart_but_not_their_common_sign(tmp_path: Path) -> None:
    cell = Structure(Lattice.cubic(2.9), ["Fe", "Fe"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    cells = [
        Structure(cell.lattice, cell.species, cell.frac_coords, site_properties={"magmom": list(m)})
        for m in ((2.0, 2.0), (2.0, -2.0), (-2.0, 2.0), (-2.0, -2.0), (2.1, 2.1))
    ]
    assert len(build(tmp_path, cells)) == 2


def test_sources_are_compared_with_each_other(tmp_path: Path) -> None:
    prototypes = {"elements": ["Cu", "Au"], "names": ["A1", "A2", "L1_2", "B2"]}
    pool = build(tmp_path, ("orderings", ORDERINGS), ("prototypes", prototypes))
    # A1 and L1_2 are orderings of fcc, both ways; the two decorations of B2 are one.
    assert pool.report.by_source == {"orderings": 57, "prototypes": 3}
    assert pool.report.dropped == {"duplicate": 5}
    origins = [c.provenance.get("strukturbericht") for c in pool.candidates()]
    assert origins[57:] == ["A2", "A2", "B2"]


def test_a_twin_is_found_in_a_block_that_is_already_on_disk(tmp_path: Path) -> None:
    many = ORDERINGS | {"max_atoms": 8}
    given = list(source("orderings", many, tmp_path).generate(np.random.default_rng(0)))
    twins = [cell_of(given[row]) * (1, 2, 1) for row in (3, 100, 300)]
    pool = build(tmp_path, ("orderings", many), twins)
    assert len(pool) == len(given)
    assert pool.report.dropped == {"duplicate": 3}


def test_the_same_source_twice_adds_nothing(tmp_path: Path) -> None:
    pool = build(tmp_path, ("orderings", ORDERINGS), ("orderings", ORDERINGS | {"max_atoms": 4}))
    assert len(pool) == 57
    assert pool.report.dropped == {"duplicate": 29}


def test_drops_are_counted_with_an_example(tmp_path: Path) -> None:
    near = Structure(Lattice.cubic(5), ["Cu", "Au"], [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
    gas = Structure(Lattice.cubic(9), ["Cu"], [[0.0, 0.0, 0.0]])
    pool = build(tmp_path, [copper(), near, gas, near])
    assert pool.report.dropped == {"atoms too close": 2, "volume per atom": 1}
    assert pool.report.words() == (
        "1 candidates (1 from given); dropped: 2 atoms too close, 1 volume per atom"
    )
    assert "0.5 Å" in pool.report.examples["atoms too close"]


def test_what_a_source_could_not_read_is_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "bad.cif").write_text("data_nothing")
    pool = build(
        tmp_path, [copper()], ("files", {"paths": [str(tmp_path / "bad.cif")], "geometry": "ideal"})
    )
    assert pool.report.dropped == {"unreadable": 1}


def test_an_empty_pool_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match="the sources gave nothing"):
        build(tmp_path, [])
    lacking = Checks(elements=frozenset({"Al"}))
    with pytest.raises(CandidateError, match="none is left of 57: 57 element not computed by"):
        build(tmp_path, ("orderings", ORDERINGS), checks=lacking)
    assert not list(tmp_path.iterdir())


def test_a_failing_source_leaves_no_file(tmp_path: Path) -> None:
    class Failing(Given):
        def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
            yield make_candidate(copper(), {}, "ideal")
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        build_pool(
            [Failing({"structures": []}, tmp_path)], Checks(), np.random.default_rng(0), tmp_path
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_cut_file_is_refused(tmp_path: Path, keep: float) -> None:
    pool = build(tmp_path, ("orderings", ORDERINGS))
    content = pool.path.read_bytes()
    pool.path.write_bytes(content[: int(keep * len(content) if keep < 1 else keep)])
    with pytest.raises(CandidateError, match="is no pool of candidates"):
        PoolFile(pool.path)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("about.json", "{}")
    with pytest.raises(CandidateError, match="is no pool of candidates"):
        PoolFile(tmp_path / "other.zip")


def test_features_are_made_once_and_read_after(tmp_path: Path) -> None:
    pool = build(tmp_path, ("dataset", {"path": SAMPLE.name, "geometry": "ideal"}))
    chosen = descriptor("pair-correlations", pool.elements)
    table, preparation = pool_features(pool, chosen, tmp_path / "features")
    again, _ = pool_features(pool, Unusable(chosen.id), tmp_path / "features")  # type: ignore[arg-type]
    assert isinstance(table.features, np.memmap)
    assert np.array_equal(table.features, again.features)
    expected = preparation.transform(chosen.describe(list(pool.candidates())))
    assert np.allclose(table.features, expected, atol=1e-5)
    assert (table.ids, table.formulas, table.elements) == (pool.ids, pool.formulas, pool.elements)
    assert not list((tmp_path / "features").glob(".*"))


class Unusable:
    """A descriptor with an id and nothing else: to describe with it would fail."""

    def __init__(self, name: str) -> None:
        self.id = name


@pytest.mark.slow
@pytest.mark.skipif("LEADLINE_DATA" not in os.environ, reason="LEADLINE_DATA names no data")
def test_no_row_of_the_data_set_is_a_duplicate_of_another(tmp_path: Path) -> None:
    path = Path(os.environ["LEADLINE_DATA"]) / "cuagau_fcc" / "dataset.extxyz.gz"
    pool = build(tmp_path, ("files", {"paths": [str(path)], "geometry": "ideal"}))
    assert len(pool) == 1067
    assert not pool.report.dropped
