"""Campaign files: each refusal names its key, what was found and what is allowed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import read_spec, spec_from
from leadline.tasks.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flows.conftest import Said, WriteFile

GOOD: dict[str, Any] = {
    "name": "small",
    "candidates": [
        {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 4}
    ],
    "engine": {"name": "emt"},
}
ORDERINGS = GOOD["candidates"][0]
PRERELAX = {"engine": {"name": "emt"}}


def refusal(changes: dict[str, Any]) -> list[str]:
    """Return the lines of the refusal, without the first one that names the file."""
    with pytest.raises(SpecError) as error:
        spec_from({**GOOD, **changes}, "file")
    first, *lines = str(error.value).splitlines()
    assert first == "file cannot be used:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"engin": {}}, "engin: unknown key (did you mean 'engine'?); allowed here: acquisition,"),
        (
            {"engine": {"name": "emt", "cutoff": 1}},
            "engine.cutoff: unknown key (did you mean 'asap_cutoff'?); allowed here: asap_cutoff",
        ),
        ({"engine": {"name": "siesta"}}, "engine.name: 'siesta' is not known; known are: abinit,"),
        ({"engine": "emt"}, "engine: found 'emt'; allowed: keys and values"),
        ({"engine": {}}, "engine.name: this key is needed and was not given"),
        (
            {"engine": {"name": "replay", "path": "x"}},
            "engine: needs energy_key, energy_per_atom_key or properties",
        ),
        (
            {"candidates": [ORDERINGS, {**ORDERINGS, "max_atom": 4}]},
            "candidates[1].max_atom: unknown key (did you mean 'max_atoms'?); allowed here:",
        ),
        ({"candidates": [{"source": "order"}]}, "candidates[0].source: 'order' is not known;"),
        ({"candidates": []}, "candidates: found []; allowed: at least 1"),
        ({"candidates": {}}, "candidates: found {}; allowed: a valid list"),
        ({"candidates": [1]}, "candidates[0]: found 1; allowed: keys and values"),
        (
            {"recipe": {"name": "relax", "fmx": 1}},
            "recipe.fmx: unknown key (did you mean 'fmax'?); allowed here: cell, fmax,",
        ),
        ({"recipe": {"name": "relax", "fmax": -1}}, "recipe.fmax: found -1; allowed: greater"),
        (
            {"recipe": {"name": "melt"}},
            "recipe.name: 'melt' is not known; known are: band_gap, elastic",
        ),
        (
            {"recipe": {"name": "relax", "prerelax": {"engine": {"name": "emt", "cutoff": 1}}}},
            "recipe.prerelax.engine.cutoff: unknown key (did you mean 'asap_cutoff'?); allowed",
        ),
        (
            {"recipe": {"name": "relax", "prerelax": {"engine": {"name": "xtb"}}}},
            "recipe.prerelax.engine.name: 'xtb' is not known; known are: abinit,",
        ),
        (
            {"recipe": {"name": "relax", "prerelax": {"engine": {"name": "emt"}, "fmax": 9}}},
            "recipe.prerelax.fmax: found 9; allowed: less than or equal to 1",
        ),
        (
            {"compute": {"right_sizing": {"walltime": {"leest": 1}}}},
            "compute.right_sizing.walltime.leest: unknown key (did you mean 'least'?); allowed "
            "here: after, least, margin",
        ),
        (
            {"compute": {"time_limit": "0 h"}},
            "compute.time_limit: found '0 h'; allowed: more than 0 hours (a number in hours, or",
        ),
        (
            {"recipe": {"name": "relax", "prerelax": {"engine": {}}}},
            "recipe.prerelax.engine.name: this key is needed and was not given",
        ),
        (
            {
                "recipe": {
                    "name": "relax",
                    "prerelax": {"engine": {"name": "replay", "path": "x", "energy_key": "e"}},
                }
            },
            "recipe.prerelax.engine.name: found 'replay'; allowed: an engine that computes",
        ),
        (
            {"recipe": {"name": "elastic", "relax": False, "prerelax": PRERELAX}},
            "recipe: relax is false and keeps the cell as it is, and prerelax would change it;",
        ),
        (
            {"recipe": {"name": "static", "prerelax": PRERELAX}},
            "recipe.prerelax: unknown key; allowed here: none",
        ),
        (
            {"recipe": {"name": "band_gap"}},
            "recipe.name: found 'band_gap', which needs eigenvalues, and the engine 'emt' gives",
        ),
        (
            {"objective": {"tolerance": "1 meV"}},
            "objective.tolerance: found '1 meV'; allowed: a number in eV/atom, or one with a unit "
            "of: eV/atom, meV/atom",
        ),
        ({"objective": {"tolerance": True}}, "objective.tolerance: found True; allowed: a number"),
        ({"objective": {"kind": "hul"}}, "objective.kind: found 'hul'; allowed: hull, property"),
        ({"objective": {"kind": "property"}}, "objective.property: this key is needed"),
        (
            {"objective": {"references": {"values": {}}}},
            "objective.references.kind: found None; allowed: computed, values, fitted",
        ),
        (
            {"objective": {"references": {"kind": "fitted"}}},
            "objective: found references.kind 'fitted', which makes no claim about a hull;",
        ),
        (
            {"objective": {"references": {"kind": "values", "values": {"Cu": "x"}}}},
            "objective.references.values.Cu: found 'x'; allowed: a valid number",
        ),
        ({"name": "a/b"}, "name: found 'a/b'; allowed: 1 to 63 lower-case letters, digits and"),
        ({"name": "x" * 99}, f"name: found '{'x' * 58}…; allowed: 1 to 63 lower-case letters"),
        ({"store": {"uri": "x"}}, "store: found a key uri, which is not allowed, since specs"),
        ({"acquisition": {"name": "best"}}, "acquisition.name: there is no acquisition 'best';"),
        (
            {"acquisition": {"name": "log-expected-improvement"}},
            "acquisition.name: acquisition 'log-expected-improvement' does not serve a hull",
        ),
        ({"acquisition": {"batch": 0}}, "acquisition.batch: found 0; allowed: greater than or"),
        (
            {"acquisition": {"random_share": 0.9, "uncertainty_share": 0.2}},
            "acquisition: found uncertainty_share + random_share = 1.1; allowed: at most 1",
        ),
        ({"surrogate": {"descriptor": "soup"}}, "surrogate.descriptor: found 'soup'; allowed:"),
        ({"compute": {"mode": "fast"}}, "compute.mode: found 'fast'; allowed: 'batch' or 'steady'"),
        (
            {"compute": {"time_limit": "3 parsecs"}},
            "compute.time_limit: found '3 parsecs'; allowed: a number in hours, or one with a unit",
        ),
        ({"compute": {"profile": "../x"}}, "compute.profile: found '../x'; allowed: name of"),
        (
            {"start": {"random": 50}, "stop": {"calculations": 10}},
            "start.random: found 50; allowed: at most stop.calculations, which is 10",
        ),
        ({"start": {"known": [{"path": "x"}]}}, "start.known[0].fingerprint: this key is needed"),
        (
            {"start": {"known": [{"path": "x", "fingerprint": "same", "key": 1}]}},
            "start.known[0].key: unknown key; allowed here: energy_key, fingerprint, path",
        ),
        ({"seed": 16**5000}, "seed: found an integer of 20001 bits; allowed: at most 63"),
        (
            {"stop": {"expected_missed": float("inf")}},
            "stop.expected_missed: found inf; allowed: a finite number",
        ),
        (
            {"description": "\ud800"},
            "description: found '\\ud800'; allowed: text of whole characters",
        ),
        (
            {"engine": {"name": "emt", "x": {1: 2}}},
            "engine.x: found the key 1; allowed: printable text, in quotes if need be",
        ),
        (
            {"candidates": [1] * 3000},
            "and 2980 more like these",
        ),
        ({"stop": {"expected_missed": None}}, "stop: found no rule; allowed: at least one of"),
        ({"stop": {"hours": "1 fortnight"}}, "stop.hours: found '1 fortnight'; allowed:"),
        (
            {
                "engine": {"name": "replay", "path": "x", "energy_key": "e"},
                "recipe": {"name": "relax"},
            },
            "recipe.name: found 'relax'; allowed: static, since engine.name is 'replay'",
        ),
    ],
)
def test_a_refusal_names_its_key_what_was_found_and_what_is_allowed(
    changes: dict[str, Any], line: str
) -> None:
    lines = refusal(changes)
    assert any(each.startswith(line) for each in lines), lines


def test_every_wrong_key_has_a_line_of_its_own() -> None:
    lines = refusal({"engine": {"name": "emt", "x": 1, "y": 2}, "seed": -1, "stop": {"z": 1}})
    assert [line.partition(":")[0] for line in lines] == ["seed", "engine.x", "engine.y", "stop.z"]


@pytest.mark.parametrize("version", [2, "1.1", None])
def test_a_file_of_another_format_is_refused(version: object) -> None:
    with pytest.raises(SpecError, match="this version of leadline reads format 1"):
        spec_from({**GOOD, "leadline": version}, "file")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nengine:\n\tname: emt\n", "is not YAML: line 3, column 1: a tab; YAML indents"),
        ("name: a\nname: b\n", "line 2, column 1: the key 'name' stands twice"),
        ("engine: {name: emt, name: emt}\n", "the key 'name' stands twice"),
        ("name: [a\n", "is not YAML: line 2"),
        ("", "holds NoneType, not keys and values"),
        ("- a\n- b\n", "holds list, not keys and values"),
        ("1: 2\n", "holds dict, not keys and values"),
        ("name: !!python/object/apply:os.system [ls]\n", "is not YAML: line 1"),
        ("? [a, b]\n: c\n", "is not YAML"),
        ("name: \x00\n", "is not YAML"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as error:
        read_spec(file)
    assert words in str(error.value)


def test_a_file_that_is_not_there_not_text_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no campaign file .*gone\.yaml; `leadline init"):
        read_spec(tmp_path / "gone.yaml")
    with pytest.raises(SpecError, match="is a folder; name the campaign file in it"):
        read_spec(tmp_path)
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        read_spec(tmp_path / "c.yaml")


@pytest.mark.parametrize("key", ["uri", "uri_from"])
def test_a_database_uri_is_refused_and_not_shown(campaign_file: WriteFile, key: str) -> None:
    file = campaign_file(store={key: "mongodb://user:hunter2@host/db"})
    with pytest.raises(SpecError) as error:
        read_spec(file)
    assert str(error.value).startswith(f"store.{key}: found a database URI (not shown here)")
    assert "hunter2" not in str(error.value)


def test_paths_start_from_the_files_folder_and_the_data_folder_is_expanded(
    campaign_file: WriteFile, tmp_path: Path
) -> None:
    sources: list[dict[str, Any]] = [
        {
            "source": "files",
            "geometry": "ideal",
            "paths": ["here/*.cif", "/there/a.cif", "${LEADLINE_DATA}/b.cif"],
        }
    ]
    spec = read_spec(campaign_file(candidates=sources), (), {"LEADLINE_DATA": "/data"})
    assert spec.candidates[0].settings["paths"] == [
        f"{tmp_path}/here/*.cif",
        "/there/a.cif",
        "/data/b.cif",
    ]
    sources[0]["paths"] = ["${HOME}/a.cif"]
    with pytest.raises(SpecError, match=r"candidates\[0\]\.paths\[0\]: .*is the only variable"):
        read_spec(campaign_file(candidates=sources))


def test_set_changes_keys_over_the_file(campaign_file: WriteFile) -> None:
    changes = ["stop.calculations=7", "candidates.0.max_atoms=3", "objective.tolerance=2 meV/atom"]
    spec = read_spec(campaign_file(), changes)
    assert spec.stop.calculations == 7
    assert spec.candidates[0].settings["max_atoms"] == 3
    assert spec.objective.tolerance == pytest.approx(0.002)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("nonsense", "must be key.path=value"),
        ("=1", "must be key.path=value"),
        ("a..b=1", "must be key.path=value"),
        ("name.first=1", "name holds no keys"),
        ("name.first.second=1", "first stands in something that holds no keys"),
        ("candidates.7.source=x", "7 is no index of a list of 1"),
        ("candidates.x=1", "x is no index of a list of 1"),
        ("stop.calculations=[", "the value '[' is not YAML"),
        ("stop.calculation=7", "stop.calculation: unknown key (did you mean 'calculations'?)"),
    ],
)
def test_nonsense_in_set_is_refused(campaign_file: WriteFile, change: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        read_spec(campaign_file(), [change])
    assert words in str(error.value)


KEYS = st.sampled_from(
    [
        *CampaignSpec.model_fields,
        *("source", "kind", "references", "values", "known", "path", "paths", "uri", "tolerance"),
    ]
) | st.text(max_size=5)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["emt", "orderings", "hull", "property", "computed", "values", "1 h", "fcc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def test_a_home_folder_that_is_nobodys_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "any.yaml"
    file.write_text("path: ~nobody-of-this-name/x\n")
    with pytest.raises(SpecError, match="path: found '~nobody-of-this-name/x'"):
        read_spec(file)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(KEYS, VALUES, max_size=6), st.booleans())
def test_no_content_gives_anything_but_a_spec_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any], over_a_good_one: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **content} if over_a_good_one else content))
    with suppress(SpecError):
        assert isinstance(read_spec(file), CampaignSpec)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=60))
def test_no_text_gives_anything_but_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(SpecError):
        read_spec(file)


def test_the_command_refuses_in_plain_words(
    command: Callable[..., Said], campaign_file: WriteFile
) -> None:
    said = command("run", campaign_file(engin={}))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("leadline: ")
    assert "engin: unknown key (did you mean 'engine'?)" in said.err
    assert "Traceback" not in said.err
