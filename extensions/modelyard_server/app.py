"""Routes: what is asked, whether the caller may, and how an error is said."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from modelyard_api import __version__
from modelyard_api.errors import (
    MalformedRequest,
    ModelyardError,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)
from modelyard_api.models import PackageManifest
from modelyard_api.problem import PROBLEM_MEDIA_TYPE
from modelyard_server import openapi, page, v2
from modelyard_server.access import Guard
from modelyard_server.loading import Loaded
from modelyard_server.metrics import Metrics
from modelyard_server.predictor import Predictor
from modelyard_server.settings import ServerSettings
from modelyard_server.watch.ids import request_id
from modelyard_server.web.listener import Listener
from modelyard_server.web.messages import Answer, Request
from modelyard_server.workers.pool import Pool

if TYPE_CHECKING:
    from modelyard_server.exposition import Exposition

_log = logging.getLogger(__name__)
_PROBLEM = PROBLEM_MEDIA_TYPE.encode()
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_COMES_ALONG = 16 * 1024
"""Bytes of a body that is there as soon as its head: while the queue is full it is taken and forgotten, so that its
connection is kept, for a new one costs more. What is longer is not waited for."""


@dataclass(frozen=True)
class Parts:
    """What every transport of a model works with, until another version is switched to."""

    settings: ServerSettings
    version: str
    manifest: PackageManifest
    guard: Guard
    metrics: Metrics
    predictor: Predictor
    pool: Pool | None
    not_served: Callable[[], str]
    """See `App`."""


class App:
    """One model behind the Open Inference Protocol and `/invocations`."""

    def __init__(self, settings: ServerSettings, loaded: Loaded) -> None:
        self._settings = settings
        self._guard = Guard(settings.access)
        self._metrics = Metrics(settings.model, loaded.version, loaded.model.manifest.flavor)
        self._listener: Listener | None = None
        self.not_served: Callable[[], str] = lambda: ""
        """Why another version that was asked for is not served; empty where none was, or it is."""
        self._full: tuple[float, Answer] | None = None
        self._take(loaded)

    def _take(self, loaded: Loaded) -> None:
        model = loaded.model
        self._version = loaded.version
        self._manifest = model.manifest
        self._contract = model
        self._pool = model if isinstance(model, Pool) else None
        self._metrics.serves(self._settings.model, loaded.version, model.manifest.flavor)
        self._predictor = Predictor(self._settings, loaded, self._metrics)
        self.parts = Parts(
            self._settings,
            loaded.version,
            model.manifest,
            self._guard,
            self._metrics,
            self._predictor,
            self._pool,
            lambda: self.not_served(),
        )
        path = f"/v2/models/{self._settings.endpoint}"
        self._models = (path, f"{path}/versions/{loaded.version}")
        self._inferring = {f"{m}/infer".encode(): False for m in self._models} | {b"/invocations": True}

    def switch(self, loaded: Loaded) -> Callable[[], Awaitable[None]]:
        """Answer with it from now on; what is to be called then ends the one before, once it has answered."""
        before = self._predictor
        self._take(loaded)
        return before.retire

    def bind(self, listener: Listener) -> None:
        """The listener whose requests these are."""
        self._listener = listener
        self._metrics.in_flight = lambda: listener.in_flight

    async def close(self) -> None:
        await self._predictor.close()

    @cached_property
    def _exposition(self) -> Exposition:
        from modelyard_server.exposition import Exposition

        return Exposition(self._metrics)

    def admit(self, request: Request) -> Answer | None:
        """Refuses by the head alone what would be refused anyway: its body is never read."""
        self._told(request)
        try:
            if self._invoked(request) is None:
                raise NotFound(f"no POST {request.path}", remedy=f"POST to {self._models[0]}/infer or /invocations.")
            caller = self._guard.check(request.headers.get(b"authorization"))
            if request.record is not None:
                request.record.caller = caller
            length = request.headers.get(b"content-length", b"0")
            if len(length) > 18 or int(length) > self._settings.max_body:
                raise _too_large(self._settings.max_body)
            encoding = request.headers.get(b"content-encoding", b"identity").lower()
            if encoding not in (b"identity", b"gzip"):
                raise Unsupported(f"content encoding {encoding.decode('latin-1')[:80]!r}", remedy="Send gzip or none.")
            if self._predictor.full and (int(length) > _COMES_ALONG or b"transfer-encoding" in request.headers):
                return self._counted(request, self._busy())
        except ModelyardError as error:
            return self._counted(request, _answer(error))
        except Exception as error:
            return self._counted(request, _failed(request, error))
        return None

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to a whole request. Does not raise."""
        self._told(request)
        invoked = self._invoked(request) if request.method == b"POST" else None
        try:
            if invoked is None:
                return self._get(request)
            if self._predictor.full:
                return self._counted(request, self._busy())
            answer = self._predictor.answer(request, invoked=invoked)
        except ModelyardError as error:
            answer = _answer(error) if error.status != 500 else _failed(request, error)
        except Exception as error:
            answer = _failed(request, error)
        if type(answer) is not Answer:
            assert isinstance(answer, Awaitable)
            return self._later(request, answer, self._predictor)
        return answer if invoked is None else self._counted(request, answer)

    def malformed(self, request: Request, status: int, detail: str) -> Answer:
        """The answer to what is no request, or one beyond a limit."""
        self._told(request)
        error = Unavailable(detail) if status == 503 else MalformedRequest(detail)
        error.status = status
        self._metrics.codes[status] += 1
        answer = _answer(error, last=True)
        answer.reason = detail
        return answer

    def _busy(self) -> Answer:
        """That the queue is full, made once a second: under too much load what is refused must cost little."""
        now = time.monotonic()
        if self._full is None or now - self._full[0] > 1:
            self._full = now, _answer(self._predictor.too_many())
        said = self._full[1]
        return replace(said)

    async def _later(self, request: Request, coming: Awaitable[Answer], predictor: Predictor) -> Answer:
        predictor.began()
        try:
            answer = await coming
        except ModelyardError as error:
            answer = _answer(error) if error.status != 500 else _failed(request, error)
        except asyncio.CancelledError:
            self._metrics.left += 1
            raise
        except Exception as error:
            answer = _failed(request, error)
        finally:
            predictor.ended()
        return self._counted(request, answer)

    def _told(self, request: Request) -> None:
        """Which version has the request, for who is told of it; another may come between its head and its end."""
        if request.record is not None:
            request.record.version = self._version

    def _counted(self, request: Request, answer: Answer) -> Answer:
        self._metrics.codes[answer.status] += 1
        self._metrics.request.observe(time.perf_counter() - request.started)
        return answer

    def _invoked(self, request: Request) -> bool | None:
        """Whether it is one to `/invocations`; None: it asks for no prediction."""
        invoked = self._inferring.get(request.target)
        return invoked if invoked is not None else self._inferring.get(unquote(request.path).encode())

    def _get(self, request: Request) -> Answer:
        path = unquote(request.path)
        if request.method not in (b"GET", b"HEAD"):
            method = request.method.decode("latin-1")
            raise NotFound(f"no {method} {path}", remedy=f"POST to {self._models[0]}/infer or /invocations.")
        if path in ("/v2/health/live", "/ping", "/health"):
            return Answer(200, b'{"live":true}')
        if path == "/version":
            return Answer(200, __version__.encode(), b"text/plain")
        if path == "/v2/health/ready" or path in tuple(f"{m}/ready" for m in self._models):
            if self._listener is not None and self._listener.draining:
                raise Unavailable("the server is stopping")
            if self._pool is not None:
                self._pool.ready()
            return Answer(200, b'{"ready":true}')
        if path == "/metrics" and b"x-forwarded-for" not in request.headers:
            return Answer(200, self._exposition.text(), _TEXT)
        if path == page.PATH:
            return page.answer(request)
        self._guard.check(request.headers.get(b"authorization"))
        return Answer(200, orjson.dumps(self._described(path)))

    def _described(self, path: str) -> dict[str, Any]:
        settings = self._settings
        if path == "/v2":
            return {"name": "modelyard", "version": __version__, "extensions": list(v2.EXTENSIONS)}
        if path in self._models:
            found = v2.metadata(settings.endpoint, self._version, self._manifest, self._contract.device)
            if refused := self.not_served():
                found["parameters"]["not_served"] = refused
            return found
        if path == "/openapi.json" or path in tuple(f"{m}/openapi.json" for m in self._models):
            guarded = settings.access is not None
            return openapi.document(settings.endpoint, self._version, self._manifest, guarded=guarded)
        raise NotFound(f"no {path} here", remedy=f"This server has {self._models[0]}, version {self._version}.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes", remedy="Send fewer rows at once.")


