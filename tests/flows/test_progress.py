"""Progress as people see it: in a terminal, in a file, at the end of a broken pipe."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

import pytest
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from leadline.flows.console_logging import quiet_prefect
from leadline.flows.progress import Progress, ProgressDisplay, duration
from leadline.flows.progress_lines import sentence
from leadline.flows.progress_panel import draw
from leadline.flows.terminal_logging import through_stderr

SNAPSHOT = Progress(
    campaign="cu-au",
    message="calculating",
    round=4,
    pool=1234,
    spent=42,
    budget=100,
    running=6,
    done=41,
    quarantined=1,
    best="Cu3Au: -57.3 meV/atom",
    found=("Au", "Cu", "Cu3Au"),
    finds_left=1.34,
    elapsed=72,
    time_limit=7200,
    prefect="http://127.0.0.1:4200",
    dask="http://127.0.0.1:8787/status",
)
LINE = (
    "cu-au, round 4; calculating; 42 of 100 calculations (6 running, 41 done, 0 failed, "
    "1 quarantined) in a pool of 1,234; found 3: Au Cu Cu3Au; about 1.3 more expected; "
    "best Cu3Au: -57.3 meV/atom; 1 min 12 s of 2 h 00 min"
)


END = "\x03"
"""Which nothing else writes."""


class Terminal:
    """A terminal of 80 columns, and what was written to it."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")

    def read(self) -> str:
        """Return all that was written; the system may hand it over in parts."""
        self.stream.write(END)
        self.stream.flush()
        written = b""
        while not written.endswith(END.encode()):
            written += os.read(self._master, 1 << 20)
        return written.decode().removesuffix(END)

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    opened = Terminal()
    yield opened
    opened.close()


def times_out(text: str) -> list[str]:
    """Return the lines without the time of day that each begins with."""
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in text.splitlines()]


def drawn(snapshot: Progress, columns: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=columns).print(draw(snapshot, columns))
    return stream.getvalue().splitlines()


def test_a_line_says_all_that_matters() -> None:
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        display.show(SNAPSHOT)
    assert times_out(stream.getvalue()) == [LINE]


def test_between_the_ends_of_a_round_lines_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        for second in range(31):
            now = float(second)
            display.show(replace(SNAPSHOT, done=second, round=4 + (second == 30)))
    done = [int(re.findall(r"(\d+) done", line)[0]) for line in stream.getvalue().splitlines()]
    assert done == [0, 10, 20, 30]


def test_a_round_that_ends_is_told_at_once_and_the_last_word_is_never_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        display.show(SNAPSHOT)
        now = 2.0
        display.show(replace(SNAPSHOT, running=0, message="learning"))
        display.show(replace(SNAPSHOT, running=0, message="stopped"))
    messages = [line.split("; ")[1] for line in stream.getvalue().splitlines()]
    assert messages == ["calculating", "learning", "stopped"]


def test_a_round_that_begins_is_told_however_soon_and_its_start_not_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        display.show(replace(SNAPSHOT, running=0, round=3))
        now = 0.1
        display.opened("cu-au, round 4 begins with 10 picks")
        now = 0.3
        display.show(SNAPSHOT)
        assert len(stream.getvalue().splitlines()) == 2
        now = 20.0
        display.show(replace(SNAPSHOT, done=42))
    said = times_out(stream.getvalue())
    assert said[1] == "cu-au, round 4 begins with 10 picks"
    assert len(said) == 3


def test_a_note_is_one_line_without_control_codes() -> None:
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        display.note("pw.x: \x1b[31mSCF did\n  not converge\x1b[0m [bold]")
    assert times_out(stream.getvalue()) == ["pw.x: SCF did not converge [bold]"]


def test_a_file_is_no_terminal_whatever_colours_are_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        display.show(SNAPSHOT)
        assert not display.live
    assert "\x1b" not in stream.getvalue()


def test_an_encoding_that_lacks_a_letter_is_written_to_all_the_same() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with ProgressDisplay(stream) as display:
        display.note("3.6 Å")
    stream.seek(0)
    assert times_out(stream.read()) == ["3.6 ?"]


