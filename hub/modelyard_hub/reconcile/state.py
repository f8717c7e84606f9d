"""What planning is given: what is wanted, what the router has, what failed before. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard_api.endpoints import EndpointSpec, EndpointStatus
from modelyard_hub.routing.document import EndpointRoute
from modelyard_hub.runtimes.base import Package


@dataclass(frozen=True)
class DesiredEndpoint:
    """What is wanted. `access` is the text of access.json; `status` what was last written of it."""

    owner: str
    name: str
    generation: int
    spec: EndpointSpec
    deleting: bool = False
    packages: Mapping[int, Package] = field(default_factory=dict)
    stable_history: tuple[int, ...] = ()
    access: str = "{}"
    url: str = ""
    status: EndpointStatus = field(default_factory=EndpointStatus)


@dataclass(frozen=True)
class RoutedState:
    """The route that is published for the endpoint, and whether the router reports exactly that."""

    route: EndpointRoute | None = None
    confirmed: bool = False


@dataclass(frozen=True)
class Failure:
    """Why something that was planned could not be done."""

    reason: str
    message: str
