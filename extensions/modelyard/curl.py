"""A call as one line for bash. Pure."""

from __future__ import annotations

import json
import shlex
from typing import Any


def command(url: str, token: str, body: Any) -> str:
    """The line; every part is quoted, so that no text in the body can end it. Bash and zsh alike."""
    parts = ["curl", "--fail-with-body", "-sS", "-X", "POST", url]
    parts += ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
    parts += ["--data-raw", json.dumps(body, ensure_ascii=False, allow_nan=False)]
    return shlex.join(parts)
