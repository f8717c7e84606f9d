"""A package made ready to answer: loaded and warm, here or in processes of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from modelyard_api.errors import InvalidInput
from modelyard_server.dataplane import IN_PROCESS, DataPlane, load
from modelyard_server.manifest import read_manifest
from modelyard_server.pace import SLOW, Pace, warm
from modelyard_server.settings import ServerSettings
from modelyard_server.workers.pool import Pool
from modelyard_server.workers.worker import Launch


@dataclass(frozen=True)
class Loaded:
    """What is served: a model here, or a pool that has been started or is to be."""

    model: DataPlane | Pool
    pace: Pace
    version: str


def prepare(settings: ServerSettings) -> Loaded:
    """Load what `settings.package` is now; a pool is not started yet. Raises InvalidInput, and what the flavor raises.

    Where it is a link it is followed once: a process that starts again loads the same package."""
    folder = settings.package.resolve()
    manifest = read_manifest(folder)
    version = settings.version or folder.name
    if manifest.flavor in IN_PROCESS:
        plane = load(folder, settings.threads, settings.device)
        return Loaded(plane, warm(plane), version)
    return Loaded(Pool(manifest, Launch(folder, settings.threads, settings.device), settings.workers), SLOW, version)


async def ready(settings: ServerSettings) -> Loaded:
    """As `prepare`, beside the loop, and with a pool's first process up. Raises InvalidInput where none gets up."""
    loaded = await asyncio.to_thread(prepare, settings)
    pool = loaded.model
    if isinstance(pool, Pool):
        pool.start()
        try:
            await pool.settled()
        except BaseException:
            await pool.close()
            raise
        if pool.broken.is_set():
            await pool.close()
            raise InvalidInput("the package cannot be loaded", remedy="See the log above.")
    return loaded
