"""`internal/hub-routes`: for JupyterHub alone, and kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness.api import Yard, problem, yard
from modelyard_hub.routing.hub import HubRoutes

PATH = "/services/modelyard/internal/hub-routes"
ROUTES: list[dict[str, Any]] = [
    {"routespec": "/", "target": "http://10.0.0.1:8081", "data": {"hub": True}},
    {"routespec": "/user/ada/", "target": "http://10.0.0.2:8888", "data": {"user": "ada", "server_name": ""}},
]


@pytest.fixture(name="yard")
async def _yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(tmp_path) as made:
        yield made


@pytest.mark.parametrize("token", ["ada", "root", "traefik", None])
async def test_nobody_else_reads_or_writes_them(yard: Yard, token: str | None) -> None:
    async with yard.client(token) as client:
        problem(await client.get(PATH), 403, "Forbidden")
        problem(await client.put(PATH, json={"routes": ROUTES}), 403, "Forbidden")


async def test_what_is_told_is_kept_and_in_the_document(yard: Yard) -> None:
    yard.router.restore((), ())
    async with yard.client(yard.hub.secret) as hub:
        assert (await hub.get(PATH)).json() == {"routes": [], "applied": False}
        assert (await hub.put(PATH, json={"routes": ROUTES})).status_code == 204
        assert (await hub.get(PATH)).json() == {"routes": ROUTES, "applied": False}
        one = await hub.get(PATH, params={"routespec": "/user/ada/"})
        assert one.json()["routes"] == ROUTES[1:]
    assert '"http://10.0.0.2:8888"' in (yard.router.document() or "")
    kept = await yard.parts.store.load_hub_routes()
    assert kept is not None
    assert HubRoutes.model_validate_json(kept).model_dump()["routes"] == ROUTES


async def test_what_is_no_route_changes_nothing(yard: Yard) -> None:
    async with yard.client(yard.hub.secret) as hub:
        await hub.put(PATH, json={"routes": ROUTES})
        spoilt = {"routes": [*ROUTES, {"routespec": "nowhere", "target": "http://10.0.0.2"}]}
        problem(await hub.put(PATH, json=spoilt), 422, "InvalidInput")
        assert (await hub.get(PATH)).json()["routes"] == ROUTES
