"""Ids of requests and addresses of callers, as they can stand in a log."""

from __future__ import annotations

import random
import re

_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_ADDRESS = re.compile(rb"[0-9A-Fa-f.:]{2,45}")
_random = random.Random()  # seeded by the system; an id is no secret


def request_id(asked: bytes | None) -> str:
    """`asked`, the value of X-Request-Id: 1 to 128 letters, digits or ._:/+=@-; else 32 hex digits."""
    if asked is not None and _SANE.fullmatch(asked):
        return asked.decode()
    return f"{_random.getrandbits(128):032x}"


def address(forwarded: bytes | None, peer: str) -> str:
    """Whence a request came: what the router says, by X-Forwarded-For; else the other end of the connection."""
    first = b"" if forwarded is None else forwarded.partition(b",")[0].strip()
    return first.decode() if _ADDRESS.fullmatch(first) else peer
