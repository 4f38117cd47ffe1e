"""What VASP means when it fails, and what custodian would change.

custodian's handlers read the folder of the failed run. Their corrections are advice:
one by path keys makes a further attempt of the same calculation, and one that touches
the physics names another calculation, since its energy would stand on another hull.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines import program_end, vasp_stop
from leadline.tasks.engines.program import BrokenOutputError
from leadline.tasks.engines.program_end import (
    ENDED_FROM_OUTSIDE,
    by_error,
    by_exit,
    line_with,
    plain,
    signal_of,
    tail,
    text_of,
)
from leadline.tasks.engines.vasp_settings import PATH_KEYS, RESERVED
from leadline.tasks.errors import ConfigurationError

OUTPUT = "vasp.out"
ERRORS = "std_err.txt"
OUTCAR = "OUTCAR"
VASPRUN = "vasprun.xml"
FINISHED = "General timing and accounting informations for this job"
READ_BY_CUSTODIAN = ("INCAR", "KPOINTS", "POSCAR", OUTCAR, VASPRUN, "OSZICAR", OUTPUT, ERRORS)

PHRASES = (
    *program_end.PHRASES,
    *((words, FailureKind.REMOTE, "walltime") for words in vasp_stop.WORDS),
    ("DUE TO TIME LIMIT", FailureKind.REMOTE, "walltime"),
    ("Error reading item", FailureKind.CONFIGURATION, "bad-input"),
    ("internal error in SET_CORE_WF", FailureKind.CONFIGURATION, "pseudopotential"),
    ("POTCAR file missing", FailureKind.CONFIGURATION, "pseudopotential"),
    ("number of potentials on File POTCAR incompatible", FailureKind.CONFIGURATION,
     "pseudopotential"),
)  # fmt: skip
"""What stands in the output or the error stream, the most telling first."""

NO_CHANGE = frozenset({"ISTART", "ICHARG", "IBRION", "NSW", "POTIM", "IOPT"})
"""Keys of a correction that mean nothing here: an attempt starts afresh, recipes move the ions."""

FILES = frozenset({"POSCAR", "KPOINTS", "POTCAR"})
"""Files that a correction may change beside INCAR."""


class UnconvergedError(Exception):
    """VASP finished an SCF that had not converged, and says nothing of it."""


def require_custodian() -> None:
    """Raise ConfigurationError where custodian is not installed."""
    try:
        import custodian.vasp.handlers  # noqa: F401  # what is asked is whether it can be
    except ImportError as error:
        raise ConfigurationError(
            f"the engine vasp needs custodian, which knows VASP's errors: {error}; install it with "
            "pip install 'leadline[vasp]'"
        ) from error


def custodian_errors(directory: Path) -> list[str]:
    """Return custodian's names for the errors in the output of the run in ``directory``."""
    return [name for handler in _handlers() for name in _found(handler, directory)]


def classify(error: BaseException, directory: Path, settings: Mapping[str, Any]) -> Failure:
    """Say why the run in ``directory`` gave no answer; ``settings`` are those of that run."""
    if unstarted := by_error(error, "vasp"):
        return unstarted
    if isinstance(error, vasp_stop.StoppedError):
        return Failure(FailureKind.REMOTE, "walltime", str(error))
    output, errors = text_of(directory / OUTPUT), text_of(directory / ERRORS)
    words = output + errors
    code = error.returncode if isinstance(error, CalledProcessError) else 0
    if signal_of(code) in ENDED_FROM_OUTSIDE:
        return by_exit("VASP", code, output, errors)
    for phrase, kind, reason in PHRASES:
        if phrase in words:
            return Failure(kind, reason, line_with(phrase, words))
    if licence := re.search(r"^.*\blicen[cs]e\b.*$", words, re.I | re.M):
        return Failure(FailureKind.CONFIGURATION, "license", plain(licence.group()))
    if corrected := _corrected(error, directory, settings):
        return corrected
    if isinstance(error, CalledProcessError):
        return by_exit("VASP", code, output, errors)
    if isinstance(error, BrokenOutputError):
        return Failure(FailureKind.REMOTE, "output-cut-short", f"{error}; it ends: {tail(words)}")
    return Failure(
        FailureKind.PHYSICS,
        "output-unreadable",
        f"VASP says that it is done, and left files that cannot be read: "
        f"{type(error).__name__}: {error}",
    )


