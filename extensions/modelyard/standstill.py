"""When a publish stands still: saying what it waits for, and when waiting can help no more."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard import changes
from modelyard.errors import PublishFailed, Unavailable
from modelyard_api.endpoints import Endpoint, RevisionStatus
from modelyard_api.resources import MiB, Resources

Say = Callable[[str, str], None]
"""Called as `say(step, detail)`; steps are package, upload, register, endpoint, ready."""
_IMAGE = ("ErrImageNeverPull", "InvalidImageName", "ErrImagePull", "ImagePullBackOff")
_HOPELESS = {
    **dict.fromkeys(_IMAGE[:2], 0.0),
    **dict.fromkeys(_IMAGE[2:], 20.0),
    "QuotaExceeded": 10.0,
    "Refused": 10.0,
    "OutOfMemory": 25.0,
    "Exited": 25.0,
    "Signaled": 25.0,
    "StartError": 10.0,
    "CreateContainerConfigError": 10.0,
}
"""Seconds for which a cause may stand before no more is hoped for: waiting alone does not put it right."""
_TAIL = 20


class Steps:
    """Says steps, and what the present one waits for while a part of Modelyard is away."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._step = "package"
        self._waiting = ""

    def __call__(self, step: str, detail: str) -> None:
        self._step, self._waiting = step, ""
        self._say(step, detail)

    def waiting(self, error: Unavailable) -> None:
        """Once for each reason."""
        if error.detail != self._waiting:
            self._waiting = error.detail
            self._say(self._step, f"waiting: {error.detail}")


class Hope:
    """Whether waiting can still help. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def is_gone(self, cause: str) -> bool:
        """To be asked at each look: whether this cause, or others like it, stood for too long."""
        if cause not in _HOPELESS:
            self._since = None
            return False
        now = self._clock()
        self._since = now if self._since is None else self._since
        return now - self._since >= _HOPELESS[cause]


def failed(now: Endpoint, number: int, reason: str) -> PublishFailed:
    """The error of a revision that does not start; `reason` is its condition's."""
    observed = changes.observed(now, number)
    tail = "\n".join(observed.log_tail[-_TAIL:])
    return PublishFailed(
        f"revision {number} of {now.owner}/{now.name} does not start: {reason}\n{tail}".rstrip(),
        remedy=_remedy(now, observed),
        log_tail=list(observed.log_tail),
    )


def _remedy(now: Endpoint, observed: RevisionStatus) -> str:
    if observed.cause == "OutOfMemory":
        wanted = now.spec.revision(observed.number)
        more = 2 * (Resources() if wanted is None else wanted.resources).memory // MiB
        return f"Give it more: memory={more} (MiB)."
    if observed.cause in _IMAGE:
        return "Only an administrator can put that right; publish it again then."
    if observed.cause == "QuotaExceeded":
        return "Delete an endpoint or stop a server that nobody needs, ask for less, or ask for a larger quota."
    return "Its last log lines say why." if observed.log_tail else ""
