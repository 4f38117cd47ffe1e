from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

from leadline.tasks.calculation import Request, Result
from leadline.tasks.compute import worker as worker_side
from leadline.tasks.compute.attempt_files import Running, attempt_folder, turns

PLUGINS = [Path(__file__).parents[2] / "plugins" / name for name in ("stand_in", "moody_emt")]
COPPER = {
    "lattice": [[3.6, 0, 0], [0, 3.6, 0], [0, 0, 3.6]],
    "species": ["Cu"] * 4,
    "coords": [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
}
WORK = """
import json, sys
from leadline.tasks.compute.worker import run_calculation
for line in sys.stdin:
    print(json.dumps(run_calculation(json.loads(line))), flush=True)
"""
Asking = Callable[..., Request]


@pytest.fixture(scope="session", autouse=True)
def _stand_in_engine() -> Iterator[None]:
    """Make stand-in and moody-emt engines of all processes that tests start from here."""
    worker_side._NURSERY.close()  # one that another room's tests started knows no stand-in
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*map(str, PLUGINS), before]))
    yield
    del os.environ["PYTHONPATH"]
    if before is not None:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def ask(tmp_path: Path) -> Asking:
    """Make a request of the stand-in engine, or of EMT, with a folder of its own."""

    def asking(
        name: str = "one", engine: str = "stand-in", attempt: int = 1, **settings: Any
    ) -> Request:
        own = ("gone", "time_limit", "recipe", "structure")
        named = {key: settings.pop(key) for key in own if key in settings}
        return Request(
            calculation=name,
            attempt=attempt,
            structure_id="cu",
            engine={"name": engine, "settings": settings},
            site={},
            folder=str(tmp_path / "calculations" / name),
            **{"structure": COPPER, "recipe": {"name": "static", "settings": {}}, **named},
        )

    return asking


class WorkerProcess:
    """A process that runs calculations one after the other, as a Dask worker does."""

    def __init__(self, limit: str = "") -> None:
        shell = [*(["sh", "-c", f'{limit}; exec "$@"', "sh"] if limit else [])]
        self.process = subprocess.Popen(
            [*shell, sys.executable, "-c", WORK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, request: Request) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request.to_plain()) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, str]:
        assert self.process.stdout is not None
        answer: dict[str, str] = json.loads(self.process.stdout.readline())
        return answer

    def result(self) -> Result:
        return Result.from_json(self.answer()["result"])

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(OSError):
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess()
    yield process
    process.close()


@pytest.fixture
def cramped_worker() -> Iterator[WorkerProcess]:
    """A worker whose files may not grow past 512 bytes: a disk that fills up."""
    process = WorkerProcess("ulimit -f 1")
    yield process
    process.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads in which calculations of a test run."""
    with ThreadPoolExecutor(8) as threads:
        yield threads


class Observer:
    """Looks at processes and folders from outside, as the operating system shows them."""

    def until(self, what: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Return what a function says once it is true; fail when it takes too long."""
        deadline = time.monotonic() + seconds
        while not (said := what()):
            assert time.monotonic() < deadline, f"not so after {seconds} s"
            time.sleep(0.01)
        return said

    def acting(self, request: Request, *names: str) -> list[psutil.Process]:
        """Wait until an engine is in the midst of its work; return its processes."""
        folder = attempt_folder(Path(request.folder), request.attempt)
        files = [folder / name for name in ("acting", *names)]
        self.until(lambda: all(file.exists() and file.read_text() for file in files))
        return [psutil.Process(int(file.read_text())) for file in files]

    def guardian(self, request: Request) -> Running:
        running: Running = self.until(lambda: turns(Path(request.folder)))[-1]
        return running

    def over(self, process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return bool(process.status() == psutil.STATUS_ZOMBIE)
        return True

    def all_over(self, processes: list[psutil.Process], seconds: float) -> None:
        self.until(lambda: all(self.over(process) for process in processes), seconds)

    def log(self, request: Request) -> list[dict[str, Any]]:
        file = Path(request.folder).parent / "engines.log"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def observe() -> Observer:
    return Observer()


@pytest.fixture
def lose_answers(observe: Observer, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a worker, by its process, die once its task is finished, before the answer is here."""
    fetch = distributed.Future.result

    def of(pid: int) -> None:
        def fetched_too_late(future: distributed.Future[Any], **limit: float) -> Any:
            os.kill(pid, signal.SIGKILL)
            observe.until(lambda: future.status != "finished", seconds=60)
            return fetch(future, **limit)

        monkeypatch.setattr(distributed.Future, "result", fetched_too_late)

    return of
