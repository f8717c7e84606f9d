"""The routes of gRPC calls. Their path is the protocol's, so that a header says which endpoint is meant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from modelyard_api.names import ENDPOINT_HEADER, GRPC_SERVICE, REVISION_HEADER, grpc_port
from modelyard_hub.routing.section import Json, Section

_PRIORITY, _REVISION_PRIORITY = 300_000, 400_000
_SUFFIX = ".grpc"


def grpc_section(
    owner: str, name: str, services: Json, middlewares: Sequence[str], entrypoints: Sequence[str]
) -> Section:
    """Routers and services beside those of an endpoint; `services`: the endpoint's own, which these follow."""
    rule = f"PathPrefix(`/{GRPC_SERVICE}/`) && Header(`{ENDPOINT_HEADER}`, `{owner}/{name}`)"
    routers: Json = {}
    for service in services:
        _, dot, number = service.partition(f"serve.{owner}.{name}.r")
        routers[service + _SUFFIX] = {
            "entryPoints": [*entrypoints],
            "middlewares": [*middlewares],
            "rule": f"{rule} && Header(`{REVISION_HEADER}`, `{number}`)" if dot else rule,
            "service": service + _SUFFIX,
            "priority": _REVISION_PRIORITY if dot else _PRIORITY,
        }
    return Section(routers, {service + _SUFFIX: _beside(said) for service, said in services.items()}, {})


def _beside(service: Json) -> Json:
    """The service of the same servers on their port of gRPC."""
    if "weighted" in service:
        parts = [{**part, "name": part["name"] + _SUFFIX} for part in service["weighted"]["services"]]
        return {"weighted": {**service["weighted"], "services": parts}}
    balancer = service["loadBalancer"]
    servers = [{"url": _h2c(server["url"])} for server in balancer["servers"]]
    check = {**balancer["healthCheck"], "mode": "grpc", "path": "/"}
    return {"loadBalancer": {**balancer, "servers": servers, "healthCheck": check}}


def _h2c(url: str) -> str:
    found = urlsplit(url)
    assert found.port is not None
    return f"h2c://{found.netloc.rpartition(':')[0]}:{grpc_port(found.port)}"
