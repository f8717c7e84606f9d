"""Routes that are made while a server starts."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

from harness.model_server import free_port
from modelyard_hub.jupyterhub_proxy import HubServiceProxy
from modelyard_hub.spawner.starts.routes import announce, until_open, withdraw


def spawner(proxy: Any) -> Any:
    return SimpleNamespace(
        proxy_spec="/user/ada/", name="", user=SimpleNamespace(name="ada", settings={"proxy": proxy} if proxy else {})
    )


async def test_a_route_is_there_before_the_server_and_goes_with_it() -> None:
    away = f"http://127.0.0.1:{free_port()}/internal/hub-routes"
    app = SimpleNamespace(subdomain_host="")
    proxy = HubServiceProxy(app=app, routes_url=away, token="t", host_routing=False)
    try:
        announce(spawner(proxy), "http://127.0.0.1:4000")
        routes = await proxy.get_all_routes()
        assert routes["/user/ada/"]["target"] == "http://127.0.0.1:4000"
        assert routes["/user/ada/"]["data"] == {"user": "ada", "server_name": ""}
        # What JupyterHub adds, when the server answers, is the same.
        await proxy.add_route("/user/ada/", "http://127.0.0.1:4000", {"user": "ada", "server_name": ""})
        assert await proxy.get_all_routes() == routes
        withdraw(spawner(proxy))
        assert await proxy.get_all_routes() == {}
    finally:
        await proxy.stop()


def test_another_proxy_is_told_by_jupyterhub_alone() -> None:
    for other in (None, object()):
        announce(spawner(other), "http://127.0.0.1:4000")
        withdraw(spawner(other))


async def test_a_port_is_waited_for() -> None:
    port = free_port()
    waiting = asyncio.create_task(until_open(f"http://127.0.0.1:{port}", 0.01, cap=0.05))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    with socket.create_server(("127.0.0.1", port)):
        await asyncio.wait_for(waiting, 5)