def _corrected(
    error: BaseException, directory: Path, settings: Mapping[str, Any]
) -> Failure | None:
    """Return the failure that custodian finds, with its advice, or None if it finds none."""
    for handler in _handlers():
        if not (errors := _found(handler, directory)):
            continue
        advice, physics = corrections(_actions(handler, directory), settings)
        name = type(handler).__name__
        said = f"custodian's {name} finds {', '.join(errors)}"
        if physics:
            said += f" and would set {', '.join(physics)}: that is another calculation"
        elif advice:
            said += f" and sets {', '.join(f'{k} = {v}' for k, v in advice.items())}"
        else:
            said += " and knows no further remedy"
        if isinstance(error, UnconvergedError):
            return Failure(FailureKind.PHYSICS, "scf-not-converged", f"{error}; {said}", advice)
        return Failure(FailureKind.PHYSICS, "-".join(errors), said, advice)
    if isinstance(error, UnconvergedError):
        return Failure(FailureKind.PHYSICS, "scf-not-converged", str(error))
    return None


def _handlers() -> Iterator[Any]:
    from custodian.vasp import handlers

    yield handlers.VaspErrorHandler(OUTPUT)
    yield handlers.StdErrHandler(ERRORS)
    yield handlers.PositiveEnergyErrorHandler()
    yield handlers.UnconvergedErrorHandler()


def _found(handler: Any, directory: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = handler.check(str(directory))
        except (OSError, ValueError):  # a run that ended before it wrote the file
            return []
    names = getattr(handler, "errors", None) or {type(handler).__name__.removesuffix("Handler")}
    return sorted(name.replace("_", "-") for name in names) if found else []


def _actions(handler: Any, directory: Path) -> list[Mapping[str, Any]]:
    """Return what a handler would change; it works on copies of the files.

    Some handlers trip over an OUTCAR that ends before its first SCF step, and get on
    without one.
    """
    for names in (READ_BY_CUSTODIAN, [name for name in READ_BY_CUSTODIAN if name != OUTCAR]):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names:
                if (directory / name).is_file():
                    shutil.copy(directory / name, folder)
            with suppress(Exception):  # whatever half a file makes of custodian's parsers
                return list(handler.correct(folder).get("actions") or ())
    return []


def corrections(
    actions: list[Mapping[str, Any]], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return corrections as settings that change something, and words for those of the physics.

    No settings where one of them says what no campaign file can: another file than
    INCAR, or a key that leadline or the input set gives.
    """
    path: dict[str, Any] = {}
    words: list[str] = []
    incar = dict(settings["user_incar_settings"])
    sayable = True
    for key, value in _keys(actions):
        if key.lower() in PATH_KEYS:
            path[key.lower()] = value
        elif key not in NO_CHANGE and (value is None or incar.get(key) != value):
            words.append(key if key in FILES else f"{key} = {value}")
            sayable &= _change(incar, key, value)
    advice = {key: value for key, value in path.items() if settings.get(key) != value}
    if incar != settings["user_incar_settings"]:
        advice["user_incar_settings"] = incar
    return (advice if sayable else {}), words


def _keys(actions: list[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the INCAR keys that corrections set, None for those they take away, and files."""
    for action in actions:
        if "file" in action:  # CONTCAR, CHGCAR, WAVECAR: the next attempt starts without them
            continue
        if action["dict"] != "INCAR":
            yield str(action["dict"]), None
            continue
        yield from action["action"].get("_set", {}).items()
        yield from dict.fromkeys(action["action"].get("_unset", {})).items()


def _change(incar: dict[str, Any], key: str, value: Any) -> bool:
    """Change a key as a campaign file could; False where none can."""
    if value is None:
        return incar.pop(key, None) is not None
    if key in RESERVED or not isinstance(value, bool | int | float | str):
        return False
    incar[key] = value
    return True
