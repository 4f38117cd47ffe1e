"""How a fault finds what it hits, and how what it does is undone later."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Timer
from typing import TypeVar

import psutil
from plan import Step
from stage import LOOK, PATIENCE, Stage, Trouble

T = TypeVar("T")
Fault = Callable[[Stage, Step], str]


def there(stage: Stage, look: Callable[[], list[T]]) -> list[T]:
    """Wait until one is there to be hit, or the driver has ended."""
    driver, found = stage.ensure_driver(), look()
    deadline = time.monotonic() + PATIENCE
    while not found and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(LOOK)
        found = look()
    return found


def one(found: Sequence[T], step: Step) -> T | None:
    return found[int(step.draw * len(found))] if found else None


def killed(found: Sequence[psutil.Process], step: Step, what: str) -> str:
    process = one(found, step)
    if process is None:
        return f"{what} could not be killed: none is there"
    with suppress(psutil.Error):
        process.kill()
    return f"{what} was killed, process {process.pid}"


def paused(stage: Stage, process: psutil.Process | None, step: Step, what: str) -> str:
    if process is None:
        return f"{what} could not be stopped: none is there"

    def suspend() -> None:
        with suppress(psutil.Error):
            process.suspend()

    def resume() -> None:
        with suppress(psutil.Error):
            process.resume()

    return lasting(stage, step, suspend, resume, f"{what}, process {process.pid}, was stopped")


def troubled(
    stage: Stage,
    step: Step,
    begin: Callable[[], object],
    end: Callable[[], object],
    what: str,
    words: str,
) -> str:
    """Do what a driver may end of, one such at a time, and undo it later."""
    if stage.in_trouble:
        return "another trouble lasts"
    trouble = Trouble(words, since=stage.runs)
    stage.troubles.append(trouble)

    def over() -> None:
        try:
            end()
        finally:
            trouble.until = stage.runs
            trouble.over.set()

    return lasting(stage, step, begin, over, what)


def lasting(
    stage: Stage, step: Step, begin: Callable[[], object], end: Callable[[], object], what: str
) -> str:
    """Do something, and undo it later: at once before the next fault, or while that befalls."""
    begin()
    timer = Timer(step.seconds, end)
    timer.start()
    stage.timers.append(timer)
    if not step.overlaps:
        timer.join()
    still = ", and is so still" if step.overlaps else ""
    return f"{what} for {step.seconds} s{still}"


def waited_for(reached: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not (over := reached()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return over
