"""KubeSpawner's watch of pods and events, which here outlasts an API server that is away for however long.

KubeSpawner gives up after a minute, for ever: its hub goes on, and no start of a server is seen to end any more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from kubespawner.reflector import ResourceReflector
from kubespawner.spawner import EventReflector, PodReflector

from modelyard_hub.backoff import Backoff
from modelyard_hub.spawner.starts.away import again, words

BACKOFF = Backoff(first=1.0, cap=10.0)


class Lasting(ResourceReflector):  # type: ignore[misc]  # KubeSpawner is untyped
    """A watch begins with a list, also after it broke: the list is asked for until there is an answer."""

    async def _list_and_update(self, resource_version: str | None = None) -> Any:
        failures = 0
        while True:
            try:
                version = await super()._list_and_update(resource_version)
            except Exception as error:
                if not again(error) and not self.first_load_future.done():
                    raise  # who starts the watch is told
                failures += 1
                if failures == 1:
                    self.log.warning("The cluster does not tell its %s, it is asked again: %s", self.kind, words(error))
                await asyncio.sleep(BACKOFF.delay(failures))
                resource_version = "0"
            else:
                if failures:
                    self.log.info("The cluster tells its %s again, asked %d times", self.kind, failures + 1)
                return version


class LastingPods(Lasting, PodReflector):  # type: ignore[misc]
    """The pods of notebook servers."""


class LastingEvents(Lasting, EventReflector):  # type: ignore[misc]
    """Their events, where KubeSpawner is configured to watch them."""


LASTING = {PodReflector: LastingPods, EventReflector: LastingEvents}
