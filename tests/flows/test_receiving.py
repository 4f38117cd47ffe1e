"""Which paths a spec that came through the API may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leadline.flows.receiving import ROOTS, open_roots, refuse_foreign_paths
from leadline.flows.spec import CampaignSpec
from leadline.tasks.errors import SpecError


def spec(**changes: Any) -> CampaignSpec:
    content = {
        "name": "sent",
        "candidates": [
            {"source": "orderings", "lattice": "fcc", "elements": ["Cu"], "max_atoms": 1}
        ],
        "engine": {"name": "emt"},
    }
    return CampaignSpec.model_validate(content | changes)


def files(*paths: str) -> dict[str, Any]:
    return {"candidates": [{"source": "files", "paths": list(paths), "geometry": "ideal"}]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "open/inner").mkdir(parents=True)
    (tmp_path / "closed").mkdir()
    (tmp_path / "open/way-out").symlink_to(tmp_path / "closed")
    return tmp_path / "open"


@pytest.mark.parametrize("path", ["", "/a.cif", "/inner/*.cif", "/*/a.cif", "/not-there/yet.cif"])
def test_what_lies_in_a_root_is_open(root: Path, path: str) -> None:
    refuse_foreign_paths(spec(**files(f"{root}{path}")), [root])


@pytest.mark.parametrize(
    "path",
    [
        "{root}/../closed/a.cif",
        "{root}/*/../../closed/a.cif",
        "{root}/way-out/a.cif",
        "{root}-beside/a.cif",
        "/etc/passwd",
        "/*/passwd",
        "a.cif",
        "~/a.cif",
        "${LEADLINE_DATA}/a.cif",
    ],
)
def test_what_lies_elsewhere_is_refused_with_its_place_in_the_spec(root: Path, path: str) -> None:
    named = path.replace("{root}", str(root))
    with pytest.raises(SpecError, match=r"candidates\[0\]\.paths\[1\]: found") as error:
        refuse_foreign_paths(spec(**files(str(root), named)), [root])
    assert repr(named) in str(error.value)
    assert f"inside {root}" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (
            {
                "candidates": [
                    {
                        "source": "orderings",
                        "parent": "/x",
                        "sublattices": {"O": ["S"]},
                        "max_atoms": 1,
                    }
                ]
            },
            "candidates[0].parent",
        ),
        (
            {"candidates": [{"source": "dataset", "path": "/x", "geometry": "ideal"}]},
            "candidates[0].path",
        ),
        ({"start": {"known": [{"path": "/x", "fingerprint": "same"}]}}, "start.known[0].path"),
        (
            {"engine": {"name": "replay", "path": "/x", "energy_key": "energy"}},
            "engine.path",
        ),
    ],
)
def test_each_key_that_names_a_file_is_looked_at(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(SpecError, match=r"(?s)found ./x.*data_roots: it has none") as error:
        refuse_foreign_paths(spec(**changes), [])
    assert f"  {place}: " in str(error.value)


def test_roots_are_those_of_the_profile_and_of_the_process(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "here.yaml").write_text(f"cluster: {{kind: local}}\ndata_roots: [{root}]\n")
    monkeypatch.setenv("LEADLINE_PROFILES", str(profiles))
    assert open_roots("here") == [root]
    monkeypatch.setenv(ROOTS, f"/data:{root}/inner")
    assert open_roots("here") == [root, Path("/data"), root / "inner"]