def _answer(error: ModelyardError, *, last: bool = False) -> Answer:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if error.status == 503:
        headers = ((b"retry-after", str(error.extra.get("retry_after", 1)).encode()),)
    if error.status == 401:
        headers = ((b"www-authenticate", b'Bearer realm="modelyard"'),)
    # `error` is the protocol's own word for it; its clients read nothing else.
    document = error.problem().model_dump() | {"error": str(error)}
    answer = Answer(error.status, orjson.dumps(document, default=str), _PROBLEM, headers, last)
    answer.reason = reason(error)
    return answer


def reason(error: ModelyardError) -> str:
    """Why a request is refused, in a word or two: the detail may have a value of a row in it."""
    rule = error.extra.get("rule")
    return type(error).__name__ if rule is None else f"{type(error).__name__}: {rule}"


def _failed(request: Request, error: Exception) -> Answer:
    record = request.record
    name = request_id(request.headers.get(b"x-request-id")) if record is None else record.id
    answer = _answer(failure(f"{request.method.decode('latin-1')!r} {request.path[:200]}", error, name))
    if record is None:
        answer.headers += ((b"x-request-id", name.encode()),)
    return answer


def failure(asked: str, error: Exception, name: str | None) -> ModelyardError:
    """500, with an id that stands in the log beside the traceback; never a traceback in the answer."""
    name = name or request_id(None)
    _log.error("%s: %s failed", name, asked, exc_info=error)
    if not isinstance(error, ModelyardError):
        error = ModelyardError("the model server failed on this request", remedy="See the endpoint's log.")
    error.extra["id"] = name
    return error
