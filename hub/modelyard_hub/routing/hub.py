"""JupyterHub's routes: what its process tells the hub service, and their part of Traefik's document. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field

from modelyard_hub.routing.section import Section

PREFIX = "hub."
_RESERVED = re.compile("%(21|23|24|25|26|27|28|29|2A|2B|2C|2F|3A|3B|3D|3F|40|5B|5D)", re.IGNORECASE)
_OTHER = re.compile(r"[^A-Za-z0-9]+")


def _check_url(value: str) -> str:
    AnyHttpUrl(value)
    return value


class HubRoute(BaseModel):
    """Calls below `routespec` (`[host]/path/`, percent-encoded, as JupyterHub writes it) go to the server `target`.

    `data` is JupyterHub's own: whose route it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    routespec: Annotated[str, Field(pattern=r"^[^/]*/(.*/)?$", max_length=2048)]
    target: Annotated[str, AfterValidator(_check_url), Field(max_length=2048)]
    data: dict[str, Any] = Field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of its router and service in Traefik: readable, and unique by its hash."""
        digest = hashlib.sha256(self.routespec.encode()).hexdigest()[:10]
        return f"{PREFIX}{_OTHER.sub('-', unquote(self.routespec)).strip('-')[:60]}.{digest}"


class HubRoutes(BaseModel):
    """All of JupyterHub's routes; `applied` when the service answers: whether every router has exactly these."""

    model_config = ConfigDict(extra="forbid")

    routes: list[HubRoute] = Field(default_factory=list)
    applied: bool = False


def hub_section(routes: Iterable[HubRoute], entrypoints: Sequence[str] = ("web",)) -> Section:
    """Routers and services of all routes; the longest path wins."""
    routers, services = {}, {}
    for route in routes:
        rule, priority = _rule(route.routespec)
        routers[route.id] = {"entryPoints": [*entrypoints], "rule": rule, "service": route.id, "priority": priority}
        services[route.id] = {"loadBalancer": {"servers": [{"url": route.target}], "passHostHeader": True}}
    return Section(routers, services, {})


def _rule(routespec: str) -> tuple[str, int]:
    """Traefik compares paths in which only the reserved characters are still encoded. A path may hold whatever a user's
    name may, such as a quote of Traefik's."""
    host, _, path = routespec.partition("/")
    path = unquote(_RESERVED.sub(lambda found: f"%25{found[1].upper()}", f"/{path}"))
    rule = f"PathPrefix({_quoted(path)})"
    if path != "/":
        rule = f"({rule} || Path({_quoted(path.rstrip('/'))}))"
    return (f"Host({_quoted(host)}) && {rule}" if host else rule), len(host) + len(path)


def _quoted(text: str) -> str:
    """A string literal of Go's, in which nothing ends the string early."""
    return json.dumps(text, ensure_ascii=False)
