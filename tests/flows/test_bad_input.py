"""What a campaign is told before anything is spent: bad candidates, and changes that mix labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leadline.flows.store_of import open_for

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
Command = Callable[..., "Said"]

CIF = """data_x
_cell_length_a 3.6
_cell_length_b 3.6
_cell_length_c 3.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""
GOOD = CIF + "A1 Cu 0 0 0\nA2 Au 0.5 0.5 0.5\n"
FILES = [{"source": "files", "paths": ["cifs"], "geometry": "ideal"}]


def write(folder: Path, **texts: str) -> None:
    (folder / "cifs").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / "cifs" / f"{name}.cif").write_text(text)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"broken": "data_x\nloop_\n_cell"}, "candidates: none is left of 1: 1 unreadable"),
        (
            {"close": CIF + "A1 Cu 0 0 0\nA2 Au 0.1 0 0\n"},
            "candidates: none is left of 1: 1 atoms too close",
        ),
        ({"iron": CIF + "A1 Fe 0 0 0\n"}, "candidates: none is left of 1: 1 element"),
    ],
)
def test_a_pool_of_nothing_usable_is_refused_with_counted_reasons(
    command: Command, campaign_file: WriteFile, tmp_path: Path, texts: dict[str, str], words: str
) -> None:
    write(tmp_path, **texts)
    said = command("run", campaign_file(candidates=FILES))
    assert said.code == 2
    assert f"leadline: {words}" in said.err
    assert "Traceback" not in said.out + said.err


def test_an_empty_folder_is_refused(
    command: Command, campaign_file: WriteFile, tmp_path: Path
) -> None:
    (tmp_path / "cifs").mkdir()
    said = command("check", campaign_file(candidates=FILES))
    assert said.code == 1
    assert "FAIL  candidates" in said.out
    assert "It cannot run yet." in said.out


def test_bad_files_and_duplicates_are_counted_drops_and_a_large_budget_is_a_note(
    command: Command, campaign_file: WriteFile, tmp_path: Path
) -> None:
    shifted = CIF + "A1 Au 0 0 0\nA2 Cu 0.5 0.5 0.5\n"
    close = CIF + "A1 Cu 0 0 0\nA2 Au 0.1 0 0\n"
    write(tmp_path, good=GOOD, same=GOOD, shifted=shifted, close=close, broken="data_x\nloop_")
    file = campaign_file(candidates=FILES, compute={"workers": 1})
    checked = command("check", file, "--try-one")
    assert checked.code == 0, checked.out
    assert "2 duplicate" in checked.out
    assert "note  budget      stop.calculations is 12, the pool holds 1" in checked.out
    assert "ok    try one     CuAu: " in checked.out
    assert "ok    converged   largest force " in checked.out
    assert "note  doubt       the cell stays as it was built, under " in checked.out
    assert "core hours for 1 calculation, if time grows with the atoms" in checked.out
    said = command("run", file)
    assert said.code == 0, said.err
    assert "Stopped: Every candidate of the pool is known" in said.out
    assert "Computed 1 of 1 candidates." in said.out


def test_references_of_other_settings_are_refused_and_undeclared_ones_doubted(
    command: Command, campaign_file: WriteFile
) -> None:
    given = {"kind": "values", "values": {"Cu": 0.0, "Au": 0.0}}
    undeclared = campaign_file(objective={"kind": "hull", "references": given})
    assert (
        "note  references  objective.references.values name no" in command("check", undeclared).out
    )
    foreign = campaign_file(
        objective={"kind": "hull", "references": {**given, "fingerprint": "0123456789ab"}}
    )
    assert "FAIL  engine      objective.references.fingerprint: is" in command("check", foreign).out
    said = command("run", foreign)
    assert said.code == 2
    assert "objective.references.fingerprint: is '0123456789ab'" in said.err


def test_magnetic_orderings_need_an_engine_with_spin(
    command: Command, campaign_file: WriteFile
) -> None:
    said = command("run", campaign_file(magnetism={"moments": {"Cu": 1.0}}))
    assert said.code == 2
    assert "magnetism: the engine emt computes no moments" in said.err


