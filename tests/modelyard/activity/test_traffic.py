"""Requests of a real Jupyter-like server: what changes something, and what takes long to be sent."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from harness.wait import eventually_async
from modelyard.activity.traffic import Traffic

BIG = 64 << 20


class Any(RequestHandler):  # type: ignore[misc]  # tornado is not followed
    def get(self) -> None:
        self.write(b"x" * (BIG if "big" in self.request.path else 10))

    post = put = get

    def check_xsrf_cookie(self) -> None:
        pass


@contextmanager
def serve(traffic: Traffic) -> Iterator[int]:
    app = Application([(".*", Any)])
    traffic.follow(app)
    server, sockets = HTTPServer(app), bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    yield int(sockets[0].getsockname()[1])
    server.stop()


@pytest.mark.parametrize(
    ("method", "path", "counts"),
    [
        ("PUT", "/user/ada/api/contents/a.ipynb", True),
        ("POST", "/user/ada/api/kernels", True),
        ("GET", "/user/ada/api/contents/", False),
        ("PUT", "/user/ada/lab/api/workspaces/default", False),
        ("POST", "/user/ada/modelyard/activity/here", False),
    ],
)
async def test_only_changes_by_somebody_count(method: str, path: str, counts: bool) -> None:
    traffic = Traffic()
    with serve(traffic) as port:
        async with httpx.AsyncClient() as http:
            await http.request(method, f"http://127.0.0.1:{port}{path}")
    assert (traffic.changed > time.time() - 5) is counts
    assert traffic.sending() == 0


async def test_a_download_counts_as_long_as_it_takes() -> None:
    traffic = Traffic()
    with serve(traffic) as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")

        async def sending() -> bool:
            return traffic.sending() == 1

        await eventually_async(sending, what="it is being sent")
        await asyncio.sleep(0)
        assert traffic.sending() == 1, "nobody has read it yet"

    async def over() -> bool:
        return traffic.sending() == 0

    await eventually_async(over, what="who downloaded has gone")
