"""A part of Traefik's document. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """One part of the document: routers, services and middlewares by name."""

    routers: Json
    services: Json
    middlewares: Json
