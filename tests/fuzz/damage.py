"""What strangers' bytes look like: good samples with bad spots, and anything at all."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("LEADLINE_FUZZ", "1"))
"""How many times as many cases as in CI are generated; more than 1 draws them anew each time."""
SLOW_CASE_MS = 60_000
SPOTS = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"1e400",
    b"-1e400",
    b"nan",
    b"inf",
    b"1e-320",
    b"0",
    b"-1",
    b"1",
    b"9" * 5000,
    b"99999999999",
    b"1e10",
    b"******",
    b"null,",
    b'"x",',
    b"[],",
    b"1e400,",
    b"true",
    b"1.0.0",
    b"\n",
    b"\r",
    b"\n\n\n",
    b" ",
    b"\t",
    b'"',
    b"'",
    b";",
    b"[",
    b"{",
    b"]]",
    b"%s%n",
    b"../../../../etc/passwd",
    b"!!python/object/apply:os.system",
    b'{"@module": "os", "@class": "system"}',
    b"__import__('os')",
    "é𝟙٣\u2028\u202e".encode(),
    b"A" * 3000,
)


def counted(cases: int) -> settings:
    """Return how hypothesis generates ``cases`` cases: the same ones each time in CI."""
    return settings(
        max_examples=cases * TIMES,
        deadline=SLOW_CASE_MS,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def damaged(draw: st.DrawFn, sample: bytes) -> bytes:
    """Draw a sample with one to four bad spots."""
    content = sample
    for _ in range(draw(st.integers(1, 4))):
        content = draw(st.sampled_from(_WAYS))(draw, content)
    return content


def _span(draw: st.DrawFn, content: bytes, most: int = 40) -> tuple[int, int]:
    start = draw(st.integers(0, len(content)))
    return start, min(len(content), start + draw(st.integers(0, most)))


def _cut(draw: st.DrawFn, content: bytes) -> bytes:
    return content[: _span(draw, content)[0]]


def _flip(draw: st.DrawFn, content: bytes) -> bytes:
    start, _ = _span(draw, content)
    flipped = bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in content[start : start + 1])
    return content[:start] + flipped + content[start + 1 :]


def _insert(draw: st.DrawFn, content: bytes) -> bytes:
    start, _ = _span(draw, content)
    return content[:start] + draw(st.sampled_from(SPOTS)) + content[start:]


def _replace(draw: st.DrawFn, content: bytes) -> bytes:
    start, end = _span(draw, content)
    return content[:start] + draw(st.sampled_from(SPOTS)) + content[end:]


def _replace_word(draw: st.DrawFn, content: bytes) -> bytes:
    words = content.split(b" ")
    words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(SPOTS))
    return b" ".join(words)


def _double(draw: st.DrawFn, content: bytes) -> bytes:
    start, end = _span(draw, content, 400)
    return content[:end] + content[start:end] * draw(st.integers(1, 3)) + content[end:]


def _drop(draw: st.DrawFn, content: bytes) -> bytes:
    start, end = _span(draw, content, 400)
    return content[:start] + content[end:]


def _scribble(draw: st.DrawFn, content: bytes) -> bytes:
    start, end = _span(draw, content)
    return content[:start] + draw(st.binary(max_size=40)) + content[end:]


_WAYS = (_cut, _flip, _insert, _replace, _replace_word, _replace_word, _double, _drop, _scribble)
