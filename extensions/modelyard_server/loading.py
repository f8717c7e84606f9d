"""A package made ready to answer: loaded and warm, here or in processes of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from modelyard_server.dataplane import IN_PROCESS, DataPlane, load
from modelyard_server.manifest import read_manifest
from modelyard_server.pace import SLOW, Pace, warm
from modelyard_server.settings import ServerSettings
from modelyard_server.workers.pool import Pool, too_late
from modelyard_server.workers.worker import Launch

T = TypeVar("T")


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
    launch = Launch(folder, settings.threads, settings.device, settings.load_timeout)
    return Loaded(Pool(manifest, launch, settings.workers), SLOW, version)


def prepared(settings: ServerSettings) -> Loaded:
    """As `prepare`, and TimedOut beyond `settings.load_timeout`. A signal's handler runs meanwhile."""
    coming = _begin(partial(prepare, settings))
    if not wait((coming,), settings.load_timeout).done:
        raise too_late(settings.load_timeout)
    return coming.result()


async def ready(settings: ServerSettings) -> Loaded:
    """As `prepared`, beside the loop, and with a pool's first process up. Raises InvalidInput where none gets up."""
    coming = asyncio.wrap_future(_begin(partial(prepare, settings)))
    done, _ = await asyncio.wait((coming,), timeout=settings.load_timeout)
    if not done:
        coming.cancel()  # what it comes to is nobody's any more
        raise too_late(settings.load_timeout)
    loaded = await coming
    pool = loaded.model
    if isinstance(pool, Pool):
        pool.start()
        try:
            await pool.settled()
        except BaseException:
            await pool.close()
            raise
        if pool.failure is not None:
            await pool.close()
            raise pool.failure
    return loaded


def _begin(work: Callable[[], T]) -> Future[T]:
    """In a thread of its own that the end of the process does not wait for: loading may take for ever."""
    coming: Future[T] = Future()

    def run() -> None:
        if coming.set_running_or_notify_cancel():
            try:
                coming.set_result(work())
            except BaseException as error:
                coming.set_exception(error)

    threading.Thread(target=run, name="load", daemon=True).start()
    return coming
