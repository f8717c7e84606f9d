"""Another version in a running server: load, warm up, switch, drain, unload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from modelyard_api.errors import ModelyardError
from modelyard_server.loading import Loaded

_log = logging.getLogger(__name__)


class Swapper:
    """Swaps when it is asked to, one after the other. What `load` raises leaves everything as it is."""

    def __init__(
        self, load: Callable[[], Awaitable[Loaded]], switch: Callable[[Loaded], Callable[[], Awaitable[None]]]
    ) -> None:
        self._load = load
        self._switch = switch
        self.refused = ""
        """Why what was asked for last is not served; empty where it is."""
        self._asked = asyncio.Event()
        self._retiring: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._work(), name="swap")

    def ask(self) -> None:
        """Serve what the package's path is now; where a swap is under way, another one follows."""
        self._asked.set()

    async def close(self) -> None:
        tasks = (self._task, *self._retiring)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                loaded = await self._load()
            except Exception as error:
                _log.exception("the package cannot be served; the one before still is")
                self.refused = str(error) if isinstance(error, ModelyardError) else _see_the_log(error)
                continue
            self.refused = ""
            retiring = asyncio.create_task(self._retire(self._switch(loaded)), name="retire")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
            _log.info("version %s is served now (%s)", loaded.version, loaded.model.manifest.flavor)
            # Nothing here may hold a version while the next one is waited for: its memory is what the next one needs.
            del loaded, retiring

    async def _retire(self, retire: Callable[[], Awaitable[None]]) -> None:
        """Beside the next swap: a call that takes long, or for ever, holds up none."""
        await retire()
        _log.info("the version before is unloaded")


def _see_the_log(error: Exception) -> str:
    return f"{type(error).__name__}. See the log."
