"""Numbers, formulas and times as people read them."""

from __future__ import annotations

import re

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def formula(text: str) -> str:
    """Return a formula with its numbers as subscripts: ``Cu3Au`` becomes ``Cu₃Au``."""
    return re.sub(
        r"(?<=[A-Za-z)])\d+(?![.\d])", lambda match: match.group().translate(_SUBSCRIPTS), text
    )


def fixed(value: float | None, digits: int = 3) -> str:
    """Return a number with a true minus sign and a fixed number of digits, or a dash."""
    if value is None:
        return NOTHING
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)


def mev(energy: float | None, digits: int = 1) -> str:
    """Return an energy given in eV/atom as a number of meV/atom, without its unit."""
    return fixed(None if energy is None else 1000 * energy, digits)


def tolerance(energy: float) -> str:
    """Return a tolerance given in eV/atom as a person wrote it: ``2.5 meV/atom``."""
    return f"{1000 * energy:.6g} meV/atom"


def percent(share: float | None) -> str:
    """Return a share of one as per cent: small ones keep a digit."""
    if share is None:
        return NOTHING
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def count(number: float) -> str:
    """Return a whole number with thousands set apart."""
    return f"{round(number):,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and its noun: ``1 phase``, ``1,200 phases``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units: ``38 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 or seconds == 0 else "< 0.1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size(number: float) -> str:
    """Return a number of bytes as people say it: ``210 MB``, ``1.3 GB``."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def short(identity: str) -> str:
    """Return the first letters of an id, enough to find it with ``leadline show``."""
    return identity[:10]


def in_markdown(words: str, most: int = 2000) -> str:
    """Return words that markdown shows as they are: one line, no markup of their own."""
    line = " ".join(words[:most].split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\\[\]*_#|!`])", r"\\\1", line)
