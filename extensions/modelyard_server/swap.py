"""Another version in a running server: load, warm up, switch, drain, unload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from modelyard_server.loading import Loaded

_log = logging.getLogger(__name__)


class Swapper:
    """Swaps when it is asked to, one after the other. What `load` raises leaves everything as it is."""

    def __init__(
        self, load: Callable[[], Awaitable[Loaded]], switch: Callable[[Loaded], Callable[[], Awaitable[None]]]
    ) -> None:
        self._load = load
        self._switch = switch
        self._asked = asyncio.Event()
        self._task = asyncio.create_task(self._work(), name="swap")

    def ask(self) -> None:
        """Serve what the package's path is now; where a swap is under way, another one follows."""
        self._asked.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                loaded = await self._load()
            except Exception:
                _log.exception("the package cannot be served; the one before still is")
                continue
            retire = self._switch(loaded)
            _log.info("version %s is served now (%s)", loaded.version, loaded.model.manifest.flavor)
            await retire()
            _log.info("the version before is unloaded")
