"""Campaigns started from Python on a deployment: submitted, waited for, and read.

    run = submit(spec, "campaign/nightly", calculations=20)
    run.wait()
    run.result().table

A handle can be awaited: ``await submit(...)`` gives the result. The store is the
truth, so the result is read from the store that this process is set up for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_UI_URL
from prefect.states import Cancelling

from leadline.flows.limits import RunLimits
from leadline.flows.results import CampaignResult, campaign_result
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import read_spec, spec_from
from leadline.tasks.errors import InputError, PrefectServerError

POLL = 5.0
"""Seconds between two looks at a run."""
FLOW = "campaign"


@dataclass(frozen=True)
class CampaignRun:
    """A run of a campaign somewhere else.

    Parameters
    ----------
    id
        Of the flow run.
    spec
        What it runs.
    """

    id: UUID
    spec: CampaignSpec

    @property
    def url(self) -> str:
        """Where the Prefect UI shows it."""
        return f"{PREFECT_UI_URL.value()}/runs/flow-run/{self.id}"

    def status(self) -> str:
        """Return the name of its state and what it says, e.g. ``Running``."""
        state = self._run().state
        if state is None:
            return "Unknown"
        return f"{state.name}: {state.message}" if state.message else str(state.name)

    def wait(self, timeout: float | None = None, poll: float = POLL) -> CampaignRun:
        """Return once it has ended, in whatever state.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None waits for ever.
        poll
            Seconds between two looks.

        Raises
        ------
        TimeoutError
            If it goes on for longer: it is left alone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._has_ended():
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{self.url} goes on after {timeout:g} s: {self.status()}")
            time.sleep(poll)
        return self

    def result(self) -> CampaignResult:
        """Return what the campaign has come to so far, read from the store of this process.

        Raises
        ------
        InputError
            If that store does not hold the campaign: it is another one's.
        """
        return campaign_result(self.spec.name, self.spec.store)

    def cancel(self) -> None:
        """Ask for its end: engines stop within seconds, and what was finished is kept."""
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.id, Cancelling())

    def __await__(self) -> Generator[Any, None, CampaignResult]:
        """Wait without holding the event loop, then give the result."""
        return self._ended().__await__()

    async def _ended(self) -> CampaignResult:
        while not await asyncio.to_thread(self._has_ended):
            await asyncio.sleep(POLL)
        return await asyncio.to_thread(self.result)

    def _has_ended(self) -> bool:
        state = self._run().state
        return state is not None and state.is_final()

    def _run(self) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.id)


def submit(
    spec: CampaignSpec | Mapping[str, Any] | Path,
    deployment: str,
    *,
    calculations: int | None = None,
    hours: float | None = None,
    node_hours: float | None = None,
) -> CampaignRun:
    """Start a campaign on a deployment, or carry it on, and do not wait.

    Called inside another flow, the run is shown as its subflow.

    Parameters
    ----------
    spec
        The campaign: a spec, its plain data, or a campaign file.
    deployment
        ``campaign/NAME`` of a deployment of the campaign flow, or NAME alone.
    calculations, hours, node_hours
        Limits of this run, as of ``leadline run``.

    Raises
    ------
    SpecError
        If the spec is wrong, in the words of ``leadline check``; nothing is sent.
    InputError
        If there is no such deployment, or it takes no such spec.
    PrefectServerError
        If Prefect's server does not answer.
    """
    checked = _checked(spec)
    limits = RunLimits(calculations, hours, node_hours)
    name = deployment if "/" in deployment else f"{FLOW}/{deployment}"
    start = cast(
        "Callable[..., FlowRun]", run_deployment
    )  # _sync: in a notebook a loop runs already
    parameters = {"spec": checked.model_dump(mode="json"), **limits.parameters}
    try:
        run = start(name, parameters=parameters, timeout=0, _sync=True)
    except ObjectNotFound:
        raise InputError(
            f"there is no deployment {name!r} on {PREFECT_UI_URL.value()}; it has: {_deployments()}"
        ) from None
    except PrefectHTTPStatusError as error:
        raise InputError(f"the deployment {name} does not take it: {_said(error)}") from None
    except Exception as error:  # whatever the network does
        raise PrefectServerError(
            f"Prefect's server did not take the run: {type(error).__name__}: {error}; see that "
            "PREFECT_API_URL names a server that answers"
        ) from error
    return CampaignRun(run.id, checked)


def _checked(spec: CampaignSpec | Mapping[str, Any] | Path) -> CampaignSpec:
    if isinstance(spec, Path):
        return read_spec(spec)
    plain = spec.model_dump(mode="json") if isinstance(spec, CampaignSpec) else spec
    return spec_from(plain, "the spec")


def _deployments() -> str:
    with get_client(sync_client=True) as client:
        flows = {each.id: each.name for each in client.read_flows()}
        found = sorted(f"{flows[d.flow_id]}/{d.name}" for d in client.read_deployments())
    return ", ".join(found) or "none; `leadline serve FILE` makes some"


def _said(error: PrefectHTTPStatusError) -> str:
    try:
        return str(error.response.json().get("detail", error))
    except ValueError:
        return str(error)
