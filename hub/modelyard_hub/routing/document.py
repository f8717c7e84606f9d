"""The document for Traefik's HTTP provider, built from routes. Pure; equal routes give equal text.

Per endpoint, `serve.<owner>.<endpoint>` (labels hold no dot, so names are unique) is the router and the weighted
service of all calls, `….r<n>` those of one revision, chosen by the header X-Modelyard-Revision. What JupyterHub routes
is named `hub.…` (routing/hub.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from modelyard_api.names import REVISION_HEADER, serve_path
from modelyard_hub.routing.grpc import grpc_section
from modelyard_hub.routing.hub import HubRoute, hub_section
from modelyard_hub.routing.section import Json, Section

ENDPOINT_PRIORITY = 100_000
REVISION_PRIORITY = 200_000
NO_ENDPOINT_PRIORITY = 50_000
NO_ENDPOINT = "modelyard-no-endpoint"
MLFLOW = "modelyard-mlflow"
CONNECT = "modelyard-connect"
AGAIN = "modelyard-again"
NO_COOKIES = "modelyard-no-cookies"
APART = "modelyard-apart"
AGAIN_MAX_BODY = 1024 * 1024
"""Bytes of a body that is kept until the answer comes; calls with a larger one are sent once."""
AUTHORIZE_MAX_BODY = 64 * 1024
"""Bytes of the hub service's answer, which is a word or a problem document."""
TOKEN_HEADERS = ("X-Modelyard-Token", "X-Modelyard-User")
"""What ForwardAuth puts on a request to MLflow. Traefik removes them from what clients send, also where the
authorizing answer has none."""


@dataclass(frozen=True)
class EndpointRoute:
    """Where the calls of an endpoint go: percent and server URLs (`http://host:port`) by revision."""

    owner: str
    name: str
    weights: Mapping[int, int] = field(default_factory=dict)
    servers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """(owner, name)."""
        return self.owner, self.name

    @property
    def id(self) -> str:
        """Name of its router and service in Traefik."""
        return f"serve.{self.owner}.{self.name}"

    def to_json(self) -> Json:
        """For keeping; see `from_json`."""
        return {
            "owner": self.owner,
            "name": self.name,
            "weights": {str(n): self.weights[n] for n in sorted(self.weights)},
            "servers": {str(n): list(self.servers[n]) for n in sorted(self.servers)},
        }

    @classmethod
    def from_json(cls, data: Json) -> EndpointRoute:
        """What `to_json` kept."""
        weights = {int(n): int(w) for n, w in data["weights"].items()}
        servers = {int(n): tuple(urls) for n, urls in data["servers"].items()}
        return cls(data["owner"], data["name"], weights, servers)


@dataclass(frozen=True)
class RouterOptions:
    """URLs as Traefik reaches them: `service` of the hub service, `mlflow` with the path it serves at; or empty.
    `grpc`: whether endpoints are called so too."""

    service: str = ""
    mlflow: str = ""
    entrypoints: tuple[str, ...] = ("web",)
    grpc: bool = False


def endpoint_section(route: EndpointRoute, entrypoints: Sequence[str] = ("web",), *, grpc: bool = False) -> Section:
    """Everything of one endpoint."""
    path, name = serve_path(route.owner, route.name), route.id
    rule = f"Path(`{path}`) || PathPrefix(`{path}/`)"
    common = {"entryPoints": [*entrypoints], "middlewares": [f"{name}.strip", NO_COOKIES, APART, AGAIN, CONNECT]}
    routers: Json = {name: {**common, "rule": rule, "service": name, "priority": ENDPOINT_PRIORITY}}
    services: Json = {name: _weighted(route)}
    for number in sorted(set(route.servers) | set(route.weights)):
        services[f"{name}.r{number}"] = _load_balancer(route.servers.get(number, ()))
        routers[f"{name}.r{number}"] = {
            **common,
            "rule": f"({rule}) && Header(`{REVISION_HEADER}`, `{number}`)",
            "service": f"{name}.r{number}",
            "priority": REVISION_PRIORITY,
        }
    if grpc:
        further = grpc_section(route.owner, route.name, services, [NO_COOKIES, CONNECT], entrypoints)
        routers, services = routers | further.routers, services | further.services
    return Section(routers, services, {f"{name}.strip": {"stripPrefix": {"prefixes": [path]}}})


