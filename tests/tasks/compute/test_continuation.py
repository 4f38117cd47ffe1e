"""A relaxation that was cut goes on where it was, and comes to the same answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leadline.tasks.calculation import Request, Result
from leadline.tasks.compute.attempt_files import attempt_folder, is_signed_off
from leadline.tasks.compute.worker import run_calculation

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer, WorkerProcess

STRAINED = {
    "lattice": [[3.1, 0.1, 0], [0, 2.7, 0.2], [0.1, 0, 4.2]],
    "species": ["Cu", "Au"],
    "coords": [[0, 0, 0], [0.53, 0.47, 0.52]],
}


def relaxing(ask: Asking, name: str = "one", max_steps: int = 200, **more: Any) -> Request:
    recipe = {"name": "relax", "settings": {"fmax": 0.005, "max_steps": max_steps}}
    return ask(name, "moody-emt", structure=STRAINED, recipe=recipe, **more)


def run(request: Request) -> Result:
    return Result.from_json(run_calculation(request.to_plain())["result"])


def geometry(request: Request) -> Path:
    return attempt_folder(Path(request.folder), request.attempt) / "geometry.json"


def step(file: Path) -> int:
    return int(json.loads(file.read_text())["step"]) if file.exists() else 0


def killed(request: Request, worker: WorkerProcess, observe: Observer, after: int) -> int:
    """Kill the worker of a relaxation after so many steps; return the one it had reached."""
    worker.start(request)
    observe.until(lambda: step(geometry(request)) >= after)
    worker.process.kill()
    observe.until(lambda: is_signed_off(Path(request.folder), request.attempt))
    return step(geometry(request))


def test_after_a_kill_it_goes_on_from_the_last_geometry_to_the_same_answer(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    undisturbed = run(relaxing(ask, "undisturbed"))
    assert undisturbed.continued_from is None
    reached = killed(relaxing(ask, seconds=0.2), worker, observe, after=10)
    result = run(relaxing(ask, attempt=2))
    assert result.complete
    assert result.continued_from == {"attempt": 1, "step": reached}
    assert result.steps < undisturbed.steps
    assert result.energy == pytest.approx(undisturbed.energy, abs=1e-4)
    for name in ("volume_per_atom", "energy_per_atom"):
        assert result.properties[name] == pytest.approx(undisturbed.properties[name], rel=1e-3)


def test_it_begins_anew_where_the_geometry_was_cut_short(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    request = relaxing(ask, seconds=0.2)
    killed(request, worker, observe, after=2)
    whole = geometry(request).read_bytes()
    geometry(request).write_bytes(whole[: len(whole) // 2])
    result = run(relaxing(ask, attempt=2))
    assert result.complete
    assert result.continued_from is None


def test_what_ran_out_of_steps_goes_on_as_often_as_it_is_asked_to(ask: Asking) -> None:
    undisturbed = run(relaxing(ask, "undisturbed"))
    results = [run(relaxing(ask, max_steps=12))]
    while not results[-1].complete:
        results.append(run(relaxing(ask, attempt=len(results) + 1, max_steps=12)))
    assert len(results) > 1
    begun = [each.continued_from for each in results[1:]]
    assert begun == [{"attempt": n, "step": 12} for n in range(1, len(results))]
    assert results[-1].energy == pytest.approx(undisturbed.energy, abs=1e-4)


def test_one_that_was_killed_while_a_cheap_engine_relaxed_it_has_that_done_anew(
    ask: Asking, worker: WorkerProcess, observe: Observer
) -> None:
    def led(seconds: float, attempt: int) -> Request:
        cheap = {"name": "moody-emt", "seconds": seconds}
        steps = {"name": "relax", "settings": {"fmax": 0.1, "prerelax": {"engine": cheap}}}
        return ask("one", "moody-emt", attempt, structure=STRAINED, recipe=steps)

    request = led(0.5, attempt=1)
    folder = attempt_folder(Path(request.folder), 1)
    worker.start(request)
    observe.until((folder / "raw" / "prerelax" / "reached.json").exists)
    worker.process.kill()
    observe.until(lambda: is_signed_off(Path(request.folder), 1))
    assert not (folder / "begin.json").exists()
    result = run(led(0.0, attempt=2))
    assert result.complete, result.failure
    assert result.prerelaxed is not None
    assert (result.prerelaxed["engine"], result.prerelaxed["attempt"]) == ("moody-emt", 2)
