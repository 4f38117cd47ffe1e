"""The faults by name: each hits what is there at the moment, and says what it hit."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

import psutil
from database import Database
from hits import Fault, killed, lasting, one, paused, there, troubled, waited_for
from plan import Step
from queue_faults import QUEUE_FAULTS
from small_disk import KB
from stage import LAST_WORDS, PATIENCE, Stage

AWAY, NO_ROOM = "does not answer", "free some space"
"""What a driver says that ends of a database that is away, or of a full disk."""


def kill_driver(stage: Stage, step: Step) -> str:
    stage.kill_driver()
    return "the driver was killed"


def kill_all(stage: Stage, step: Step) -> str:
    """End all processes at once, as a power cut does, but for what the disk holds."""
    stage.ensure_driver()
    killed = stage.kill_all()
    return f"{killed} processes were killed: all there are"


def stop_driver(stage: Stage, step: Step) -> str:
    return paused(stage, psutil.Process(stage.ensure_driver().pid), step, "the driver")


def kill_stopped_driver(stage: Stage, step: Step) -> str:
    stage.ensure_driver().send_signal(signal.SIGSTOP)
    time.sleep(step.seconds)
    stage.kill_driver()
    return f"the driver was stopped, and killed {step.seconds} s later"


def kill_driver_in_its_start(stage: Stage, step: Step) -> str:
    stage.kill_driver()
    stage.ensure_driver(cold=True)
    seconds = step.draw * 10
    time.sleep(seconds)
    stage.kill_driver()
    return f"the driver was killed, and the next one after {seconds:.1f} s"


def interrupt_in_its_start(stage: Stage, step: Step) -> str:
    stage.kill_driver()
    stage.ensure_driver(cold=True)
    time.sleep(step.draw * 10)
    return f"after {step.draw * 10:.1f} s {_asked(stage, signal.SIGINT)}"


def interrupt(stage: Stage, step: Step) -> str:
    return _asked(stage, signal.SIGINT)


def interrupt_twice(stage: Stage, step: Step) -> str:
    words = _asked(stage, signal.SIGINT, again_after=step.draw)
    if "stopping at once" in stage.words(stage.runs) and not waited_for(
        lambda: not stage.engines(), LAST_WORDS
    ):
        stage.wrong("engines go on although the driver was told to stop at once")
    return words


def terminate(stage: Stage, step: Step) -> str:
    return _asked(stage, signal.SIGTERM)


def kill_worker(stage: Stage, step: Step) -> str:
    return killed(there(stage, stage.workers), step, "a worker")


def stop_worker(stage: Stage, step: Step) -> str:
    return paused(stage, one(there(stage, stage.workers), step), step, "a worker")


def kill_nursery(stage: Stage, step: Step) -> str:
    return killed(there(stage, stage.nurseries), step, "a nursery")


def kill_guardian(stage: Stage, step: Step) -> str:
    running = one(there(stage, stage.guarded), step)
    if running is None:
        return "no guardian was there to be killed"
    stage.unguarded.add((running.calculation, running.attempt))
    with suppress(psutil.Error):
        psutil.Process(running.pid).kill()
    return f"the guardian of {running.calculation[:8]} attempt {running.attempt} was killed"


def stop_guardian(stage: Stage, step: Step) -> str:
    running = one(there(stage, stage.guarded), step)
    process = psutil.Process(running.pid) if running else None
    return paused(stage, process, step, "a guardian")


def kill_engine(stage: Stage, step: Step) -> str:
    return killed(there(stage, stage.engines), step, "an engine")


def stop_engine(stage: Stage, step: Step) -> str:
    return paused(stage, one(there(stage, stage.engines), step), step, "an engine")


def cut_result(stage: Stage, step: Step) -> str:
    """Kill the driver, wait until all has ended, and cut a result short: one not recorded yet."""
    stage.kill_driver()
    waited_for(lambda: not stage.guarded())
    stage.collect()
    recorded, found = stage.done(), list(stage.finished())
    new = [each for each in found if each[1].calculation not in recorded]
    chosen = one(new or found, step)
    if chosen is None:
        return "no result was there to be cut short"
    folder, result = chosen
    if new:
        stage.results.pop(result.calculation)
    stage.damaged.add((result.calculation, result.attempt))
    file = folder / f"attempt-{result.attempt}" / "result.json"
    os.truncate(file, int(file.stat().st_size * step.draw))
    kind = "new" if new else "recorded"
    return f"the driver was killed, and the {kind} result of {result.calculation[:8]} cut short"


def delete_caches(stage: Stage, step: Step) -> str:
    for name in ("pools", "features"):
        shutil.rmtree(stage.store / name, ignore_errors=True)
    return "pools and features were deleted"


def second_driver(stage: Stage, step: Step) -> str:
    """Start a second driver while the first one sleeps: it is told who works."""
    first = stage.ensure_driver()
    first.send_signal(signal.SIGSTOP)
    held = stage.holder() == first.pid
    second, run = stage.start(), stage.runs
    second.wait(PATIENCE)
    first.send_signal(signal.SIGCONT)
    told = f"process {first.pid} " in stage.words(run)
    if held and (second.returncode != 2 or not told):
        stage.wrong(f"a second driver ended with {second.returncode}: {stage.words(run)[-2000:]}")
    return f"the driver was stopped; a second one was started, and ended with {second.returncode}"


def stop_scheduler(stage: Stage, step: Step) -> str:
    scheduler = psutil.Process(stage.yard.scheduler.pid) if stage.yard else None
    return paused(stage, scheduler, step, "the Dask scheduler")


def kill_scheduler(stage: Stage, step: Step) -> str:
    assert stage.yard is not None
    stage.yard.scheduler.kill()
    return "the Dask scheduler was killed, and another started"


def cut_off_worker(stage: Stage, step: Step) -> str:
    assert stage.yard is not None
    line = stage.yard.line
    return lasting(stage, step, line.cut, line.mend, "a worker was cut off from its scheduler")


def silence_worker(stage: Stage, step: Step) -> str:
    assert stage.yard is not None
    line = stage.yard.line
    what = "nothing came from a worker to its scheduler, nor back,"
    return lasting(stage, step, line.hush, line.mend, what)


def stop_database(stage: Stage, step: Step) -> str:
    server = _database(stage).server
    what = "the database was stopped"
    return troubled(stage, step, server.pause, server.resume, what, AWAY)


def kill_database(stage: Stage, step: Step) -> str:
    server = _database(stage).server
    return troubled(stage, step, server.kill, server.start, "the database was killed", AWAY)


def cut_database(stage: Stage, step: Step) -> str:
    line = _database(stage).line
    what = "the connections to the database were cut"
    return troubled(stage, step, line.cut, line.mend, what, AWAY)


def silence_database(stage: Stage, step: Step) -> str:
    line = _database(stage).line
    what = "nothing came from the database, nor to it,"
    return troubled(stage, step, line.hush, line.mend, what, AWAY)


def fill_disk(stage: Stage, step: Step) -> str:
    """Take all room but little; who ends meanwhile may find none to say so in the engines' log."""
    disk = stage.disk
    assert disk is not None

    def fill() -> None:
        for _ in range(100):
            with suppress(OSError):  # others took room between its look and its grab
                disk.fill(leave=int(step.draw * 10) * 4 * KB)
                return
        stage.wrong("the disk could not be filled")

    def clear() -> None:
        disk.clear()
        told = {
            (line["calculation"], int(line["attempt"]))
            for line in stage.engine_log()
            if line["event"] == "end"
        }
        ran = {(each.calculation, each.attempt) for _, each in stage.attempts()}
        stage.unguarded |= ran - told

    return troubled(stage, step, fill, clear, "the disk was full", NO_ROOM)


