"""How full a notebook server's volumes are, told to the hub service now and then: nobody outside a pod can see it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from modelyard.client import AsyncClient
from modelyard.errors import ModelyardError
from modelyard.transport import Request
from modelyard_api.volumes import home_of

EVERY = 300.0
"""Seconds between reports, give or take a fifth, so that servers that were started together don't report together."""
log = logging.getLogger(__name__)


def mounted(home: Path, server: str, *, is_mount: Mapping[Path, bool] | None = None) -> dict[str, Path]:
    """Names of the volumes that this server has, and where. Empty where its home is a plain folder."""

    def is_volume(path: Path) -> bool:
        return path.is_mount() if is_mount is None else is_mount.get(path, False)

    if not is_volume(home):
        return {}
    further = {path.name: path for path in sorted((home / "volumes").glob("*")) if is_volume(path)}
    return {home_of(server): home, **further}


async def report(client: AsyncClient, volumes: Mapping[str, Path]) -> None:
    """Tell of each of them, once."""
    owner = (await client.me()).owner
    for name, path in volumes.items():
        used = (await asyncio.to_thread(shutil.disk_usage, path)).used
        await client.send(Request("PUT", f"/volumes/{owner}/{name}/usage", body={"used": used}))


async def report_forever() -> None:
    """As long as this server runs; a hub service that is away is told later."""
    server = os.environ.get("JUPYTERHUB_SERVER_NAME", "")
    if "JUPYTERHUB_USER" not in os.environ or not mounted(Path.home(), server):
        return
    async with AsyncClient() as client:
        while True:
            try:
                await report(client, mounted(Path.home(), server))
            except (ModelyardError, OSError) as error:
                log.debug("how full the volumes are was not told: %s", error)
            await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))
