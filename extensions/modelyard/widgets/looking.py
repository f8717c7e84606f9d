"""A panel that asks the hub service again and again, but only while somebody looks at it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from modelyard.errors import ModelyardError, Unauthenticated, Unavailable, in_words
from modelyard.widgets.base import Panel
from modelyard.widgets.endpoint_view import cut

T = TypeVar("T")
POLL = 2.0
"""Seconds between two looks, while somebody looks at the panel."""
LEASE = 100.0
"""Seconds after which a view that has said nothing more is taken for gone."""
BEAT = 10.0
"""Seconds after which a view hears that the kernel is there, also where nothing changes."""
_AWAY = 10.0
_PATIENCE = 8.0
"""Seconds without an answer, after which the hub service is said to be away."""


class LookedAt(Panel):
    """`refresh` is called every two seconds while the panel is in sight, and not otherwise."""

    def __init__(self, **traits: Any) -> None:
        self._viewers: dict[str, float] = {}
        self._watching = threading.Lock()
        self._wake = threading.Event()
        self._watch: threading.Thread | None = None
        super().__init__(**traits)

    def refresh(self) -> bool:
        """Look now; whether that was possible."""
        raise NotImplementedError

    def hear_look(self, viewer: str, looking: bool) -> None:
        """A view came into sight, still is, or left it."""
        with self._watching:
            self._viewers.pop(viewer, None)
            if looking:
                self._viewers[viewer] = time.monotonic() + LEASE
            if self._viewers and self._watch is None:
                self._watch = threading.Thread(
                    target=self._keep_up, name=f"modelyard-{type(self).__name__.lower()}", daemon=True
                )
                self._watch.start()
        self._wake.set()

    def _keep_up(self) -> None:
        pause, beat = POLL, 0.0
        while True:
            with self._watching:
                now = time.monotonic()
                self._viewers = {viewer: until for viewer, until in self._viewers.items() if until > now}
                if not self._viewers or self.comm is None:
                    self._watch = None
                    return
            began = time.monotonic()
            pause = POLL if self.refresh() else min(2 * pause, _AWAY)
            if began - beat >= BEAT:
                beat = began
                self.send({"beat": True})
            self._wait(began + pause)

    def _wait(self, until: float) -> None:
        """Until then, or until nobody looks any more."""
        while (left := until - time.monotonic()) > 0 and self._viewers:
            self._wake.clear()
            self._wake.wait(left)


async def soon(work: Awaitable[T]) -> T:
    """What `work` gives; Unavailable when that takes long, as where a hub service hangs."""
    try:
        return await asyncio.wait_for(work, _PATIENCE)
    except TimeoutError:
        raise Unavailable(f"the hub service has not answered for {_PATIENCE:g} s") from None


def away(error: ModelyardError) -> dict[str, str]:
    """What a panel says where the hub service gives no answer, or does not know the person any more."""
    found = in_words(error)
    if isinstance(error, Unauthenticated):
        found["title"] = "Your token is not accepted any more"
        stop = "In JupyterHub: File, Hub Control Panel, stop and start your server."
        found["remedy"] = f"{stop} Elsewhere: put a new token into MODELYARD_TOKEN."
    return found | {"detail": cut(error.detail, 400)}
