"""The idle culler's arbiter: asks each notebook server what is at work in it, and counts down before one is ended.

It keeps what it knows in memory. Where it is started anew, countdowns begin anew: nothing ends early.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from modelyard_api.activity import Activity, Countdown
from modelyard_hub.culling.policy import Limits, Verdict, decide
from modelyard_hub.culling.tokens import Tokens

log = logging.getLogger(__name__)
AGAIN = 30.0
"""Seconds after which a server that did not answer is asked again."""


@dataclass
class Watched:
    """A server that runs. Times of `time.monotonic`: when to look again, and when its countdown began."""

    started: str
    look_at: float = 0.0
    counting_since: float | None = None


HUB_VERSION = "X-JupyterHub-Version"
"""What every notebook server of JupyterHub says with its answers."""


class Arbiter:
    """Decides for JupyterHub's idle culler; `router` is the URL below which servers answer. `http` carries no token by
    itself."""

    def __init__(self, http: httpx.AsyncClient, tokens: Tokens, router: str, limits: Limits) -> None:
        self._http, self._tokens, self._router, self._limits = http, tokens, router.rstrip("/"), limits
        self._watched: dict[str, Watched] = {}

    async def __call__(self, *, inactive: timedelta | None, inactive_limit: float, server: dict[str, Any]) -> bool:
        """Whether the server is to be stopped. `inactive` is what JupyterHub knows: since when it heard of nobody."""
        key, now = server["url"], time.monotonic()
        watched = self._watched.get(key)
        if watched is None or watched.started != server["started"]:
            watched = self._watched[key] = Watched(server["started"])
        if now < watched.look_at:
            return False
        try:
            seen = await self._ask(server)
        except (httpx.HTTPError, ValueError) as error:
            # What does not answer may be hard at work.
            log.warning("%s does not say whether something is at work in it: %r", server["url"], error)
            watched.look_at = now + AGAIN
            return False
        if seen is None:  # a server without our extension
            return inactive is not None and inactive.total_seconds() >= inactive_limit
        return await self._decide(server, watched, seen)

    async def _decide(self, server: dict[str, Any], watched: Watched, seen: Activity) -> bool:
        url, now = server["url"], time.monotonic()
        if decide(seen, self._limits, None).verdict is Verdict.WAIT:
            watched.counting_since = None  # something happened since; the server has stopped counting by itself
        counted = None if watched.counting_since is None else now - watched.counting_since
        decision = decide(seen, self._limits, counted)
        watched.look_at = now + decision.after
        if decision.verdict is Verdict.END:
            log.info("%s is ended: nothing was at work in it for %.0f s", url, seen.now - seen.last)
            watched.counting_since = None
            return True
        if decision.verdict is Verdict.TELL and await self._tell(server):
            log.info("%s ends in %.0f s unless something happens", url, self._limits.countdown)
            watched.counting_since = now
        return False

    async def _ask(self, server: dict[str, Any]) -> Activity | None:
        answer = await self._send("GET", server, "")
        # A router that has no routes just now says 404 too.
        if answer.status_code == 404 and HUB_VERSION in answer.headers:
            return None
        answer.raise_for_status()
        return Activity.model_validate_json(answer.content)

    async def _tell(self, server: dict[str, Any]) -> bool:
        told = Countdown(seconds=self._limits.countdown, keep=self._limits.keep)
        try:
            (await self._send("POST", server, "/countdown", told.model_dump_json())).raise_for_status()
        except (httpx.HTTPError, ValueError) as error:
            log.warning("%s is not told that it ends: %r", server["url"], error)
            return False
        return True

    async def _send(self, method: str, server: dict[str, Any], path: str, content: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"token {await self._tokens.of(server)}"}
        place = f"{self._router}{server['url']}modelyard/activity{path}"
        answer = await self._http.request(method, place, headers=headers, content=content)
        if answer.status_code in (401, 403):
            self._tokens.forget(server)
        return answer
