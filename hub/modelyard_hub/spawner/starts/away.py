"""An API server that does not answer, or has just begun to: what may be asked of it again."""

from __future__ import annotations

import json
import time

import aiohttp
from kubernetes_asyncio.client.exceptions import ApiException

from modelyard_hub.spawner.starts.causes.base import Diagnosis

AGAIN = 1.0
"""Seconds after which it is asked again."""
AWAY_NOW = Diagnosis("queue", "cluster-away", "The cluster does not answer.", (), "It is asked again.")
SETTLES = 15.0
"""Seconds for which one that has just been started may refuse what it allows: it reads its rules."""
_PASSING = (429, 503, 504)
_last: dict[str, float] = {}


def again(error: BaseException, now: float | None = None) -> bool:
    """Whether the same may be asked again. It is noted, for all who ask, when there was no answer. `now`: of
    `time.monotonic`."""
    now = time.monotonic() if now is None else now
    if not isinstance(error, ApiException):
        passing = isinstance(error, aiohttp.ClientError | OSError)  # of which TimeoutError is one
    elif error.status == 403:
        return now - _last.get("away", float("-inf")) < SETTLES and "exceeded quota" not in api_said(error)
    else:
        passing = error.status in _PASSING
    if passing:
        _last["away"] = now
    return passing


def api_said(error: ApiException) -> str:
    """The API server's own words."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def words(error: BaseException) -> str:
    """What went wrong, for a log or as evidence."""
    return api_said(error) if isinstance(error, ApiException) else repr(error)
