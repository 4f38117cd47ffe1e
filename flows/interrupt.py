"""Ctrl-C and SIGTERM as wishes that the campaign reads, not as exceptions.

The first asks to finish what runs, the second to stop at once, and a third goes to
Python itself: a loop that hangs can always be left.

A run of a deployment is left alone: there Prefect answers the signals, acknowledges a
cancellation only while SIGTERM is its own, and raises ``TerminationSignal`` in the flow.
"""

from __future__ import annotations

import os
import signal
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from prefect.context import FlowRunContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FINISHING = "finishing what runs; Ctrl-C again stops at once"
_STOPPING = "stopping at once"


class Interrupts:
    """Context in which signals set flags.

    Enter it inside the flow: Prefect puts a SIGTERM handler of its own in place when
    a flow begins. Outside the main thread it watches nothing, since Python delivers
    signals there alone.

    Parameters
    ----------
    say
        Told in a few words what was understood. It runs in a thread of its own, so
        it may print, log or take locks.
    cancel
        Called, in that thread, when everything has to stop at once.

    Attributes
    ----------
    requested
        Someone asked to finish what runs and rest.
    now
        Someone asked to stop at once; then ``requested`` holds as well.
    """

    def __init__(
        self, say: Callable[[str], object], cancel: Callable[[], object] = lambda: None
    ) -> None:
        self.requested = False
        self.now = False
        self._say, self._cancel = say, cancel
        self._before: dict[signal.Signals, signal._HANDLER] = {}
        self._heard: SimpleQueue[str | None] = SimpleQueue()
        self._teller = threading.Thread(target=self._tell, name="interrupts", daemon=True)

    def __enter__(self) -> Self:
        self._teller.start()
        if _ours():
            self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()
        self._heard.put(None)
        self._teller.join()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Runs between any two instructions of the main thread, which may hold any lock:
        # only what is safe then (plain attributes, the reentrant put of SimpleQueue).
        if self.now:
            self._restore()
            os.kill(os.getpid(), number)
        elif self.requested:
            self.now = True
            self._heard.put(_STOPPING)
        else:
            self.requested = True
            self._heard.put(_FINISHING)

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _tell(self) -> None:
        while (words := self._heard.get()) is not None:
            self._say(words)
            if words == _STOPPING:
                self._cancel()


def _ours() -> bool:
    run = FlowRunContext.get()
    supervised = run is not None and run.flow_run is not None and bool(run.flow_run.deployment_id)
    return threading.current_thread() is threading.main_thread() and not supervised
