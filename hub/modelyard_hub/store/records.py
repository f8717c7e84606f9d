"""What the store hands out: frozen records, free of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import Field

from modelyard_api.endpoints import Endpoint, Event
from modelyard_api.runs import Run
from modelyard_hub.runtimes.base import Package


@dataclass(frozen=True)
class Actor:
    """Who changes something (a JupyterHub user name, or `system`) and from where (an IP address, or a part's name)."""

    who: str
    source: str = ""


SYSTEM = Actor("system", "reconcile")


@dataclass(frozen=True)
class StoredEndpoint:
    """An endpoint with what the API does not show.

    `id` is never used again, so a re-created endpoint differs. `packages` maps a revision's number to its files.
    `stable_history` holds the revisions that had all traffic, oldest first, the present one last while it has it.
    """

    endpoint: Endpoint
    id: int
    packages: Mapping[int, Package] = field(default_factory=dict)
    stable_history: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """(owner, name)."""
        return self.endpoint.owner, self.endpoint.name


@dataclass(frozen=True)
class StoredRun:
    """A run with what the API does not show. `number` grows with each one. `not_before`: when its next attempt may
    start. `token_id`: of the token that it was given, until that is revoked."""

    run: Run
    number: int
    not_before: datetime | None = None
    token_id: str | None = None


class StoredEvent(Event):
    """An event with the owner names (the owner and the groups it is shared with) that may learn of it."""

    audience: frozenset[str] = Field(default=frozenset(), exclude=True)
