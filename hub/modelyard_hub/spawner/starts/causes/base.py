"""What was seen of a start, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
"""An object as the API server tells it in JSON."""
ADMINISTRATOR = "An administrator has to look at it."
TRIED_AGAIN = "It is tried again. If it stays, an administrator has to look."


@dataclass(frozen=True)
class Diagnosis:
    """Why somebody waits, for that person.

    `phase`: one of `phases.PHASES`. `reason`: a word for metrics, of a small set. `evidence`: what the cluster said.
    `wrong`: it does not go on by itself as a start does. `capacity`: there is no room, and nothing is broken.
    `final`: waiting longer cannot help.
    """

    phase: str
    reason: str
    cause: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    wrong: bool = True
    capacity: bool = False
    final: bool = False

    @property
    def text(self) -> str:
        """Cause and remedy in a line."""
        return f"{self.cause} {self.remedy}".strip()


@dataclass(frozen=True)
class Observed:
    """What is known of one start. None: not looked at, or the hub may not see it.

    `events`: those of the pod and its claims. `used`: what the pods of each node have requested, by node and resource.
    `log`: the end of the server's log. `usual`: seconds that a phase usually takes.
    """

    now: datetime
    pod: Object | None = None
    events: tuple[Object, ...] = ()
    claims: tuple[Object, ...] | None = None
    nodes: tuple[Object, ...] | None = None
    used: Mapping[str, Mapping[str, float]] | None = None
    attachments: tuple[Object, ...] | None = None
    log: tuple[str, ...] = ()
    usual: Mapping[str, float] = field(default_factory=dict)

    @property
    def spec(self) -> Object:
        """The pod's."""
        return (self.pod or {}).get("spec") or {}

    @property
    def status(self) -> Object:
        """The pod's."""
        return (self.pod or {}).get("status") or {}

    @property
    def node(self) -> str:
        """Where the pod was placed; empty while it is not."""
        return str(self.spec.get("nodeName") or "")

    def condition(self, kind: str) -> Object:
        """A condition of the pod; empty where it has none of that type."""
        return next((c for c in self.status.get("conditions") or () if c.get("type") == kind), {})

    def last(self, *reasons: str, kind: str = "Pod") -> Object | None:
        """The latest event with one of these reasons about the pod, or about its claims."""
        found = [e for e in self.events if e.get("reason") in reasons and e["involvedObject"].get("kind") == kind]
        return max(found, key=when, default=None)

    def since(self, stamp: datetime | None) -> float:
        """Seconds from then to now; 0 where it is not known."""
        return max(0.0, (self.now - stamp).total_seconds()) if stamp else 0.0


def said(*events: Object | None) -> tuple[str, ...]:
    """Events as evidence: what the cluster said, without repeats."""
    lines = (f"{event.get('reason')}: {str(event.get('message') or '').strip()}" for event in events if event)
    return tuple(dict.fromkeys(lines))


def parse(stamp: object) -> datetime | None:
    """A time as the API server writes it."""
    return datetime.fromisoformat(str(stamp)) if stamp else None


def when(event: Object) -> datetime:
    """When an event was seen last."""
    series = event.get("series") or {}
    stamps: Iterable[object] = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        (event.get("metadata") or {}).get("creationTimestamp"),
    )
    return next((found for stamp in stamps if (found := parse(stamp))), parse("1970-01-01T00:00:00Z"))  # type: ignore[return-value]
