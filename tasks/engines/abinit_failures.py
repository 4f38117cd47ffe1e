"""What ABINIT means when it fails, by its log: its exit code is 0 or 14, whatever happened."""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import CalledProcessError

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines import program_end
from leadline.tasks.engines.abinit_run import DONE, ERRORS, LOG, MAIN, NOT_CONVERGED
from leadline.tasks.engines.program import BrokenOutputError
from leadline.tasks.engines.program_end import by_error, by_exit, line_with, plain, tail, text_of

PHRASES = (
    *program_end.PHRASES,
    ("Approaching time limit", FailureKind.REMOTE, "walltime"),
    (NOT_CONVERGED, FailureKind.PHYSICS, "scf-not-converged"),
)
"""What stands anywhere in log or output, the most telling first."""

BLOCKS = (
    (r"No space left|disk (is )?full", FailureKind.REMOTE, "disk-full"),
    (r"[Oo]ut of memory|allocation|Memory", FailureKind.REMOTE, "out-of-memory"),
    (r"too close|overlap|located at the same point", FailureKind.PHYSICS, "atoms-overlap"),
    (r"m_parser|m_invars|m_intagm|not one of the registered input", FailureKind.CONFIGURATION,
     "bad-input"),
    (r"m_pspheads|m_psps|m_psp\d|pseudo", FailureKind.CONFIGURATION, "pseudopotential"),
    (r"m_chkinp|m_ingeo", FailureKind.CONFIGURATION, "bad-input"),
    (r"m_sym|symmetr", FailureKind.PHYSICS, "symmetry"),
    (r"lobpcg|hegv|heev|syev|sygv|potrf|cgwf|m_abi_linalg|eigen", FailureKind.PHYSICS,
     "diagonalization"),
    (r"occ|fermi|newocc", FailureKind.PHYSICS, "electrons"),
)  # fmt: skip
"""What stands in an error of ABINIT: source file and message."""


def classify(error: BaseException, directory: Path) -> Failure:
    """Say why the run in ``directory`` gave no answer, in the words of ABINIT."""
    if unstarted := by_error(error, "abinit"):
        return unstarted
    output = text_of(directory / MAIN)
    log = text_of(directory / LOG)
    errors = text_of(directory / ERRORS)
    everything = log + output + errors
    for phrase, kind, reason in PHRASES:
        if phrase in everything:
            return Failure(kind, reason, line_with(phrase, everything))
    block = re.search(r"--- !(?:ERROR|BUG)\n(.*?)\n\.\.\.", log, re.DOTALL)
    if block:
        return _by_block(block.group(1), log)
    if isinstance(error, CalledProcessError):
        return by_exit("ABINIT", error.returncode, log + output, errors)
    if isinstance(error, BrokenOutputError) or DONE not in output:
        return Failure(FailureKind.REMOTE, "output-cut-short", f"{error}; it ends: {tail(output)}")
    return Failure(
        FailureKind.PHYSICS,
        "output-unreadable",
        f"{MAIN} says that the calculation is completed, and has numbers that cannot be read: "
        f"{type(error).__name__}: {error}",
    )


def _by_block(block: str, log: str) -> Failure:
    message = block.partition("message: |")[2] or block
    words = [plain(each) for each in message.splitlines() if each.strip()]
    # A check of the input says above the block what is wrong.
    checks = re.findall(r"^ *\w+: ERROR -\n((?: .*\S.*\n)+)", log, re.M)
    words += [plain(each) for check in checks for each in check.splitlines()]
    for pattern, kind, reason in BLOCKS:
        if re.search(pattern, block):
            return Failure(kind, reason, "\n".join(words))
    return Failure(FailureKind.PHYSICS, "engine-error", "\n".join(words))
