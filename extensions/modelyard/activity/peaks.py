"""Tells JupyterHub the most that this server has used, for the page where its user chooses the next one's size.

Told when it has grown, so that a server that crashes or is killed has told it too.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from urllib.parse import quote

import httpx

from modelyard_api.activity import Peaks, Use

QUIET = 30.0
"""Seconds after a start in which nothing is told: many servers may start at once."""
log = logging.getLogger(__name__)


class Teller:
    """Of one server, by JupyterHub's variables; where they are missing nobody is told."""

    def __init__(self, environ: Mapping[str, str] = os.environ, quiet: float = QUIET) -> None:
        self._told = Peaks()
        self._from = time.monotonic() + quiet
        url, user = environ.get("JUPYTERHUB_API_URL", ""), environ.get("JUPYTERHUB_USER", "")
        server = environ.get("JUPYTERHUB_SERVER_NAME", "")
        self._url = f"{url.rstrip('/')}/modelyard/peaks/{quote(user, safe='')}/{quote(server, safe='')}"
        self._headers = {"Authorization": f"token {environ.get('JUPYTERHUB_API_TOKEN', '')}"}
        self._nobody = not (url and user)

    async def tell(self, use: Use) -> None:
        """If it has grown. A hub that is away is told when it grows on."""
        peaks = Peaks(cpu=round(use.cpu_peak, 3), memory=use.memory_peak, shm=use.shm_peak)
        if self._nobody or time.monotonic() < self._from or not peaks.grown(self._told):
            return
        try:
            async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
                answer = await http.put(self._url, content=peaks.model_dump_json(), headers=self._headers)
                answer.raise_for_status()
            self._told = peaks
        except httpx.HTTPError as error:
            log.debug("what was used at most is not told: %r", error)