def test_a_reader_that_has_left_does_not_end_the_campaign() -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    with ProgressDisplay(stream) as display:
        display.show(SNAPSHOT)
        display.note("still here")
    with pytest.raises(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("columns", [50, 80, 120, 200])
def test_the_panel_fits_its_terminal_and_says_all_that_matters(columns: int) -> None:
    lines = drawn(SNAPSHOT, columns)
    assert max(map(len, lines)) <= min(columns, 100)
    text = " ".join(" ".join(lines).replace("│", " ").split())
    for words in (
        "cu-au · round 4 · calculating",
        "42 of 100",
        "6 running 41 done 0 failed 1 quarantined",
        "3 Au Cu Cu₃Au",
        "Cu3Au: -57.3 meV/atom",
        "about 1.3 more expected; pool of 1,234",
        "Prefect http://127.0.0.1:4200",
        "Dask http://127.0.0.1:8787/status",
        "1 min 12 s of 2 h 00 min",
    ):
        assert words in text


def test_a_panel_with_hundreds_of_finds_names_the_latest_on_one_line() -> None:
    many = replace(SNAPSHOT, found=tuple(f"Cu{number}Au" for number in range(300)))
    lines = drawn(many, 80)
    assert len(lines) == len(drawn(SNAPSHOT, 80))
    (line,) = [line for line in lines if "found" in line]
    assert "300  … " in line
    assert "Cu₂₉₉Au" in line


def test_picks_that_wait_for_a_person_are_shown_with_what_to_type() -> None:
    waits = replace(SNAPSHOT, review=1)
    words = "1 pick waits: leadline review"
    assert words in " ".join(drawn(waits, 80))
    assert words in sentence(waits)
    assert "leadline review" not in sentence(SNAPSHOT)


def test_a_campaign_of_which_nothing_is_known_yet_is_shown() -> None:
    text = " ".join(drawn(Progress("cu-au"), 80))
    assert "none yet" in text
    assert "not known yet" in text


def test_on_a_terminal_what_others_print_stands_above_the_panel(terminal: Terminal) -> None:
    with ProgressDisplay(terminal.stream) as display:
        assert display.live
        display.show(SNAPSHOT)
        display.note("Cu3Au is on the hull [bold]")
        sys.stdout.write("a stray line\n")
        sys.stderr.write("a stray error\n")
    written = terminal.read()
    for words in ("Cu3Au is on the hull [bold]", "a stray line", "a stray error"):
        assert words in written.replace("\r", "")
    assert written.rstrip().endswith("\x1b[?25h")
    assert "round 4" in written.rpartition("a stray error")[2]


def test_prefect_prints_warnings_alone_while_it_is_quiet() -> None:
    (handler,) = [
        each for each in logging.getLogger().handlers if isinstance(each, PrefectConsoleHandler)
    ]
    level = handler.level
    with quiet_prefect():
        assert handler.level == logging.WARNING
    assert handler.level == level < logging.WARNING


def test_a_handler_that_holds_the_terminal_writes_above_the_panel_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    above = io.StringIO()
    handler = logging.StreamHandler(sys.__stderr__)
    logger = logging.getLogger("a library of its own")
    logger.addHandler(handler)
    monkeypatch.setattr(sys, "stderr", above)
    with through_stderr():
        logger.warning("worker lost")
    assert above.getvalue() == "worker lost\n"
    assert handler.stream is sys.__stderr__
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (3661, "1 h 01 min"),
        (90000, "1 d 1 h"),
        (8640000, "100 d 0 h"),
    ],
)
def test_times_are_said_in_their_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_bar_ends_at_the_pool_when_the_budget_is_larger() -> None:
    assert replace(SNAPSHOT, budget=5000).limit == 1234
    assert replace(SNAPSHOT, budget=None).limit == 1234
    assert replace(SNAPSHOT, budget=100, pool=0).limit == 100
