"""The variables of a model server: whose they are, and which come first."""

from __future__ import annotations

from dataclasses import replace

from modelyard_hub.runtimes.base import Package, Server
from modelyard_hub.runtimes.environment import Place, server_environment, watch
from modelyard_hub.settings import Settings

PLACE = Place(
    package="/p", host="127.0.0.1", port=8080, access="/a", max_body=1024, start_timeout=60.0, drain_timeout=1.0
)
LOG, URL, SHARE = (f"MODELYARD_SERVER_{name}" for name in ("ACCESS_LOG", "OTLP_URL", "TRACE_SHARE"))


def environment(owners: dict[str, str], **settings: object) -> dict[str, str]:
    server = Server("churn-1", "churn", Package("/p", "ada.churn", "1"), environment=owners)
    return server_environment(server, replace(PLACE, watch=watch(Settings.model_validate(settings))))


def test_nothing_is_told_of_requests_unless_somebody_asks() -> None:
    assert {LOG, URL, SHARE}.isdisjoint(environment({}))


def test_the_administrator_asks_for_all() -> None:
    found = environment({}, serve_access_log=True, serve_otlp_url="http://c:4318", serve_trace_share=0.1)
    assert (found[LOG], found[URL], found[SHARE]) == ("true", "http://c:4318", "0.1")


def test_the_owners_choice_comes_first_and_is_no_other() -> None:
    owners = {LOG: "false", "MODELYARD_SERVER_OPEN": "true", "MODELYARD_SERVER_PORT": "1", "LEVEL": "high"}
    found = environment(owners, serve_access_log=True)
    assert found[LOG] == "false"
    assert "MODELYARD_SERVER_OPEN" not in found
    assert (found["MODELYARD_SERVER_PORT"], found["LEVEL"]) == ("8080", "high")


def test_grpc_has_the_port_beside() -> None:
    server = Server("churn-1", "churn", Package("/p", "ada.churn", "1"))
    assert "MODELYARD_SERVER_GRPC_PORT" not in server_environment(server, PLACE)
    assert server_environment(server, replace(PLACE, grpc=True))["MODELYARD_SERVER_GRPC_PORT"] == "8081"
