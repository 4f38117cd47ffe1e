"""Nothing that leadline starts speaks to anybody beyond this machine: its sockets are watched."""

from __future__ import annotations

import functools
import ipaddress
import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

MAIN = "from leadline.flows.cli import main; main()"
DNS = 53
CALLS = "connect,sendto,sendmsg,sendmmsg"
IPV4 = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')
IPV6 = re.compile(r'sin6_port=htons\((\d+)\).*?inet_pton\(AF_INET6, "([^"]+)"')
RESOLVER = re.compile(r'sun_path="([^"]*systemd/resolve[^"]*)"')
SILENCED = ("DO_NOT_TRACK", "CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "JENKINS_URL")
"""What a person has not set, and what makes Prefect silent of its own."""
SMALL = {
    "name": "small",
    "candidates": [
        {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 2}
    ],
    "engine": {"name": "emt"},
    "start": {"random": 2},
    "acquisition": {"batch": 2},
    "compute": {"workers": 1},
    "stop": {"expected_missed": None, "calculations": 2},
}
CHATTY = """
import os, socket, subprocess, sys
from contextlib import suppress
if len(sys.argv) > 1:
    with socket.socket() as line, suppress(OSError):
        line.settimeout(0.1)
        line.connect(("192.0.2.1", 443))
else:
    subprocess.run([sys.executable, "-c", os.environ["CHATTY"], "child"], start_new_session=True)
    with socket.socket(type=socket.SOCK_DGRAM) as line, suppress(OSError):
        line.sendto(b"word", ("192.0.2.2", 9))
    with socket.socket(socket.AF_INET6) as line, suppress(OSError):
        line.settimeout(0.1)
        line.connect(("2001:db8::1", 443))
    with suppress(OSError):
        socket.getaddrinfo("somewhere.invalid", 443)
    with socket.socket() as line, suppress(OSError):
        line.connect(("127.0.0.1", 9))
"""


@functools.cache
def cannot_trace() -> str | None:
    """Return why sockets cannot be watched here, None where they can."""
    if shutil.which("strace") is None:
        return "needs strace: apt-get install strace"
    done = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True)
    return f"strace may not trace here: {done.stderr.decode()}" if done.returncode else None


@dataclass(frozen=True)
class Watched:
    """How a process ended, what it said, and whom it and all its children spoke to."""

    code: int
    words: str
    beyond: set[tuple[str, int]]


def watch(folder: Path, *arguments: str, **variables: str) -> Watched:
    """Run Python at a terminal, where Prefect counts its users, with every call traced."""
    if why := cannot_trace():
        pytest.skip(why)
    log, environment = folder / "calls", _a_persons(folder)
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(log)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*strace, sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment | variables,
    )
    os.close(theirs)
    words = _all_from(ours)
    return Watched(process.wait(), words, beyond(log.read_text(errors="replace")))


def _a_persons(folder: Path) -> dict[str, str]:
    """Return the environment of somebody who has just installed leadline."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "LEADLINE_")) and name not in SILENCED
    }
    return kept | {
        "PREFECT_HOME": str(folder / "prefect"),
        "OMP_NUM_THREADS": "1",
        "RES_OPTIONS": "timeout:1 attempts:1",
        "TERM": "xterm",
    }


def _all_from(terminal: int) -> str:
    parts = []
    with os.fdopen(terminal, "rb", buffering=0) as reader, suppress(OSError):  # EIO at its end
        while part := reader.read(65536):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")


def beyond(log: str) -> set[tuple[str, int]]:
    """Return the addresses outside loopback in a trace, and whoever was asked for names."""
    found = {(ip, int(port)) for seen in (IPV4, IPV6) for port, ip in seen.findall(log)}
    resolvers = {(path, DNS) for path in RESOLVER.findall(log)}
    return {each for each in found if each[1] == DNS or not _is_loopback(each[0])} | resolvers


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def test_whoever_speaks_to_another_machine_or_asks_for_a_name_is_seen(tmp_path: Path) -> None:
    seen = watch(tmp_path, "-c", CHATTY, CHATTY=CHATTY)
    assert seen.code == 0, seen.words
    assert {("192.0.2.1", 443), ("192.0.2.2", 9), ("2001:db8::1", 443)} <= seen.beyond
    assert any(port == DNS for _, port in seen.beyond)
    assert "127.0.0.1" not in {ip for ip, port in seen.beyond if port != DNS}


def test_what_is_imported_from_python_reports_nothing_home(tmp_path: Path) -> None:
    seen = watch(tmp_path, "-c", "import leadline.flows.campaign, leadline.flows.submitting")
    assert (seen.code, seen.beyond) == (0, set()), seen.words
    assert "anonymous usage data" not in seen.words


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_campaign_with_a_prefect_server_of_its_own_speaks_to_this_machine_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    seen = watch(tmp_path, "-c", MAIN, "run", "small.yaml")
    assert seen.code == 0, seen.words
    assert "Stopped" in seen.words
    assert (tmp_path / "prefect" / "prefect.db").exists()  # the server ran, and had its say
    assert seen.beyond == set()
