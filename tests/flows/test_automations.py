"""The example automations: a real server takes each, and one is seen to fire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect import flow
from prefect.blocks.notifications import SendgridEmail
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from pydantic import SecretStr

from leadline.flows.courier import Courier
from leadline.flows.events import STABLE, Happening

EXAMPLES = Path(__file__).parents[2] / "deploy/automations"
PLACEHOLDER = "00000000-0000-0000-0000-000000000000"

pytestmark = pytest.mark.usefixtures("served")


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def chat() -> Iterator[tuple[str, SimpleQueue[str]]]:
    """A chat server: its address, and what was said to it."""
    said: SimpleQueue[str] = SimpleQueue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", said
    server.shutdown()
    thread.join()
    server.server_close()


def created(tmp_path: Path, prefect_api: dict[str, str], name: str, id_: str = "") -> str:
    """Create an example as a person does, with the id of its block or deployment filled in."""
    text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
    assert (PLACEHOLDER in text) == bool(id_)
    filled = tmp_path / f"{name}.yaml"
    filled.write_text(text.replace(PLACEHOLDER, id_))
    create = ["-m", "prefect", "automation", "create", "--from-file", str(filled)]
    ran = subprocess.run(
        [sys.executable, *create], env={**os.environ, **prefect_api}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return str(yaml.safe_load(text)["name"])


def automation(client: SyncPrefectClient, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.request(
        "POST", "/automations/filter", json={"automations": {"name": {"any_": [name]}}}
    ).json()
    (one,) = found
    return one


def test_a_phase_is_told_to_a_chat(
    chat: tuple[str, SimpleQueue[str]], prefect_api: dict[str, str], tmp_path: Path
) -> None:
    address, said = chat
    block = Webhook(method="POST", url=SecretStr(address), allow_private_urls=True)
    created(tmp_path, prefect_api, "chat", str(block.save("chat", overwrite=True)))
    payload = {
        "formula": "Cu3Au", "structure": "a" * 64, "space_group": "Pm-3m", "value": -0.01021,
        "energy_above_hull": 0.0, "calculation": 32,
    }  # fmt: skip
    happening = Happening(STABLE, uuid4().hex, "Cu₃Au", payload)
    kept: list[str] = []
    courier = Courier(str(uuid4()), kept.extend)
    with courier.working():
        courier.tell(happening.key, happening.message("cu-au", datetime.now(UTC), str(uuid4())))
    assert kept == [happening.key]
    words = json.loads(said.get(timeout=90))
    assert words == {"text": "cu-au found Cu3Au (Pm-3m) at -0.0102 eV/atom, by calculation 32"}


def test_a_server_takes_the_other_examples(
    prefect_api: dict[str, str], tmp_path: Path, client: SyncPrefectClient
) -> None:
    mail = SendgridEmail(api_key=SecretStr("secret"), sender_email="a@x.org", to_emails=["b@x.org"])
    name = created(tmp_path, prefect_api, "mail", str(mail.save("mail", overwrite=True)))
    assert automation(client, name)["enabled"]
    deployed = client.create_deployment(client.create_flow(looks_closer), "finer")
    name = created(tmp_path, prefect_api, "follow-up", str(deployed))
    (action,) = automation(client, name)["actions"]
    assert action["deployment_id"] == str(deployed)
    name = created(tmp_path, prefect_api, "lost-runs")
    assert automation(client, name)["trigger"]["posture"] == "Proactive"


@flow
def looks_closer() -> None:
    """A deployment to start."""
