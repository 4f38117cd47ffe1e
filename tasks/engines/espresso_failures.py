"""What pw.x means when it fails: ASE's exceptions hold no word of the engine."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from subprocess import CalledProcessError

from leadline.tasks.calculation import Failure, FailureKind

OUTPUT = "espresso.pwo"
ERRORS = "espresso.err"
DONE = "JOB DONE."
CONVERGED = "convergence has been achieved"
NOT_CONVERGED = "convergence NOT achieved"

PHRASES = (
    ("No space left on device", FailureKind.REMOTE, "disk-full"),
    ("Disk quota exceeded", FailureKind.REMOTE, "disk-full"),
    ("error while loading shared libraries", FailureKind.CONFIGURATION, "binary-broken"),
    ("not enough slots available", FailureKind.CONFIGURATION, "launcher"),
    ("Maximum CPU time exceeded", FailureKind.REMOTE, "walltime"),
    (NOT_CONVERGED, FailureKind.PHYSICS, "scf-not-converged"),
)
"""What stands anywhere in the output or the error stream, the most telling first."""

ROUTINES = (
    (r"routine (read_namelists|read_cards|card_\w+|iosys|input)|bad line in namelist", "bad-input"),
    (r"routine (readpp|read_pseudo|read_upf\w*|scan_end)", "pseudopotential"),
    (r"set_dft_from_name|conflicting values", "mixed-functionals"),
)
"""Routines whose errors come from the set-up, not from the structure."""

PHYSICS_ROUTINES = (
    (r"diaghg|cegterg|regterg|c_bands|ppcg|cholesky|S matrix not positive", "diagonalization"),
    (r"check_atoms|overlap", "atoms-overlap"),
    (r"symmetry|sym_rho|sgam|symm", "symmetry"),
    (r"electrons|charge is wrong|smearing is needed|efermi", "electrons"),
)

DISK_ROUTINES = r"davcio|open_buffer|diropn|create_directory|write_rhog|mp_files"
ENDED_FROM_OUTSIDE = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU}
)
ROOM = 8_000_000
"""Characters of one file that are looked at, half at each end: a run gone wild writes many more."""


class BrokenOutputError(Exception):
    """pw.x ended without an error, and its output is no answer."""


def classify(error: BaseException, directory: Path) -> Failure:
    """Say why the run in ``directory`` gave no answer, in the words of pw.x."""
    if isinstance(error, FileNotFoundError | PermissionError) and error.filename:
        return Failure(
            FailureKind.CONFIGURATION,
            "binary-missing",
            f"cannot run {error.filename}: {error.strerror}; set engines.espresso.command in the "
            "machine profile",
        )
    output = _text(directory / OUTPUT)
    everything = output + _text(directory / ERRORS)
    for phrase, kind, reason in PHRASES:
        if phrase in everything:
            return Failure(kind, reason, _line_with(phrase, everything))
    block = _routine_error(output) or _routine_error(_text(directory / "CRASH"))
    if block:
        return _by_routine(block)
    if isinstance(error, CalledProcessError):
        return _by_exit(error.returncode, everything)
    if isinstance(error, BrokenOutputError) or DONE not in output:
        return Failure(FailureKind.REMOTE, "output-cut-short", f"{error}; it ends: {_tail(output)}")
    return Failure(
        FailureKind.PHYSICS,
        "output-unreadable",
        f"{OUTPUT} says that the job is done, and has numbers that cannot be read: "
        f"{type(error).__name__}: {error}",
    )


def _by_routine(block: str) -> Failure:
    routine = block.splitlines()[0]
    for pattern, reason in ROUTINES:
        if re.search(pattern, block):
            return Failure(FailureKind.CONFIGURATION, reason, block)
    if re.search(DISK_ROUTINES, routine):
        return Failure(FailureKind.REMOTE, "disk", block)
    for pattern, reason in PHYSICS_ROUTINES:
        if re.search(pattern, block):
            return Failure(FailureKind.PHYSICS, reason, block)
    return Failure(FailureKind.PHYSICS, "engine-error", block)


def _by_exit(code: int, text: str) -> Failure:
    if code in (126, 127):
        return Failure(FailureKind.CONFIGURATION, "binary-missing", f"exit {code}: {_tail(text)}")
    number = -code if code < 0 else code - 128
    if number not in {known.value for known in signal.Signals}:
        return Failure(FailureKind.REMOTE, "engine-exit", f"exit {code}: {_tail(text)}")
    name = signal.Signals(number).name
    if signal.Signals(number) is signal.SIGXFSZ:
        words = "pw.x was ended by SIGXFSZ: a file grew past the limit of this account"
        return Failure(FailureKind.REMOTE, "disk-full", words)
    if signal.Signals(number) in ENDED_FROM_OUTSIDE:
        return Failure(FailureKind.REMOTE, "engine-killed", f"pw.x was ended by {name}")
    return Failure(FailureKind.PHYSICS, "engine-crashed", f"pw.x crashed by {name}: {_tail(text)}")


def _routine_error(text: str) -> str:
    match = re.search(r"%{5,}\n(.*?)\n\s*%{5,}", text, re.DOTALL)
    if match is None:
        return ""
    lines = (_plain(line) for line in match.group(1).splitlines())
    kept = "\n".join(line for line in lines if line and not line.startswith("task #"))
    # A CRASH file words the same error differently from the output.
    return re.sub(r"^from (\S+) ?: error # ?(\d+)", r"Error in routine \1 (\2):", kept)


def _line_with(phrase: str, text: str) -> str:
    return next(_plain(line) for line in text.splitlines() if phrase in line)


def _tail(text: str, lines: int = 3) -> str:
    kept = [_plain(line) for line in text.splitlines() if line.strip()]
    return " / ".join(line for line in kept[-lines:] if line) or "(no output)"


def _plain(line: str) -> str:
    """Return a line that a terminal can show: what is no text is left out, and it ends."""
    words = "".join(c if c.isprintable() and c != "\ufffd" else " " for c in line)
    return " ".join(words.split())[:300]


def _text(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        start = file.read(ROOM // 2)
        left = path.stat().st_size - len(start)
        file.seek(max(left - ROOM // 2, 0), os.SEEK_CUR)
        return (start + file.read(ROOM // 2)).decode(errors="replace")
