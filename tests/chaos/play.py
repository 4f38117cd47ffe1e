"""Plays a plan: one campaign through all that befalls it, to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from faults import FAULTS
from plan import Plan
from stage import Stage

from leadline.tasks.store.records import CalculationState

LOOK = 0.5
"""Seconds between two looks of the reader."""


def play(stage: Stage, plan: Plan) -> None:
    """Let everything befall the campaign that the plan holds, then let it end in peace."""
    with _reader(stage) if plan.reader else _nobody():
        for step in plan.steps:
            lines = len(stage.engine_log()) + step.lines
            if not stage.wait_for_lines(lines):
                stage.has_ended()
                if stage.faults or (not stage.in_trouble and stage.is_over):
                    stage.note(f"it ended here; left out: {step.fault} and what follows")
                    break
            time.sleep(step.pause)
            stage.note(FAULTS[step.fault](stage, step))
        _end_in_peace(stage)
        for timer in stage.timers:
            timer.join()
        stage.collect()


def _end_in_peace(stage: Stage) -> None:
    """Let the campaign end; a driver that the last trouble ended has a successor."""
    if stage.driver is None and stage.is_over:
        return
    stage.ensure_driver()
    stage.await_end()
    if stage.excused:
        stage.await_calm()
        stage.ensure_driver()
        stage.await_end()


@contextmanager
def _nobody() -> Iterator[None]:
    yield


@contextmanager
def _reader(stage: Stage) -> Iterator[None]:
    """Read the store all the time: what was seen done is done from then on."""
    ended = threading.Event()
    thread = threading.Thread(target=_read, args=(stage, ended), name="reader", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _read(stage: Stage, ended: threading.Event) -> None:
    picked: dict[tuple[int, int], str] = {}
    done: dict[str, float | None] = {}
    while not ended.wait(LOOK):
        if stage.in_trouble or not stage.has_store:
            continue
        troubles = len(stage.troubles)
        try:
            with stage.opened() as store:
                proposals = store.proposals("chaos")
                records = store.by_state(CalculationState.DONE)
        except Exception as error:
            if len(stage.troubles) > troubles:
                continue
            stage.wrong(f"a reader was refused: {type(error).__name__}: {error}")
            continue
        now_picked = {(each.round, each.rank): each.structure for each in proposals}
        now_done = {each.id: each.energy for each in records}
        if not picked.items() <= now_picked.items():
            stage.wrong(f"picks have changed from {picked} to {now_picked}")
        if not done.items() <= now_done.items():
            stage.wrong(f"answers have changed from {done} to {now_done}")
        picked, done = now_picked, now_done
