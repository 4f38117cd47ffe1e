"""What pw.x means when it fails: ASE's exceptions hold no word of the engine."""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import CalledProcessError

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines import program_end
from leadline.tasks.engines.program import BrokenOutputError
from leadline.tasks.engines.program_end import by_error, by_exit, line_with, plain, tail, text_of

OUTPUT = "espresso.pwo"
ERRORS = "espresso.err"
DONE = "JOB DONE."
CONVERGED = "convergence has been achieved"
NOT_CONVERGED = "convergence NOT achieved"

PHRASES = (
    *program_end.PHRASES,
    ("Maximum CPU time exceeded", FailureKind.REMOTE, "walltime"),
    # D3 has no numbers for this functional: pw.x stops, and says so with exit code 0.
    ("functional name unknown", FailureKind.CONFIGURATION, "dispersion"),
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
    (r"too few bands|cannot bracket Ef", "too-few-bands"),
    (r"routine (read_rhog|read_rho|read_collected\w*|read_wfc|read_xml_file\w*)", "restart-files"),
    (r"diaghg|cegterg|regterg|c_bands|ppcg|cholesky|S matrix not positive", "diagonalization"),
    (r"check_atoms|overlap", "atoms-overlap"),
    (r"symmetry|sym_rho|sgam|symm", "symmetry"),
    (r"smearing is needed", "needs-smearing"),
    (r"electrons|charge is wrong|efermi", "electrons"),
)

DISK_ROUTINES = r"davcio|open_buffer|diropn|create_directory|write_rhog|mp_files"


def classify(error: BaseException, directory: Path) -> Failure:
    """Say why the run in ``directory`` gave no answer, in the words of pw.x."""
    if unstarted := by_error(error, "espresso"):
        return unstarted
    output = text_of(directory / OUTPUT)
    errors = text_of(directory / ERRORS)
    everything = output + errors
    for phrase, kind, reason in PHRASES:
        if phrase in everything:
            return Failure(kind, reason, line_with(phrase, everything))
    block = _routine_error(output) or _routine_error(text_of(directory / "CRASH"))
    if block:
        return _by_routine(block)
    if isinstance(error, CalledProcessError):
        return by_exit("pw.x", error.returncode, output, errors)
    if isinstance(error, BrokenOutputError) or DONE not in output:
        return Failure(FailureKind.REMOTE, "output-cut-short", f"{error}; it ends: {tail(output)}")
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


def _routine_error(text: str) -> str:
    match = re.search(r"%{5,}\n(.*?)\n\s*%{5,}", text, re.DOTALL)
    if match is None:
        return ""
    lines = (plain(line) for line in match.group(1).splitlines())
    kept = "\n".join(line for line in lines if line and not line.startswith("task #"))
    # A CRASH file words the same error differently from the output.
    return re.sub(r"^from (\S+) ?: error # ?(\d+)", r"Error in routine \1 (\2):", kept)