def kill_driver_for_long(stage: Stage, step: Step) -> str:
    stage.kill_driver()
    time.sleep(step.seconds)
    return f"the driver was killed, and nobody looked for {step.seconds} s"


def stop_prefect_server(stage: Stage, step: Step) -> str:
    return paused(stage, stage.prefect_server(), step, "the Prefect server")


def kill_prefect_server(stage: Stage, step: Step) -> str:
    server = stage.prefect_server()
    return killed([server] if server else [], step, "the Prefect server")


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "kill driver": kill_driver,
        "kill all": kill_all,
        "stop driver": stop_driver,
        "kill stopped driver": kill_stopped_driver,
        "kill driver in its start": kill_driver_in_its_start,
        "interrupt in its start": interrupt_in_its_start,
        "interrupt": interrupt,
        "interrupt twice": interrupt_twice,
        "terminate": terminate,
        "kill worker": kill_worker,
        "stop worker": stop_worker,
        "kill nursery": kill_nursery,
        "kill guardian": kill_guardian,
        "stop guardian": stop_guardian,
        "kill engine": kill_engine,
        "stop engine": stop_engine,
        "cut result": cut_result,
        "delete caches": delete_caches,
        "second driver": second_driver,
        "stop scheduler": stop_scheduler,
        "kill scheduler": kill_scheduler,
        "cut off worker": cut_off_worker,
        "silence worker": silence_worker,
        "stop database": stop_database,
        "kill database": kill_database,
        "cut database": cut_database,
        "silence database": silence_database,
        "fill disk": fill_disk,
        "kill driver for long": kill_driver_for_long,
        "stop Prefect server": stop_prefect_server,
        "kill Prefect server": kill_prefect_server,
        **QUEUE_FAULTS,
    }
)


def _database(stage: Stage) -> Database:
    assert stage.database is not None
    return stage.database


def _asked(stage: Stage, number: signal.Signals, again_after: float | None = None) -> str:
    driver = stage.ensure_driver()
    driver.send_signal(number)
    if again_after is not None:
        time.sleep(again_after)
        driver.send_signal(number)
    stage.asked = True
    stage.await_end()
    twice = " twice" if again_after is not None else ""
    return f"the driver was asked to end by {number.name}{twice}"
