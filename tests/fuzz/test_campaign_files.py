"""Any campaign file, ``--set`` or machine profile can be kept, or is refused in words.

Bad values stand at any key and at any depth of good samples; then their text is damaged.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from damage import counted, damaged
from hypothesis import given
from hypothesis import strategies as st

from leadline.flows.bench import parts_of
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import read_spec, spec_from
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.compute.profile import Profile, load_profile
from leadline.tasks.errors import ProfileError, SpecError
from leadline.tasks.store.base import event_id
from leadline.tasks.store.records import Event
from leadline.tasks.store.store import Store, open_store

Place = tuple[str | int, ...]

HULL: dict[str, Any] = {
    "leadline": 1,
    "name": "hull",
    "description": "for people",
    "seed": 3,
    "objective": {
        "kind": "hull",
        "tolerance": "2 meV/atom",
        "references": {"kind": "computed", "phases": {"Cu": ["fcc", "bcc"]}},
    },
    "candidates": [
        {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 4},
        {"source": "prototypes", "elements": ["Cu", "Au"], "names": ["L1_2"]},
        {"source": "files", "paths": ["some/*.cif"], "geometry": "ideal"},
    ],
    "checks": {"shortest_distance": 0.5, "max_sites": 20, "charge_balance": False},
    "engine": {
        "name": "espresso",
        "pseudopotentials": {"Cu": "Cu.UPF", "Au": "Au.UPF"},
        "ecutwfc": 30,
        "kspacing": 0.3,
        "nspin": 2,
        "starting_magnetization": {"Cu": 0.1},
        "extra": {"system": {"noinv": True}},
    },
    "recipe": {"name": "relax", "fmax": 0.02, "cell": True},
    "surrogate": {"descriptor": "auto", "noise_floor": 1e-6},
    "acquisition": {"name": "auto", "batch": 4},
    "compute": {"profile": "local", "workers": 2, "mode": "batch", "time_limit": "30 min"},
    "store": {"uri_from": "SOME_VARIABLE", "patience": "2 d"},
    "start": {"random": 4, "known": [{"path": "known.extxyz", "fingerprint": "same"}]},
    "stop": {"calculations": 12, "hours": "3 h", "expected_missed": 0.5},
}
PROPERTY: dict[str, Any] = {
    "name": "property",
    "objective": {"kind": "property", "property": "gap", "direction": "maximise", "threshold": 2},
    "candidates": [
        {"source": "dataset", "path": "a.extxyz", "labels": ["gap"], "geometry": "ideal"}
    ],
    "engine": {"name": "replay", "path": "a.extxyz", "properties": {"gap": "gap"}},
    "stop": {"rounds_without_discovery": 3},
}
GIVEN: dict[str, Any] = {
    "name": "given",
    "objective": {"references": {"kind": "values", "values": {"Cu": -3.7}, "fingerprint": "ab"}},
    "candidates": [
        {
            "source": "orderings",
            "parent": "a.cif",
            "sublattices": {"Cu": ["Cu", "Au"]},
            "max_atoms": 4,
        }
    ],
    "engine": {"name": "emt"},
}
SAMPLES = (HULL, PROPERTY, GIVEN)
PROFILE: dict[str, Any] = {
    "cluster": {"kind": "local", "workers": 2, "dashboard": "127.0.0.1:0", "scratch": "/tmp"},
    "engines": {
        "espresso": {"launcher": "mpirun -np {ranks}", "ranks": 4, "pseudopotentials": "/pseudo"}
    },
    "calculations": "/calculations",
    "data_roots": ["/data"],
    "time_limit": 3600,
    "dask": {"distributed.comm.timeouts.connect": "60s"},
}
TLS: dict[str, Any] = {
    "cluster": {
        "kind": "scheduler",
        "address": "tls://node17:8786",
        "ca": "/ca.pem",
        "certificate": "/c.pem",
        "key": "/k.pem",
        "timeout": 10,
    }
}


def nest(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


BAD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**9, 2**63, -(2**64), 10**400, 10**5000, 1e-320, 1e308,
    float("inf"), float("-inf"), float("nan"), "", " ", "\x00", "\n", "\ud800", "é٣\u202e", "~x/y",
    "x" * 5000, "1 meV/atom", "1e400 h", "-3 h", "nan h", "9" * 5000 + " h", "٣", "${HOME}",
    "${LEADLINE_DATA}", "mongodb://u:p@h/d", "hull", "values", "emt", "orderings", "os.system",
    "../../etc", "/dev/zero", "%s{}{0}", "2020-01-01", b"\xff", date(2020, 1, 1),
    datetime(2020, 1, 1), [], {}, [None], [[]], [{}], ["Cu", "Cu"], ["Xx"], [1, 2], [0, -1, 10**9],
    {"": None}, {"kind": []}, {"kind": {}}, {"kind": "values"}, {"name": "emt"}, {"name": ["emt"]},
    {"Cu": float("nan")}, {"Cu": [[]]}, {"\ud800": "\ud800"}, {1: 2}, {None: None},
    {"a.b": {"$c": 1}}, {True: "x"}, nest(60), nest(300), {"x": set()}, [1] * 3000,
)  # fmt: skip
bad = st.one_of(
    st.sampled_from(BAD),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=8,
    ),
)


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Yield every place in a sample, the whole of it and new keys included."""
    yield here
    if isinstance(value, dict):
        yield (*here, "new")
        for key, item in value.items():
            yield from places(item, (*here, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*here, number))


