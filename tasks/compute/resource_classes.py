"""Several clusters for one campaign: a calculation goes where the size of its cell belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from leadline.tasks.calculation import Request, Result
from leadline.tasks.compute.attempt_files import Running
from leadline.tasks.compute.dispatcher import Dispatch
from leadline.tasks.compute.right_sizing import ANY, Need
from leadline.tasks.engines.engine import EngineSite


@dataclass(frozen=True)
class ResourceClass:
    """Where calculations of one range of sizes run.

    Parameters
    ----------
    above
        It takes cells of more atoms than this.
    dispatcher
        Sends them away.
    site
        What its machine says of an engine, by the engine's name: ranks, threads, commands.
    """

    above: int
    dispatcher: Dispatch
    site: Callable[[str], EngineSite]


class SizedDispatcher:
    """Sends each calculation to the class with the highest bound that its cell exceeds.

    Parameters
    ----------
    classes
        From small to large; the first takes whatever no other does.
    """

    def __init__(self, classes: Sequence[ResourceClass]) -> None:
        self._classes = tuple(classes)

    @contextmanager
    def run(
        self,
        request: Request,
        cancelled: Callable[[], bool],
        poll: float = 0.2,
        need: Need = ANY,
    ) -> Iterator[Result]:
        """Run one attempt in its class; see :meth:`Dispatcher.run`."""
        chosen = self._class_of(len(request.structure["species"]))
        sized = replace(
            request,
            site=chosen.site(request.engine["name"]).model_dump(mode="json"),
            prerelax_site=chosen.site(cheap).model_dump(mode="json")
            if (cheap := request.prerelaxer)
            else {},
        )
        with chosen.dispatcher.run(sized, cancelled, poll, need) as result:
            yield result

    def site_for(self, engine: str, sites: int) -> EngineSite:
        """Return what the machine of its class says of an engine."""
        return self._class_of(sites).site(engine)

    def _class_of(self, sites: int) -> ResourceClass:
        larger = [each for each in self._classes[1:] if sites > each.above]
        return larger[-1] if larger else self._classes[0]

    @contextmanager
    def resume(
        self, calculation: str, folder: Path, attempt: int, cancelled: Callable[[], bool]
    ) -> Iterator[Result | None]:
        """Take up an attempt in whichever class it was sent to."""
        for each in self._classes:
            with each.dispatcher.resume(calculation, folder, attempt, cancelled) as result:
                if result is not None:
                    yield result
                    return
        yield None

    def proves_gone(self, running: Running) -> bool | None:
        """Tell whether the queue says that the job of an attempt is over, to all that ask it.

        One may hold a listing that is older than the job.
        """
        told = [each.dispatcher.proves_gone(running) for each in self._classes]
        known = [each for each in told if each is not None]
        return all(known) if known else None
