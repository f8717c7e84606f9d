"""The whole API as a real server in a thread, and the router's part before model servers: what the library asks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from harness.api import Yard, yard

T = TypeVar("T")
Around = Callable[[Path], AbstractAsyncContextManager[Yard]]
_SERVE = re.compile(r"/serve/(\w+)/([\w-]+)(/.*)")


@dataclass
class Served:
    """`asked` counts what came; `away` answers as the router does for a hub service that is gone; `models` are the
    addresses of model servers by revision, the first of which gets the traffic."""

    url: str
    yard: Yard
    loop: asyncio.AbstractEventLoop
    models: dict[int, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    away: bool = False

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """`work` on the API's own loop, such as a method of its store."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def client(self, token: str) -> httpx.Client:
        """The REST API as somebody."""
        base = f"{self.url}/services/modelyard/api/v1"
        return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI: the router."""
        path = scope.get("path", "")
        self.asked.append(f"{scope.get('method')} {path}")
        found = _SERVE.fullmatch(path)
        if found is not None:
            await self._serve(found[3], scope, receive, send)
        elif self.away:
            await _answer(send, 502, b"Bad Gateway", "text/plain")
        else:
            await self.yard.app(scope, receive, send)

    async def _serve(self, path: str, scope: Any, receive: Any, send: Any) -> None:
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        revision = int(headers.get("x-modelyard-revision", next(iter(self.models))))
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message.get("body", b""), message.get("more_body", False)
        async with httpx.AsyncClient() as http:
            kept = {k: v for k, v in headers.items() if k not in ("host", "content-length")}
            found = await http.request(scope["method"], self.models[revision] + path, content=content, headers=kept)
        await _answer(send, found.status_code, found.content, found.headers["content-type"])


@contextmanager
def served(home: Path, around: Around = yard) -> Iterator[Served]:
    """One, with the users of `harness.api.yard`; `around` makes it."""
    started: list[Served] = []
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_run(around(home), started, ready, over)), name="served", daemon=True
    )
    thread.start()
    assert ready.wait(30)
    try:
        yield started[0]
    finally:
        over.set()
        thread.join(30)


async def _run(
    made: AbstractAsyncContextManager[Yard], started: list[Served], ready: threading.Event, over: threading.Event
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    async with made as around:
        it = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", around, asyncio.get_running_loop())
        config = uvicorn.Config(
            it.app, interface="asgi3", log_level="warning", ws="none", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        task = asyncio.create_task(server.serve([listener]))
        started.append(it)
        ready.set()
        await asyncio.to_thread(over.wait)
        server.should_exit = True
        await asyncio.wait_for(task, 10)
    listener.close()


async def _answer(send: Any, status: int, content: bytes, kind: str) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
