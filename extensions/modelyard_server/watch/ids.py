"""Ids of requests: the caller's own where it can stand in a log, else a new one."""

from __future__ import annotations

import random
import re

_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_random = random.Random()  # seeded by the system; an id is no secret


def request_id(asked: bytes | None) -> str:
    """`asked`, the value of X-Request-Id: 1 to 128 letters, digits or ._:/+=@-; else 32 hex digits."""
    if asked is not None and _SANE.fullmatch(asked):
        return asked.decode()
    return f"{_random.getrandbits(128):032x}"
