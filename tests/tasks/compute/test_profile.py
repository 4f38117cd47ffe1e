from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.tasks.compute.batch_systems import BATCH_SYSTEMS
from leadline.tasks.compute.profile import (
    LocalCluster,
    SchedulerCluster,
    load_profile,
    profile_names,
)
from leadline.tasks.compute.queue_settings import QueueCluster
from leadline.tasks.errors import ProfileError


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setenv("LEADLINE_PROFILES", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def test_the_profile_of_this_machine_comes_with_leadline() -> None:
    profile = load_profile("local")
    assert profile.cluster == LocalCluster()
    assert not profile.outlives_driver
    assert profile.site("emt").ranks == 1


def test_the_profile_of_a_running_scheduler_can_be_read_as_it_comes() -> None:
    profile = load_profile("scheduler")
    assert isinstance(profile.cluster, SchedulerCluster)
    assert profile.outlives_driver
    assert profile.calculations == Path("/shared/leadline/calculations")


@pytest.mark.parametrize("kind", BATCH_SYSTEMS)
def test_the_profile_of_each_batch_system_can_be_read_as_it_comes(kind: str) -> None:
    profile = load_profile(kind)
    assert isinstance(profile.cluster, QueueCluster)
    assert profile.cluster.kind == kind
    assert profile.site("espresso").ranks == profile.cluster.resources.ranks == 32
    assert not profile.outlives_driver
    jobs = profile.cluster.model_copy(update={"way": "jobs"})
    assert profile.model_copy(update={"cluster": jobs}).outlives_driver


def test_a_profile_of_ones_own_goes_before_one_that_comes_along(profiles: Path) -> None:
    (profiles / "local.yaml").write_text("cluster: {kind: local, workers: 7}\n")
    cluster = load_profile("local").cluster
    assert isinstance(cluster, LocalCluster)
    assert cluster.workers == 7


def test_the_folder_in_the_home_directory_is_looked_into(tmp_path: Path) -> None:
    home = tmp_path / ".config/leadline/profiles"
    home.mkdir(parents=True)
    (home / "mine.yaml").write_text("")
    assert load_profile("mine").name == "mine"
    assert profile_names() == sorted(["local", "mine", "scheduler", *BATCH_SYSTEMS])


def test_a_profile_says_where_an_engine_is(profiles: Path) -> None:
    (profiles / "big.yaml").write_text(
        "engines:\n  espresso:\n    launcher: mpirun -np {ranks}\n    ranks: 4\n"
    )
    assert load_profile("big").site("espresso").ranks == 4
    assert load_profile("big").site("emt").command is None


@pytest.mark.parametrize("name", ["absent", "../local", "a/b", "", "Local", "local.yaml"])
def test_a_name_without_a_profile_is_refused_with_those_found(name: str) -> None:
    with pytest.raises(ProfileError, match="found are: htcondor, local, lsf, oar, pbs"):
        load_profile(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cluster: {kind: local, worker: 2}", r"bad\.yaml\.cluster\.worker: .*'workers'"),
        (
            "cluster: {kind: slurm, quue: x}",
            r"bad\.yaml\.cluster\.quue: .*'queue'.*; allowed here: account, dashboard, .*, way$",
        ),
        (
            "larger: [{above: 8, cluster: {kind: pbs, resources: {node: 2}}}]",
            r"bad\.yaml\.larger\[0\]\.cluster\.resources\.node: unknown key \(did you mean "
            r"'nodes'\?\); allowed here: gpus, memory, nodes, ranks, threads, walltime$",
        ),
        (
            "cluster: {kind: slurm, resources: {walltime: 30 s}}",
            r"bad\.yaml\.cluster\.resources\.walltime: found 30 seconds; allowed: at least 60 "
            r"seconds \(a number in seconds, or one with a unit of: h, .*, s, d\)$",
        ),
        ("cluster: {kind: slurmish}", r"cluster\.kind: found 'slurmish'; allowed: local, sched"),
        ("cluster: {kind: scheduler, address: node17}", r"bad\.yaml\.cluster\.address: found"),
        ("cluster: {kind: scheduler, address: 'tls://node17:8786'}", "needs ca, certificate"),
        ("cluster: {kind: scheduler, address: 'tcp://n:1', ca: /x}", "need a tls:// address"),
        ("engines: {espresso: {cmd: pw.x}}", r"engines\.espresso\.cmd"),
        ("calculations: here", "absolute paths, not here"),
        ("data_roots: [/a, b]", "absolute paths, not b"),
        ("time_limit: -1", r"time_limit.*greater than 0"),
        ("name: other", "remove this key"),
        ("- a\n- b", "mapping of keys"),
        ("cluster:\n\tkind: local", "not YAML.*line 2"),
        ("unknown: 1", "unknown key; allowed here: .*cluster"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_key(profiles: Path, text: str, words: str) -> None:
    (profiles / "bad.yaml").write_text(text)
    with pytest.raises(ProfileError, match=f"(?s){words}"):
        load_profile("bad")


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_no_text_in_a_profile_raises_anything_but_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "any.yaml").write_text(text, encoding="utf-8", errors="replace", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLINE_PROFILES", str(folder))
        refused = ""
        try:
            load_profile("any")
        except ProfileError as error:
            refused = str(error)
    assert not refused or "any.yaml" in refused
