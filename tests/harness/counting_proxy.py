"""A proxy before a cluster's API that counts what is asked through it, by verb and resource."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

_RESOURCE = re.compile(r"/(?:api/v1|apis/[^/]+/[^/]+)/(?:namespaces/[^/]+/)?([a-z]+)(?:/[^/]+)?(/[a-z]+)?$")
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
_CHUNK = 64 * 1024


class CountingProxy:
    """`url` answers as the API server does; `calls` counts them as 'VERB resource', such as 'watch pods'. `refused`:
    calls that the API server did not answer, or with an error."""

    def __init__(self, kubeconfig: Path) -> None:
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.url = ""
        self._away = False
        self._open: set[asyncio.Transport] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server, self._tls = _server(kubeconfig)
        self._session: aiohttp.ClientSession | None = None

    def kubeconfig(self, path: Path, token: str, namespace: str) -> Path:
        """Write a kubeconfig that leads here with that token."""
        context = {"cluster": "counted", "user": "counted", "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "counted",
            "clusters": [{"name": "counted", "cluster": {"server": self.url}}],
            "users": [{"name": "counted", "user": {"token": token}}],
            "contexts": [{"name": "counted", "context": context}],
        }
        path.write_text(json.dumps(document))
        return path

    def away(self, gone: bool) -> None:
        """Cut all connections and take no call any more, or take them again."""
        assert self._loop is not None
        self._away = gone
        self._loop.call_soon_threadsafe(self._cut)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a call on and its answer back, piece by piece."""
        what = _what(request)
        self.calls[what] += 1
        transport = request.transport
        assert transport is not None
        self._open.add(transport)
        try:
            if self._away:
                raise ConnectionAbortedError("away")
            return await self._pass(request, what)
        except (aiohttp.ClientError, OSError):
            self.refused[what] += 1
            transport.abort()
            return web.Response(status=502)  # nobody reads it
        finally:
            self._open.discard(transport)

    async def _pass(self, request: web.Request, what: str) -> web.StreamResponse:
        assert self._session is not None
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        url = f"{self._server}{request.path_qs}"
        body = await request.read()
        async with self._session.request(request.method, url, data=body, headers=headers, ssl=self._tls) as answer:
            if answer.status >= 400:
                self.refused[what] += 1
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    def _cut(self) -> None:
        if self._away:
            for transport in tuple(self._open):
                transport.abort()

    async def run(self, ready: threading.Event, over: threading.Event) -> None:
        """Until `over`."""
        self._loop = asyncio.get_running_loop()
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(timeout=limits, auto_decompress=False) as self._session:
            app = web.Application(client_max_size=16 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self.handle)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()
            await asyncio.to_thread(over.wait)
            await runner.cleanup()


@contextmanager
def counting_proxy(kubeconfig: Path) -> Iterator[CountingProxy]:
    """One before the cluster of that kubeconfig, in a thread of its own."""
    proxy = CountingProxy(kubeconfig)
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(proxy.run(ready, over)), name="counting proxy", daemon=True)
    thread.start()
    assert ready.wait(30), "the proxy does not start"
    try:
        yield proxy
    finally:
        over.set()
        thread.join(10)


def _what(request: web.Request) -> str:
    found = _RESOURCE.search(request.path)
    resource = (found[1] + (found[2] or "")) if found else request.path
    verb = "watch" if request.query.get("watch") == "true" else request.method.lower()
    return f"{verb} {resource}"


def _server(kubeconfig: Path) -> tuple[str, ssl.SSLContext | bool]:
    """The server's URL and how to trust it."""
    document: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    context = next(c["context"] for c in document["contexts"] if c["name"] == document["current-context"])
    cluster = next(c["cluster"] for c in document["clusters"] if c["name"] == context["cluster"])
    server = str(cluster["server"]).rstrip("/")
    if not server.startswith("https"):
        return server, True
    if data := cluster.get("certificate-authority-data"):
        return server, ssl.create_default_context(cadata=base64.b64decode(data).decode())
    return server, ssl.create_default_context(cafile=cluster["certificate-authority"])
