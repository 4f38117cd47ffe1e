"""How another process asks a running campaign for something, and learns what became of it."""

from __future__ import annotations

import time
from typing import Any

from leadline.flows.person import person
from leadline.tasks.store.records import Message
from leadline.tasks.store.store import Store

HEARD_S = 30.0
"""How long a driver is waited for; it listens every second, and may be in a step of some more."""


def said(why: str, how: str, by: str = "") -> dict[str, str]:
    """Return who asks, why and how, as records keep it."""
    return {"by": by.strip() or person(), "why": why.strip(), "how": how}


def by_whom(message: Message) -> str:
    """Return who sent a message and why, in words."""
    payload: Any = message.payload
    why = f" ({payload['why']})" if payload.get("why") else ""
    return f"{payload.get('by') or message.sender}{why}"


def wait_until_taken_up(store: Store, message: Message, seconds: float = HEARD_S) -> bool:
    """Wait until a driver has done what a message asks; False if none does in time."""
    deadline = time.monotonic() + seconds
    while not (heard := store.taken_up(message)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return heard
