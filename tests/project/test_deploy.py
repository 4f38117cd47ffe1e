"""What deploy/ has for servers: compose.yaml and systemd units, as far as no engine is needed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import prefect.settings
import pytest
import typer
import yaml
from packaging.requirements import Requirement
from prefect.cli._app import _app as prefect_cli  # `prefect.cli.app` runs what it parses

from leadline.flows.cli import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXAMPLES = [DEPLOY / "env.example", DEPLOY / "systemd" / "secrets.example"]
INTERPOLATED = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|AUTH|_URI$|CONNECTION_URL$")
OURS = [name for name, each in SERVICES.items() if each["image"].startswith("leadline:")]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

each_service = pytest.mark.parametrize("name", sorted(SERVICES))
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def lines_of(unit: Path) -> list[tuple[str, str]]:
    """Return keys and values of a unit in their order; a key may come again."""
    lines = (line.strip() for line in unit.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#[")
    return [(key, value) for key, _, value in pairs]


def values(unit: Path, key: str) -> list[str]:
    return [value for name, value in lines_of(unit) if name == key]


def variables_of(unit: Path) -> dict[str, str]:
    pairs = (value.partition("=") for value in values(unit, "Environment"))
    return {name: value for name, _, value in pairs}


def variables_of_all() -> Iterator[tuple[str, str]]:
    """Yield each variable that a service, a unit, the image or an example file sets."""
    for service in SERVICES.values():
        yield from service["environment"].items()
    for unit in UNITS:
        yield from variables_of(unit).items()
    for file in EXAMPLES[1:]:
        yield from re.findall(r"^#?([A-Z_]+)=(.*)$", file.read_text(), re.MULTILINE)
    yield from re.findall(r"^(?:ENV|   ) (\w+)=(\S+)", DOCKERFILE, re.MULTILINE)


def words_of(command: str) -> list[str]:
    """Return a command with the words that systemd and Compose put in filled in."""
    text = command.replace("%h/leadline/.venv/bin/", "").replace("%i", "cu-pd").replace("%H", "lab")
    return shlex.split(text.replace("${EVERY}", "6h").replace("${HOURS}", "5"))


def commands() -> Iterator[str]:
    for name in OURS:
        yield SERVICES[name]["command"]
    for unit in UNITS:
        yield from values(unit, "ExecStart")


@each_service
def test_every_image_is_of_one_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image
    assert re.fullmatch(r"\d+(\.\d+)+(-\w+)?", tag)


def test_our_image_is_of_this_version_and_of_a_prefect_that_we_run_with() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {f"leadline:{PROJECT['version']}"}
    found = re.findall(r"^FROM prefecthq/prefect:(\d+\.\d+\.\d+)-python3\.11$", DOCKERFILE, re.M)
    (wanted,) = [Requirement(each) for each in PROJECT["dependencies"] if "prefect" in each]
    assert [wanted.specifier.contains(each) for each in found] == [True]


@each_service
def test_every_service_is_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()


@each_service
def test_every_service_keeps_what_it_has_in_a_volume_with_a_name(name: str) -> None:
    kept = {each.partition(":")[0] for each in SERVICES[name]["volumes"]}
    assert any(each in COMPOSE["volumes"] for each in kept)
    folders = [DEPLOY / each for each in kept if each.startswith(".")]
    assert [each for each in folders if not each.is_dir()] == []


@each_service
def test_ports_are_open_on_this_machine_alone(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert [each for each in ports if not each.startswith("127.0.0.1:")] == []


@each_service
def test_what_a_service_needs_is_healthy_before_it_starts(name: str) -> None:
    needed = SERVICES[name].get("depends_on", {})
    assert needed.keys() <= SERVICES.keys()
    assert {each["condition"] for each in needed.values()} <= {"service_healthy"}


def test_no_secret_is_written_down_and_none_may_be_left_out() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    asked = {name for name, how, _ in INTERPOLATED.findall(text) if how == "?"}
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLES[0].read_text(), re.MULTILINE))
    assert example == dict.fromkeys(asked, "")
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if SECRET.search(name):
                (spoken,) = INTERPOLATED.findall(value)
                assert spoken[1:] == ("?", f"{spoken[2]}")
                assert "env.example" in spoken[2]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_example_files_hold_no_secret(file: Path) -> None:
    assert set(re.findall(r"^[A-Z_]+=(.*)$", file.read_text(), re.MULTILINE)) == {""}


@pytest.mark.parametrize("path", ["deploy/.env", "deploy/systemd/secrets.env"])
def test_files_with_secrets_get_neither_into_git_nor_into_the_image(path: str) -> None:
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("this is no clone")
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"**/.env", "**/*.env"} <= set(ignored[ignored.index("!deploy") :])


def test_every_variable_of_prefect_is_one_that_prefect_knows() -> None:
    names = {name for name, _ in variables_of_all() if name.startswith("PREFECT_")}
    assert len(names) >= 8
    assert sorted(name for name in names if not hasattr(prefect.settings, name)) == []
    assert not hasattr(prefect.settings, "PREFECT_NEVER_HEARD_OF")


def test_every_variable_of_ours_is_one_that_the_code_reads() -> None:
    names = {name for name, _ in variables_of_all() if name.startswith("LEADLINE_")}
    code = "".join(path.read_text() for path in (ROOT / "flows").rglob("*.py"))
    code += "".join(path.read_text() for path in (ROOT / "tasks").rglob("*.py"))
    assert names
    assert sorted(name for name in names if f'"{name}"' not in code) == []


def test_nothing_that_is_started_reports_home() -> None:
    started = [SERVICES[name] for name in OURS]
    told = [each["environment"] for each in started] + [variables_of(unit) for unit in UNITS]
    assert {each.get("DO_NOT_TRACK") for each in told} == {"1"}
    servers = [each for each in told if "PREFECT_SERVER_UI_API_URL" in each]
    assert len(servers) == 2
    for each in servers:
        assert each["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert each["PREFECT_SERVER_UI_V2_ENABLED"] == "false"
    shell = yaml.safe_load(COMPOSE["configs"]["mongosh"]["content"])
    assert shell == {"mongosh": {"enableTelemetry": False}}


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_is_one_that_prefect_or_leadline_takes(command: str) -> None:
    program, *words = words_of(command)
    if program == "leadline":
        COMMANDS[words[0]].make_context(words[0], words[1:])
    else:
        assert program == "prefect"
        prefect_cli.parse_args(words, exit_on_error=False, print_error=False)


def test_an_option_that_prefect_does_not_take_is_found_out() -> None:
    with pytest.raises(Exception, match="nonsense"):
        prefect_cli.parse_args(
            ["server", "start", "--nonsense", "1"], exit_on_error=False, print_error=False
        )


@each_unit
def test_a_unit_starts_again_ends_in_time_and_reads_its_secrets_from_a_file(unit: Path) -> None:
    assert values(unit, "EnvironmentFile") == ["%h/.config/leadline/secrets.env"]
    assert [name for name in variables_of(unit) if SECRET.search(name)] == []
    assert values(unit, "Restart") == ["on-failure"]
    assert values(unit, "KillSignal") == ["SIGTERM"]
    assert int(values(unit, "TimeoutStopSec")[0]) >= 30
    assert values(unit, "WantedBy") == ["default.target"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which leadline is installed as the units expect it."""
    commands = tmp_path / "leadline" / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("leadline", "prefect"):
        (commands / name).symlink_to("/bin/true")
    (tmp_path / "campaigns").mkdir()
    return tmp_path


