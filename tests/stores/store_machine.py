"""What state machines of stores share: a store of some kind, opened again and killed on the way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from leadline.tasks.store.store import Store, open_store


class Died(BaseException):
    """The end of a driver, between two of its writes."""


class StoreMachine(RuleBasedStateMachine):
    """A store in a folder, or on a server where there is a URI."""

    def __init__(self, folder: Path, uri: str | None) -> None:
        super().__init__()
        self.root, self.uri, self.lives = folder / str(id(self)), uri, 0
        self.store = self.opened()

    @property
    def folder(self) -> Path:
        return self.root / str(self.lives)

    def opened(self, *, write: bool = True) -> Store:
        return open_store(self.uri, self.folder, write=write, self_test=False)

    def teardown(self) -> None:
        if self.uri is not None:
            database = self.store._connection.database
            database.client.drop_database(database.name)
        self.store.close()
        shutil.rmtree(self.root, ignore_errors=True)

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = self.opened()

    @precondition(lambda self: self.uri is None)
    @rule()
    def be_killed(self) -> None:
        self.leave_behind()
        self.live_on()

    def leave_behind(self) -> None:
        """Copy the files as they are: what a kill at this moment leaves."""
        shutil.copytree(self.folder, self.root / str(self.lives + 1))

    def live_on(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)
        self.lives += 1
        self.store = self.opened()

    @contextmanager
    def dying_in(self, method: str, at: Callable[..., bool]) -> Iterator[None]:
        """Let the driver die before a call of a method of its store; the next one goes on."""
        call = getattr(self.store, method)

        def call_or_die(*values: object, **named: object) -> object:
            if at(*values, **named):
                raise Died
            return call(*values, **named)

        vars(self.store)[method] = call_or_die
        with suppress(Died):
            yield
        self.open_again()


def run_machine(
    machine: type[StoreMachine], folder: Path, uri: str | None, *, examples: int, steps: int
) -> None:
    """Run a machine on the embedded store, or on a server where there is a URI."""
    made: Any = partial(machine, folder, uri)
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