def test_an_objective_that_the_recipe_does_not_give_is_found_by_trying_one(
    command: Command, campaign_file: WriteFile
) -> None:
    file = campaign_file(
        objective={"kind": "property", "property": "bulk_modulus"}, compute={"workers": 1}
    )
    said = command("check", file, "--try-one")
    assert said.code == 1
    assert "FAIL  objective   objective.property is 'bulk_modulus'" in said.out


def test_a_changed_file_is_a_version_or_is_refused_with_the_reason(
    command: Command, campaign_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(**changes: Any) -> Said:
        return command("run", campaign_file(**({"compute": {"workers": 1}} | changes)))

    small = {"expected_missed": None, "calculations": 4}
    assert change(stop=small).code == 0
    assert change(stop=small, description="for people").code == 0
    with open_for(write=False) as store:
        (campaign,) = store.campaigns()
        assert [each["reason"] for each in campaign.versions] == ["changed: description"]
        assert campaign.spec["description"] == "for people"
    for changes, reason in (
        ({"engine": {"name": "emt", "asap_cutoff": True}}, "engine: its fingerprint is "),
        ({"recipe": {"name": "relax"}}, "recipe: is relax-"),
        ({"objective": {"kind": "property", "property": "energy_per_atom"}}, "objective: another"),
        (
            {"objective": {"references": {"kind": "values", "values": {"Cu": 0, "Au": 0}}}},
            "objective: another kind, property, direction or other references",
        ),
    ):
        refused = change(stop=small, **changes)
        assert refused.code == 2
        assert "cannot go on with this file, which would mix labels:" in refused.err
        assert f"\n  {reason}" in refused.err
        assert "Give the file another name" in refused.err
    checked = command("check", campaign_file(recipe={"name": "relax"}, compute={"workers": 1}))
    assert (checked.code, "FAIL  campaign" in checked.out) == (1, True)


def test_a_campaign_that_another_driver_works_on_is_left_alone(
    command: Command, campaign_file: WriteFile
) -> None:
    small = {"expected_missed": None, "calculations": 4}
    file = campaign_file(stop=small, compute={"workers": 1})
    assert command("run", file).code == 0
    with open_for() as store:
        store.take_lease("small", "elsewhere/boot/17/1.00/token")
    said = command("run", file)
    assert said.code == 2
    assert "campaign small is driven by process 17 on elsewhere" in said.err


@pytest.mark.parametrize("words", [("status", "gone"), ("report", "gone"), ("export", "gone")])
def test_an_unknown_campaign_is_told_with_those_that_there_are(
    command: Command, words: tuple[str, ...]
) -> None:
    with open_for():
        pass
    said = command(*words)
    assert said.code == 2
    assert "there is no campaign 'gone' in " in said.err


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_hours_in_which_nothing_can_be_done_are_refused(
    command: Command, campaign_file: WriteFile, hours: str
) -> None:
    said = command("run", campaign_file(), f"--hours={hours}")
    assert said.code == 2
    assert "--hours: found " in said.err
    assert "allowed: more than 0, e.g. 0.5 for half an hour" in said.err


def test_init_writes_a_file_once_that_check_accepts(command: Command, tmp_path: Path) -> None:
    offered = command("init", "--help").out
    assert all(each in offered for each in ("backtest-cuagau", "backtest-perov5", "mg-si."))
    assert command("init", "mine").out.startswith("Wrote mine.yaml. Next: leadline check")
    assert "name: mine\n" in (tmp_path / "mine.yaml").read_text()
    checked = command("check", "mine.yaml")
    assert checked.code == 0, checked.out
    assert "It can run." in checked.out
    assert "mine.yaml is there already" in command("init", "mine").err
    assert "a campaign cannot be called 'a/b'" in command("init", "a/b").err
    assert "there is no example 'x'; there are: " in command("init", "b", "--example", "x").err


def test_a_check_leaves_no_folder_of_the_profile_behind(
    command: Command,
    campaign_file: WriteFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEADLINE_PROFILES", str(tmp_path))
    folder = tmp_path / "shared" / "calculations"
    (tmp_path / "here.yaml").write_text(f"calculations: {folder}\n")
    said = command("check", campaign_file(compute={"workers": 1, "profile": "here"}))
    assert said.code == 0, said.out
    assert f"1 worker answers and shares {folder}" in said.out
    assert not (tmp_path / "shared").exists()