PLACES = {id(each): tuple(places(each)) for each in (*SAMPLES, PROFILE, TLS)}


@st.composite
def spoilt(draw: st.DrawFn, samples: tuple[dict[str, Any], ...]) -> Any:
    """Draw a sample with one to three bad values, or with keys left out."""
    chosen = draw(st.sampled_from(samples))
    content = {"whole": copy.deepcopy(chosen)}
    for _ in range(draw(st.integers(1, 3))):
        place: Place = ("whole", *draw(st.sampled_from(PLACES[id(chosen)])))
        value = draw(bad)
        _put(content, place, value, drop=draw(st.integers(0, 5)) == 0)
    return content["whole"]


def _put(content: Any, place: Place, value: Any, *, drop: bool) -> None:
    for part in place[:-1]:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return  # an earlier bad value stands in the way
    if drop and isinstance(content, dict) and len(place) > 1:
        content.pop(place[-1], None)
    elif isinstance(content, dict) or (
        isinstance(content, list) and place[-1] in range(len(content))
    ):
        content[place[-1]] = value  # type: ignore[index]  # a place in a list is a number


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(None, tmp_path_factory.mktemp("store")) as opened:
        yield opened


def settled(spec: CampaignSpec, store: Store) -> None:
    """Check that an accepted campaign can be kept and read again, and is set up or refused."""
    plain = spec.model_dump(mode="json")
    kept = store.log("fuzz", "spec", spec.name, plain)
    (found,) = store._find(store._documents.events, Event, pk=event_id(kept))
    again = CampaignSpec.model_validate(found.details)
    assert again.model_dump(mode="json") == plain
    try:
        parts = parts_of(spec)
        assert parts.problem
        assert parts.stop
        assert parts.checks
        assert parts.elements is not None
    except LeadlineError as error:
        printable(error)


def printable(error: BaseException) -> None:
    """Check that a refusal has words, few enough to read, that any terminal can show."""
    words = str(error)
    assert words.strip()
    assert len(words) < 20_000
    words.encode()


def test_bad_values_at_any_key_are_refused_in_words_or_accepted_for_good(store: Store) -> None:
    @counted(1500)
    @given(spoilt(SAMPLES))
    def holds(content: Any) -> None:
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            return
        try:
            spec = spec_from(content, "some.yaml")
        except SpecError as error:
            printable(error)
        else:
            settled(spec, store)

    holds()


def test_bad_values_in_a_file_are_refused_in_words_or_accepted_for_good(
    store: Store, folder: Path
) -> None:
    path = folder / "some.yaml"

    @counted(300)
    @given(spoilt(SAMPLES))
    def holds(content: Any) -> None:
        try:
            path.write_text(yaml.dump(content), encoding="utf-8")
        except (RecursionError, ValueError):  # what cannot be written, nobody wrote
            return
        read(path, store)

    holds()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda each: each["name"])
