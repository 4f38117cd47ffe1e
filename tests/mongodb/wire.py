"""MongoDB's wire protocol, as far as tests speak it."""

from __future__ import annotations

import struct
from typing import Any

import bson

HEADER = struct.Struct("<iiii")
OP_QUERY, OP_MSG = 2004, 2013


def message(body: bytes) -> dict[str, Any]:
    """Return the command of an OP_MSG, its document sequences put in their places."""
    command: dict[str, Any] = {}
    more: dict[str, Any] = {}
    at = 4
    while at < len(body):
        kind, size = body[at], struct.unpack_from("<i", body, at + 1)[0]
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            command = bson.decode(section)
        else:
            end = section.index(b"\0", 4)
            more[section[4:end].decode()] = bson.decode_all(section[end + 1 :])
        at += 1 + size
    return command | more


def reply(to: int, answer: dict[str, Any]) -> bytes:
    """Return the message that answers the request of a number."""
    body = struct.pack("<iB", 0, 0) + bson.encode(answer)
    return HEADER.pack(HEADER.size + len(body), 0, to, OP_MSG) + body
