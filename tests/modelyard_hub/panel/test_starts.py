"""The administrator's table of how long starts take, from real metrics of the histogram."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from harness.web import serving
from modelyard_hub.hub_env import HubEnv
from modelyard_hub.panel import starts
from modelyard_hub.spawner.starts.phases import History, Quantiles


def metrics() -> str:
    """As JupyterHub tells them after a hundred starts."""
    registry, history = CollectorRegistry(), History()
    histogram = Histogram("modelyard_spawn_phase_seconds", "help", ["phase"], registry=registry)
    registry.register(Quantiles(history))
    for seconds in range(1, 101):
        for phase, part in (("ready", 0.1), ("pull", 1.0)):
            histogram.labels(phase=phase).observe(seconds * part)
            history.add(phase, seconds * part)
    Gauge("modelyard_spawn_queue_length", "help", registry=registry).set(12)
    Gauge("modelyard_spawn_starting", "help", registry=registry).set(64)
    return generate_latest(registry).decode()


@contextmanager
def jupyterhub(token: str) -> Iterator[HubEnv]:
    """Its metrics, for who has the token."""

    async def tell(request: Request) -> Response:
        known = request.headers.get("authorization") == "token right"
        return PlainTextResponse(metrics()) if known else Response(status_code=403)

    with serving(Starlette(routes=[Route("/hub/metrics", tell)])) as url:
        yield HubEnv(api_token=token, api_url=f"{url}/hub/api")


async def test_the_phases_come_in_order_with_their_percentiles() -> None:
    with jupyterhub("right") as hub:
        async with httpx.AsyncClient(trust_env=False) as http:
            found = await starts.read(http, hub)
    assert found is not None
    assert list(found.phases) == ["pull", "ready"]
    assert (found.phases["pull"].count, found.phases["pull"].seconds) == (
        100,
        {"0.5": 50.0, "0.95": 95.0, "0.99": 99.0},
    )
    html = starts.render(found)
    assert "64 start now, 12 wait for their turn." in html
    assert "<td>pull <small>image</small></td><td>50.0 s</td><td>95.0 s</td><td>99.0 s</td><td>100</td>" in html


async def test_it_says_so_when_they_are_not_told() -> None:
    with jupyterhub("wrong") as hub:
        async with httpx.AsyncClient(trust_env=False) as http:
            assert await starts.read(http, hub) is None
    assert "does not tell them now" in starts.render(None)
    assert "None was started" in starts.render(starts.Starts({}))