def test_a_damaged_campaign_file_is_refused_in_words_or_accepted_for_good(
    sample: dict[str, Any], store: Store, folder: Path
) -> None:
    path = folder / "some.yaml"

    @counted(250)
    @given(damaged(yaml.safe_dump(sample).encode()))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        read(path, store)

    holds()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "name: &a {x: *a}",
        "&a {name: *a}",
        "? [1, 2]\n: 3",
        "? {a: b}\n: 3",
        "? !!set {a, b}\n: 3",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]"
                    for n in range(12)),
        "name: x\nname: y",
        "name: " + "[" * 3000,
        "name: " + "{a: " * 3000,
        "x: " + "- " * 5000,
        "<<: *x",
        "<<: [1, 2]",
        "name: &a {<<: *a}",
        "name: !!binary 'x'",
        "name: !!timestamp x",
        "name: !!int x",
        "name: !!float _",
        "name: 2020-99-99",
        "name: 1:99999999999999999999:1",
        "name: 0b_",
        'name: "\\ud800"',
        "--- a\n--- b",
        "%YAML 9.9\n---\nname: x",
        "\ufeffname: x",
        "name: !!python/object/apply:os.system [ls]",
        "\x85\u2028name: x",
    ],
)  # fmt: skip
def test_hard_yaml_is_refused_in_words(text: str, store: Store, folder: Path) -> None:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    read(path, store)
    profile(folder, text.encode())
    with pytest.raises(SpecError) as refused:
        read_spec(path, [f"seed={text}"])
    printable(refused.value)


def test_any_change_on_the_command_line_is_refused_in_words_or_accepted_for_good(
    store: Store, folder: Path
) -> None:
    path = folder / "some.yaml"
    path.write_text(yaml.safe_dump(HULL), encoding="utf-8")
    dotted = [".".join(map(str, place)) for place in PLACES[id(HULL)] if place]

    @counted(400)
    @given(
        st.lists(
            st.tuples(
                st.one_of(st.sampled_from(dotted), st.text(max_size=12)),
                st.one_of(bad.map(_as_yaml), st.text(max_size=12)),
            ).map("=".join)
            | st.text(max_size=20),
            min_size=1,
            max_size=3,
        )
    )
    def holds(changes: list[str]) -> None:
        read(path, store, changes)

    holds()


def _as_yaml(value: Any) -> str:
    try:
        return yaml.dump(value, default_flow_style=True).removesuffix("\n...\n")
    except (RecursionError, ValueError):
        return "[" * 2000


def read(path: Path, store: Store, changes: list[str] | tuple[str, ...] = ()) -> None:
    try:
        spec = read_spec(path, changes)
    except SpecError as error:
        printable(error)
    else:
        settled(spec, store)


@pytest.fixture(autouse=True)
def _profiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_PROFILES", str(folder))


def profile(folder: Path, content: bytes) -> None:
    """Read a profile: it is one, and says what it was told, or is refused in words."""
    (folder / "there.yaml").write_bytes(content)
    try:
        read = load_profile("there")
    except ProfileError as error:
        printable(error)
        assert "there.yaml" in str(error)  # noqa: PT017
    else:
        assert Profile.model_validate(read.model_dump()) == read


@pytest.mark.parametrize("sample", [PROFILE, TLS], ids=["local", "scheduler"])
def test_a_spoilt_or_damaged_profile_is_refused_in_words_or_read(
    sample: dict[str, Any], folder: Path
) -> None:
    @counted(300)
    @given(
        st.one_of(
            spoilt((sample,)).map(lambda content: _as_yaml(content).encode(errors="replace")),
            damaged(yaml.safe_dump(sample).encode()),
        )
    )
    def holds(content: bytes) -> None:
        profile(folder, content)

    holds()


def test_the_samples_are_campaigns_and_profiles(store: Store, folder: Path) -> None:
    for sample in SAMPLES:
        settled(spec_from(sample, "sample"), store)
        assert json.dumps(sample)
    for sample in (PROFILE, TLS):
        (folder / "there.yaml").write_text(yaml.safe_dump(sample))
        assert load_profile("there").cluster.kind == sample["cluster"]["kind"]
