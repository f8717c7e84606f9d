"""How long to wait before trying again: doubling, capped, with jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits in seconds: `first`, then twice as long each time, never above `cap`; each shortened by up to `jitter`.

    The jitter only shortens, so that `cap` stays a promise; it keeps many that failed together from trying together.
    """

    first: float = 1.0
    cap: float = 60.0
    jitter: float = 0.25

    def delay(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        full: float = min(self.cap, self.first * 2.0 ** min(failures - 1, 32))
        return full * (1.0 - self.jitter * random.random())
