"""HTTP only: an ASGI application that routes, reads bodies and writes answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from modelyard_api import __version__
from modelyard_api.errors import (
    MalformedRequest,
    ModelyardError,
    NotFound,
    Unavailable,
    Unsupported,
)
from modelyard_api.names import REVISION_HEADER
from modelyard_api.problem import PROBLEM_MEDIA_TYPE
from modelyard_server import invocations, v2
from modelyard_server.access import Guard
from modelyard_server.batching import Batcher
from modelyard_server.body import Receive, compress, read
from modelyard_server.dataplane import DataPlane, rows
from modelyard_server.metrics import Metrics
from modelyard_server.settings import ServerSettings

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_log = logging.getLogger(__name__)
_JSON = "application/json"


class App:
    """One model behind the Open Inference Protocol and `/invocations`."""

    def __init__(self, settings: ServerSettings, plane: DataPlane) -> None:
        self._settings = settings
        self._plane = plane
        self._guard = Guard(settings.access)
        self._metrics = Metrics(settings.model, settings.version, plane.manifest.flavor)
        self._headers = [(REVISION_HEADER.lower().encode(), str(settings.revision).encode())]
        self._batcher: Batcher | None = None
        self.draining = False
        model = f"/v2/models/{settings.endpoint}"
        self._models = (model, f"{model}/versions/{settings.version}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        limits = {"max_batch": self._settings.max_batch, "max_queue": self._settings.max_queue}
        self._batcher = Batcher(self._plane, **limits)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._batcher.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        path: str = scope["path"].rstrip("/") or "/"
        try:
            if scope["method"] == "POST" and path in self._inferring():
                status, body, kind = await self._predict(path, headers, receive)
            else:
                status, body, kind = self._get(scope["method"], path, headers)
        except ModelyardError as error:
            status, body, kind = error.status, orjson.dumps(error.problem().model_dump()), PROBLEM_MEDIA_TYPE
        except Exception:
            _log.exception("%s %s failed", scope["method"], path)
            failure = ModelyardError("the model server failed on this request", remedy="See the endpoint's log.")
            status, body, kind = 500, orjson.dumps(failure.problem().model_dump()), PROBLEM_MEDIA_TYPE
        zipped = await compress(body, headers) if status == 200 else None
        await self._answer(send, status, body if zipped is None else zipped, kind, zipped is not None)

    async def _answer(self, send: Send, status: int, body: bytes, kind: str, zipped: bool) -> None:
        headers = [*self._headers, (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        if zipped:
            headers += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        if status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="modelyard"'))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _inferring(self) -> tuple[str, ...]:
        return (f"{self._models[0]}/infer", f"{self._models[1]}/infer", "/invocations")

    def _get(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes, str]:
        if method not in ("GET", "HEAD"):
            raise NotFound(f"no {method} {path}", remedy=f"POST to {self._models[0]}/infer or /invocations.")
        if path in ("/v2/health/live", "/ping"):
            return 200, b'{"live":true}', _JSON
        if path == "/v2/health/ready" or path in tuple(f"{m}/ready" for m in self._models):
            if self.draining:
                raise Unavailable("the server is stopping")
            return 200, b'{"ready":true}', _JSON
        if path == "/metrics" and "x-forwarded-for" not in headers:
            return 200, self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8"
        self._guard.check(headers.get("authorization"))
        if path == "/v2":
            answer: dict[str, Any] = {"name": "modelyard", "version": __version__, "extensions": []}
            return 200, orjson.dumps(answer), _JSON
        if path in self._models:
            settings = self._settings
            answer = v2.metadata(settings.endpoint, settings.version, self._plane.manifest)
            return 200, orjson.dumps(answer), _JSON
        raise NotFound(
            f"no {path} here", remedy=f"This server has {self._models[0]}, version {self._settings.version}."
        )

    async def _predict(self, path: str, headers: dict[str, str], receive: Receive) -> tuple[int, bytes, str]:
        start = time.perf_counter()
        code = 500
        self._metrics.in_flight.inc()
        try:
            self._guard.check(headers.get("authorization"))
            raw = await read(receive, headers, self._settings.max_body)
            body = await self._infer(path, headers, raw)
            code = 200
            return 200, body, _JSON
        except ModelyardError as error:
            code = error.status
            raise
        finally:
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(str(code)).inc()
            self._metrics.latency.observe(time.perf_counter() - start)

    async def _infer(self, path: str, headers: dict[str, str], raw: bytes) -> bytes:
        assert self._batcher is not None  # the lifespan made it before the first request
        signature = self._plane.manifest.signature
        kind = headers.get("content-type", _JSON).partition(";")[0].strip().lower()
        csv = path == "/invocations" and kind == "text/csv"
        if not csv and kind not in (_JSON, "", "application/x-www-form-urlencoded"):
            raise Unsupported(f"content type {kind!r}", remedy="Send application/json, or text/csv to /invocations.")
        body = None if csv else _json(raw)
        if csv:
            columns = invocations.decode_csv(_utf8(raw), signature)
        elif path == "/invocations":
            columns = invocations.decode(body, signature)
        else:
            columns = v2.decode(body)
        checked = self._plane.check(columns)
        outputs = await self._batcher.predict(checked)
        self._metrics.rows.inc(rows(checked))
        if path == "/invocations":
            return orjson.dumps(invocations.encode(outputs, body.get("params") if isinstance(body, dict) else None))
        return orjson.dumps(v2.encode(self._settings.endpoint, self._settings.version, outputs, body))


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedRequest("the body is not UTF-8") from None


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(
            f"the body is not JSON: {error}", remedy="JSON has no NaN and no Infinity: send null for a missing value."
        ) from None