def _weighted(route: EndpointRoute) -> Json:
    shares = [{"name": f"{route.id}.r{n}", "weight": w} for n, w in sorted(route.weights.items()) if w > 0]
    if not shares:
        # Traefik answers 503 for a service without servers; an empty weighted one would be an error of the document.
        return _load_balancer(())
    # With the health check, a revision whose servers are all down loses its share at once, without the hub service.
    return {"weighted": {"services": shares, "healthCheck": {}}}


def _load_balancer(urls: Iterable[str]) -> Json:
    check = {"path": "/v2/health/ready", "interval": "2s", "unhealthyInterval": "500ms", "timeout": "2s"}
    return {
        "loadBalancer": {
            "servers": [{"url": url} for url in sorted(urls)],
            "healthCheck": check,
            "passHostHeader": True,
        }
    }


def mlflow_section(options: RouterOptions) -> Section:
    """MLflow at /mlflow/, behind the hub service's sign-in."""
    if not options.mlflow:
        return Section({}, {}, {})
    url = urlsplit(options.mlflow)
    middlewares: Json = {
        f"{MLFLOW}-auth": {
            "forwardAuth": {
                "address": f"{options.service}/authorize",
                "authResponseHeaders": list(TOKEN_HEADERS),
                # What clients claim to be forwarded the entrypoint has taken away, unless a trusted proxy says it.
                "trustForwardHeader": True,
                "maxResponseBodySize": AUTHORIZE_MAX_BODY,
            }
        }
    }
    if url.path.rstrip("/") != "/mlflow":
        middlewares[f"{MLFLOW}-strip"] = {"stripPrefix": {"prefixes": ["/mlflow"]}}
    router = {
        "entryPoints": [*options.entrypoints],
        "rule": "Path(`/mlflow`) || PathPrefix(`/mlflow/`)",
        "service": MLFLOW,
        "priority": ENDPOINT_PRIORITY,
        "middlewares": sorted(middlewares),
    }
    service = {"loadBalancer": {"servers": [{"url": f"{url.scheme}://{url.netloc}"}], "passHostHeader": True}}
    return Section({MLFLOW: router}, {MLFLOW: service}, middlewares)


def no_endpoint_section(options: RouterOptions) -> Section:
    """Calls below `/serve/` that no endpoint takes: the hub service says so. JupyterHub would ask them to sign in."""
    if not options.service:
        return Section({}, {}, {})
    url = urlsplit(options.service)
    router = {
        "entryPoints": [*options.entrypoints],
        "rule": "Path(`/serve`) || PathPrefix(`/serve/`)",
        "service": NO_ENDPOINT,
        "priority": NO_ENDPOINT_PRIORITY,
        "middlewares": [NO_COOKIES, NO_ENDPOINT],
    }
    service = {"loadBalancer": {"servers": [{"url": f"{url.scheme}://{url.netloc}"}], "passHostHeader": True}}
    return Section({NO_ENDPOINT: router}, {NO_ENDPOINT: service},
                   {NO_ENDPOINT: {"addPrefix": {"prefix": f"{url.path}/internal"}}})  # fmt: skip


