from __future__ import annotations

import json

from modelyard_hub.routing.document import (
    EndpointRoute,
    RouterOptions,
    build,
    compose,
    endpoint_section,
    members,
    render,
)
from modelyard_hub.routing.section import Section

CHECK = {"path": "/v2/health/ready", "interval": "2s", "unhealthyInterval": "500ms", "timeout": "2s"}
RULE = "Path(`/serve/ada/churn`) || PathPrefix(`/serve/ada/churn/`)"
COMMON = {
    "entryPoints": ["web"],
    "middlewares": [
        "serve.ada.churn.strip",
        "modelyard-no-cookies",
        "modelyard-apart",
        "modelyard-again",
        "modelyard-connect",
    ],
}


def balancer(*urls: str) -> dict[str, object]:
    servers = [{"url": url} for url in urls]
    return {"loadBalancer": {"servers": servers, "healthCheck": CHECK, "passHostHeader": True}}


def test_the_whole_document() -> None:
    route = EndpointRoute("ada", "churn", {1: 90, 2: 10}, {2: ("http://h:2",), 1: ("http://h:11", "http://h:1")})
    options = RouterOptions(service="http://hub/services/modelyard", mlflow="http://127.0.0.1:5000/mlflow")
    assert build([route], options) == {
        "http": {
            "routers": {
                "serve.ada.churn": {**COMMON, "rule": RULE, "service": "serve.ada.churn", "priority": 100_000},
                "serve.ada.churn.r1": {
                    **COMMON,
                    "rule": f"({RULE}) && Header(`X-Modelyard-Revision`, `1`)",
                    "service": "serve.ada.churn.r1",
                    "priority": 200_000,
                },
                "serve.ada.churn.r2": {
                    **COMMON,
                    "rule": f"({RULE}) && Header(`X-Modelyard-Revision`, `2`)",
                    "service": "serve.ada.churn.r2",
                    "priority": 200_000,
                },
                "modelyard-mlflow": {
                    "entryPoints": ["web"],
                    "rule": "Path(`/mlflow`) || PathPrefix(`/mlflow/`)",
                    "service": "modelyard-mlflow",
                    "priority": 100_000,
                    "middlewares": ["modelyard-mlflow-auth"],
                },
                "modelyard-no-endpoint": {
                    "entryPoints": ["web"],
                    "rule": "Path(`/serve`) || PathPrefix(`/serve/`)",
                    "service": "modelyard-no-endpoint",
                    "priority": 50_000,
                    "middlewares": ["modelyard-no-cookies", "modelyard-no-endpoint"],
                },
            },
            "services": {
                "serve.ada.churn": {
                    "weighted": {
                        "services": [
                            {"name": "serve.ada.churn.r1", "weight": 90},
                            {"name": "serve.ada.churn.r2", "weight": 10},
                        ],
                        "healthCheck": {},
                    }
                },
                "serve.ada.churn.r1": balancer("http://h:1", "http://h:11"),
                "serve.ada.churn.r2": balancer("http://h:2"),
                "modelyard-mlflow": {
                    "loadBalancer": {"servers": [{"url": "http://127.0.0.1:5000"}], "passHostHeader": True}
                },
                "modelyard-no-endpoint": {"loadBalancer": {"servers": [{"url": "http://hub"}], "passHostHeader": True}},
            },
            "middlewares": {
                "serve.ada.churn.strip": {"stripPrefix": {"prefixes": ["/serve/ada/churn"]}},
                "modelyard-connect": {"retry": {"attempts": 10, "initialInterval": "20ms"}},
                "modelyard-again": {
                    "retry": {
                        "attempts": 2,
                        "initialInterval": "100ms",
                        "status": ["502"],
                        "disableRetryOnNetworkError": True,
                        "retryNonIdempotentMethod": True,
                        "maxRequestBodyBytes": 1048576,
                    }
                },
                "modelyard-no-cookies": {"headers": {"customRequestHeaders": {"Cookie": ""}}},
                "modelyard-apart": {
                    "headers": {
                        "customResponseHeaders": {
                            "Content-Security-Policy": "sandbox allow-scripts allow-forms allow-downloads; "
                            "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-src 'none'; "
                            "frame-ancestors 'none'",
                            "X-Content-Type-Options": "nosniff",
                            "Referrer-Policy": "no-referrer",
                            "Cross-Origin-Opener-Policy": "",
                            "Set-Cookie": "",
                            "Clear-Site-Data": "",
                            "Service-Worker-Allowed": "",
                            "Strict-Transport-Security": "",
                            "NEL": "",
                            "Report-To": "",
                            "Alt-Svc": "",
                        },
                        "accessControlAllowOriginList": ["null"],
                        "accessControlAllowMethods": ["GET", "POST"],
                        "accessControlAllowHeaders": ["Authorization", "Content-Type", "X-Modelyard-Revision"],
                        "accessControlExposeHeaders": ["X-Modelyard-Revision", "X-Request-Id"],
                        "accessControlMaxAge": 600,
                        "addVaryHeader": True,
                    }
                },
                "modelyard-no-endpoint": {"addPrefix": {"prefix": "/services/modelyard/internal"}},
                "modelyard-mlflow-auth": {
                    "forwardAuth": {
                        "address": "http://hub/services/modelyard/authorize",
                        "authResponseHeaders": ["X-Modelyard-Token", "X-Modelyard-User"],
                        "trustForwardHeader": True,
                        "maxResponseBodySize": 65_536,
                    }
                },
            },
        }
    }


def test_equal_routes_give_equal_text_in_any_order() -> None:
    one = EndpointRoute("ada", "one", {1: 50, 2: 50}, {1: ("http://a", "http://b"), 2: ("http://c",)})
    same = EndpointRoute("ada", "one", {2: 50, 1: 50}, {2: ("http://c",), 1: ("http://b", "http://a")})
    two = EndpointRoute("ada", "two")
    assert render(build([one, two], RouterOptions())) == render(build([two, same], RouterOptions()))


def test_an_mlflow_without_the_prefix_gets_it_stripped() -> None:
    document = build([], RouterOptions(service="http://hub/services/modelyard", mlflow="http://127.0.0.1:5000"))
    assert document["http"]["middlewares"]["modelyard-mlflow-strip"] == {"stripPrefix": {"prefixes": ["/mlflow"]}}


def test_nothing_to_route_is_still_a_document_that_traefik_takes() -> None:
    assert set(build([], RouterOptions())["http"]) == {"middlewares"}


def test_a_route_survives_being_kept() -> None:
    route = EndpointRoute("ada", "churn", {1: 90, 12: 10}, {1: ("http://a",), 12: ()})
    assert EndpointRoute.from_json(json.loads(json.dumps(route.to_json()))) == route


def test_the_parts_make_the_whole() -> None:
    routes = [EndpointRoute("ada", name, {1: 100}, {1: ("http://a",)}) for name in ("one", "two")]
    whole = build(routes, RouterOptions())
    shared = Section({}, {}, build([], RouterOptions())["http"]["middlewares"])
    parts = [members(section) for section in (*map(endpoint_section, routes), shared)]
    assert json.loads(compose(parts)) == whole
    assert set(json.loads(compose(parts[2:]))["http"]) == {"middlewares"}, "Traefik refuses empty kinds"
