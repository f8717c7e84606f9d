"""One thread that lets all panels of a kernel say what is new, at a pace that a browser and Jupyter's server bear."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

PER_PANEL = 0.2
"""Seconds between two messages of a panel at least."""
PER_KERNEL = 0.02
"""Seconds between two messages of all panels together, on average: many panels are each told less often."""
_log = logging.getLogger(__name__)


class Ticking(Protocol):
    """What the ticker calls: `tick` says what is new, and whether it wants to be called again."""

    def tick(self) -> bool: ...


class Ticker:
    """Calls each panel's `tick`. A panel that nobody holds any more, or that wants no more ticks, is forgotten."""

    def __init__(self) -> None:
        self._panels: weakref.WeakSet[Ticking] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, panel: Ticking) -> None:
        """From now on, `panel` is called."""
        with self._lock:
            self._panels.add(panel)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="modelyard-panels", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                panels = list(self._panels)
            for panel in panels:
                self._tick(panel)
            pause = max(PER_PANEL, PER_KERNEL * len(panels))
            del panels  # else the last ones would be held while nothing happens
            self._wake.clear()
            with self._lock:
                idle = not self._panels
            self._wake.wait(None if idle else pause)

    def _tick(self, panel: Ticking) -> None:
        try:
            again = panel.tick()
        except Exception:  # one panel's failure is not to stop the others; it stays as it was
            _log.exception("a panel of class %s could not be updated", type(panel).__name__)
            again = True
        if not again:
            with self._lock:
                self._panels.discard(panel)


ticker = Ticker()
"""That of this process."""