def verdict(home: Path, *units: Path) -> str:
    """Return what systemd finds wrong with units, in a home; nothing where all is well."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", *map(str, units)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
    )
    return done.stderr if done.returncode or ".service:" in done.stderr else ""


def test_systemd_finds_nothing_wrong_with_the_units(home: Path) -> None:
    for unit in UNITS:
        shutil.copy(unit, home / unit.name.replace("@", "@cu-pd"))
    units = sorted(home.glob("*.service"))
    assert len(units) == 3
    assert verdict(home, *units) == ""
    (home / "leadline" / ".venv" / "bin" / "prefect").unlink()
    assert "is not executable" in verdict(home, *units)


PASSWORD = "correct-horse-battery"
AUTH = f"group:{PASSWORD}"


def filled(environment: Mapping[str, str], **given: str) -> dict[str, str]:
    """Return variables as Compose would hand them over."""

    def fill(match: re.Match[str]) -> str:
        name, how, word = match.groups()
        return given[name] if name in given or how != "-" else word

    return {name: INTERPOLATED.sub(fill, value) for name, value in environment.items()}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The server of compose.yaml by its own command and variables, with a file as database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    service = SERVICES["prefect"]
    asked = filled(service["environment"], PREFECT_AUTH=AUTH, POSTGRES_PASSWORD=PASSWORD)
    asked["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    asked["PREFECT_SERVER_UI_STATIC_DIRECTORY"] = str(tmp_path / "pages")
    asked["PREFECT_HOME"] = str(tmp_path / "home")
    words = [{"4200": port, "0.0.0.0": "127.0.0.1"}.get(w, w) for w in words_of(service["command"])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *words], env=kept | asked, stdout=log, stderr=log
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process, tmp_path / "log")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the service's own check of health succeeds."""
    program, *words = SERVICES["prefect"]["healthcheck"]["test"][1:]
    assert program == "python"
    check = [word.replace("http://127.0.0.1:4200", address) for word in words]
    deadline = time.monotonic() + 200
    while subprocess.run([sys.executable, *check], capture_output=True).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


def _answer(address: str, auth: str | None) -> int:
    asked = urllib.request.Request(f"{address}/api/admin/version")
    if auth is not None:
        asked.add_header("Authorization", f"Basic {b64encode(auth.encode()).decode()}")
    with suppress(urllib.error.HTTPError), urllib.request.urlopen(asked, timeout=20) as answer:
        return int(answer.status)
    return 401


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_server_of_compose_answers_whoever_knows_the_password_and_nobody_else(
    served: str,
) -> None:
    assert [_answer(served, each) for each in (None, "group:guessed", AUTH)] == [401, 401, 200]
    worker = filled(SERVICES["worker"]["environment"], PREFECT_AUTH=AUTH, MONGODB_PASSWORD=PASSWORD)
    asked = {**os.environ, **worker, "PREFECT_API_URL": f"{served}/api"}
    client = [sys.executable, "-P", "-m", "prefect", "work-pool", "ls"]
    told = subprocess.run(client, env=asked, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    del asked["PREFECT_API_AUTH_STRING"]
    assert "401" in subprocess.run(client, env=asked, capture_output=True, text=True).stderr