def build(routes: Iterable[EndpointRoute], options: RouterOptions, hub: Iterable[HubRoute] = ()) -> Json:
    """The whole document: endpoints, JupyterHub's routes, MLflow, and the answer where there is no endpoint.

    Kinds without members are left out: Traefik refuses empty ones.
    """
    sections = [endpoint_section(route, options.entrypoints, grpc=options.grpc) for route in routes]
    # Also there when nothing else is: Traefik takes an empty document for a mistake and keeps the last one.
    shared: Json = {
        # A server that takes no connection has seen nothing of the call, so the next one is asked, often enough that
        # concurrent calls, which move the turn on, don't find the dead one each time.
        CONNECT: {"retry": {"attempts": 10, "initialInterval": "20ms"}},
        # A model's answer changes nothing, so a call whose server died is sent once more. Only once, and only a small
        # one: it may be what killed the server, most likely for want of memory. After a moment: until Traefik has seen
        # the server's idle connections close, it would send the call over another of them.
        AGAIN: {
            "retry": {
                "attempts": 2,
                "initialInterval": "100ms",
                "status": ["502"],
                "disableRetryOnNetworkError": True,
                "retryNonIdempotentMethod": True,
                "maxRequestBodyBytes": AGAIN_MAX_BODY,
            }
        },
        # Model servers run their owners' code: the browser's cookies for the hub are none of their business.
        NO_COOKIES: {"headers": {"customRequestHeaders": {"Cookie": ""}}},
        APART: {"headers": _apart()},
    }
    sections += [hub_section(hub, options.entrypoints), mlflow_section(options), no_endpoint_section(options)]
    sections.append(Section({}, {}, shared))
    kinds = {
        "routers": {k: v for s in sections for k, v in s.routers.items()},
        "services": {k: v for s in sections for k, v in s.services.items()},
        "middlewares": {k: v for s in sections for k, v in s.middlewares.items()},
    }
    return {"http": {kind: members for kind, members in kinds.items() if members}}


_STATE = (
    *("Set-Cookie", "Clear-Site-Data", "Service-Worker-Allowed"),
    *("Strict-Transport-Security", "NEL", "Report-To", "Alt-Svc"),
)
"""Headers that change a browser's state for the hub's pages, too."""


def _apart() -> Json:
    """Headers of all that model servers answer: their owners' code may answer a page, at the address of the hub itself.

    In a browser such a page has an origin of its own (`sandbox` without allow-same-origin): it reads nothing of the
    hub's, and nothing that it asks has the person's cookies. The page to try an endpoint is one, too, so that endpoints
    can be asked from there (origin `null`): with a key as anybody may, and never with cookies."""
    return {
        "customResponseHeaders": {
            "Content-Security-Policy": "sandbox allow-scripts allow-forms allow-downloads; connect-src 'self'; "
            "form-action 'none'; base-uri 'none'; frame-src 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            # Browsers show no page that has both this and a sandbox, which keeps it from its opener as well.
            "Cross-Origin-Opener-Policy": "",
            **dict.fromkeys(_STATE, ""),
        },
        "accessControlAllowOriginList": ["null"],
        "accessControlAllowMethods": ["GET", "POST"],
        "accessControlAllowHeaders": ["Authorization", "Content-Type", REVISION_HEADER],
        "accessControlExposeHeaders": [REVISION_HEADER, "X-Request-Id"],
        "accessControlMaxAge": 600,
        "addVaryHeader": True,
    }


@dataclass(frozen=True)
class Members:
    """A part of the document as text: the members of its routers, services and middlewares, without their braces."""

    routers: str
    services: str
    middlewares: str


def members(section: Section) -> Members:
    """The text of a part; made once, for the whole is made anew whenever one of a thousand parts changes."""
    return Members(*(render(kind)[1:-1] for kind in (section.routers, section.services, section.middlewares)))


def compose(parts: Iterable[Members]) -> str:
    """The whole document's text out of those of its parts."""
    all_ = list(parts)
    kinds = {
        "middlewares": [p.middlewares for p in all_ if p.middlewares],
        "routers": [p.routers for p in all_ if p.routers],
        "services": [p.services for p in all_ if p.services],
    }
    text = ",".join(f'"{kind}":{{{",".join(found)}}}' for kind, found in kinds.items() if found)
    return f'{{"http":{{{text}}}}}'


def render(document: Json) -> str:
    """As JSON text, sorted."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
