"""`inference.GRPCInferenceService`: what is asked, whether the caller may, and how an error is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
import orjson
from google.protobuf.message import DecodeError, Message

from modelyard_api import __version__
from modelyard_api.errors import MalformedRequest, ModelyardError, NotFound, TimedOut, Unavailable
from modelyard_api.names import GRPC_SERVICE
from modelyard_server import v2
from modelyard_server.app import Parts, failure, reason
from modelyard_server.rpc import tensors
from modelyard_server.rpc.messages import message
from modelyard_server.rpc.unread import Unread
from modelyard_server.watch.ids import address
from modelyard_server.watch.observer import Observer
from modelyard_server.watch.record import Record

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_DETAIL = 1500
"""Characters of a status' message: it goes into a head, and most clients take heads of 8 KiB."""
_LEAST_RATE = 1024 * 1024
"""Bytes a second that the largest request may come with, once its patience is over."""
_SMALL = 4096
"""Bytes of a message that holds names alone."""
_ASK_NOTHING = ("ServerLive", "ServerReady", "ServerMetadata")
PROBLEM = "modelyard-problem-bin"
"""In an error's trailing metadata: its problem document, as over HTTP."""
NOT_SERVED = "modelyard-not-served-bin"
"""In the trailing metadata of ModelMetadata, as UTF-8: what `parameters.not_served` is over HTTP. The message itself
has no field for it that all of the protocol's clients know."""
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""HealthCheckResponse: its one field is an enumeration."""
_REQUEST = message("ModelInferRequest")


class Service:
    """One model's methods. `in_flight` counts predictions that have begun and are not answered."""

    def __init__(self, parts: Callable[[], Parts], observer: Observer | None, *, ready: Callable[[], bool]) -> None:
        self._parts = parts
        self._observer = observer
        self._ready = ready
        settings = parts().settings
        self._patience = settings.patience + settings.max_body / _LEAST_RATE
        self._unread = Unread(settings.grpc_port or 0, settings.patience, settings.max_body)
        self.in_flight = 0

    def handlers(self) -> Any:
        """For a server of grpc.aio."""
        quick: dict[str, Callable[[Any], Message]] = {
            "ServerLive": lambda request: message("ServerLiveResponse")(live=True),
            "ServerReady": lambda request: message("ServerReadyResponse")(ready=self._ready()),
            "ModelReady": self._model_ready,
        }
        guarded: dict[str, Callable[[Any], Message]] = {
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
        }
        # On the wire a stream of one message is a message. Read so, a caller is judged before what it sends is there.
        methods = {
            name: grpc.stream_unary_rpc_method_handler(
                self._plain(name, answer, guarded=name in guarded),
                response_serializer=message(f"{name}Response").SerializeToString,
            )
            for name, answer in (quick | guarded).items()
        }
        methods["ModelInfer"] = grpc.stream_unary_rpc_method_handler(self._infer)
        return grpc.method_handlers_generic_handler(GRPC_SERVICE, methods)

    def health(self) -> Any:
        """The health service of gRPC, which routers and clusters ask."""

        async def check(requests: Any, context: Any) -> bytes:  # what it asks about is this server, whatever it sends
            self._unread.keep(context, len(_SERVING))
            return _SERVING if self._ready() else _NOT_SERVING

        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.stream_unary_rpc_method_handler(check)}
        )

    def _plain(self, name: str, answer: Callable[[Any], Message], *, guarded: bool) -> Callable[..., Awaitable[Any]]:
        async def handle(requests: Any, context: Any) -> Message:
            try:
                if guarded:
                    self._parts().guard.check(_said(context).get("authorization"))
                # Who is not asked for a key sends nothing that is read.
                asked = await self._small(name, context) if name not in _ASK_NOTHING else None
                found = answer(asked)
                if name == "ModelMetadata" and (refused := self._parts().not_served()):
                    context.set_trailing_metadata(((NOT_SERVED, refused[:_DETAIL].encode()),))
                self._unread.keep(context, found.ByteSize())
                return found
            except Exception as error:
                said = failure(f"gRPC {name}", error, None) if _is_ours(error) else error
                assert isinstance(said, ModelyardError)
                await _refuse(context, said)
                raise

        return handle

    async def _small(self, name: str, context: Any) -> Message:
        raw = await self._message(context, self._parts().settings.patience)
        if len(raw) > _SMALL:
            raise MalformedRequest(f"a message of {len(raw)} bytes", remedy="Send a name and a version.")
        try:
            found: Message = message(f"{name}Request").FromString(raw)
        except DecodeError:
            raise MalformedRequest(f"the message is no {name}Request") from None
        return found

    async def _infer(self, requests: Any, context: Any) -> bytes:
        parts, started = self._parts(), time.perf_counter()
        said = _said(context)
        record = self._begin(said, started, _peer(context))
        self.in_flight += 1
        status, answer = 499, b""  # where the caller leaves before it is answered
        try:
            caller = parts.guard.check(said.get("authorization"))
            if record is not None:
                record.caller = caller
            direct = "x-forwarded-for" not in said  # else the connection is a router's, with others' calls on it
            if direct:
                self._unread.admit(context.peer())
            parts.predictor.admit()
            raw = await self._message(context, self._patience)
            parts = self._parts()  # another version may have come meanwhile
            if record is not None:
                record.version = parts.version
            answer = await parts.predictor.exchange(*self._both(raw, parts), len(raw), record)
            if direct:
                self._unread.keep(context, len(answer))
            status = 200
            return answer
        except Exception as error:
            name = record.id if record is not None else None
            told = failure(f"gRPC ModelInfer of {parts.settings.endpoint}", error, name) if _is_ours(error) else error
            assert isinstance(told, ModelyardError)
            status = told.status
            if record is not None:
                record.reason = reason(told)
            await _refuse(context, told)
            raise
        finally:
            self.in_flight -= 1
            if status == 499:
                parts.metrics.left += 1
            else:
                parts.metrics.codes[status] += 1
                parts.metrics.request.observe(time.perf_counter() - started)
            if record is not None and self._observer is not None:
                self._observer.end(record, status, len(answer))

    def _begin(self, said: dict[str, bytes], started: float, peer: str) -> Record | None:
        if self._observer is None:
            return None
        asked, parent = said.get("x-request-id"), said.get("traceparent")
        record = self._observer.begin("gRPC", f"/{GRPC_SERVICE}/ModelInfer", started, asked, parent)
        record.version = self._parts().version
        record.address = address(said.get("x-forwarded-for"), peer)
        return record

    async def _message(self, context: Any, patience: float) -> bytes:
        try:
            raw = await asyncio.wait_for(context.read(), patience)
        except TimeoutError:
            raise TimedOut("the request came too slowly") from None
        if raw is grpc.aio.EOF:
            raise MalformedRequest("no message came")
        found: bytes = raw
        return found

    def _both(self, raw: bytes, parts: Parts) -> tuple[Any, Any]:
        """How the data plane reads the request, and how it writes the answer."""
        raw_tensors = False

        def read(codec: Any) -> Any:
            nonlocal raw_tensors
            try:
                request = _REQUEST.FromString(raw)
            except DecodeError:
                raise MalformedRequest("the message is no ModelInferRequest") from None
            _named(parts, request.model_name, request.model_version)
            raw_tensors = len(request.raw_input_contents) > 0
            return codec.of_arrays(*tensors.decode(request))

        def write(codec: Any, question: Any, outputs: Any) -> bytes:
            return tensors.encode(codec.names, outputs, question.asked, codec.classes, raw=raw_tensors)

        return read, write

    def _model_ready(self, request: Any) -> Message:
        _named(self._parts(), request.name, request.version)
        made: Message = message("ModelReadyResponse")(ready=self._ready())
        return made

    def _server_metadata(self, request: Any) -> Message:
        made: Message = message("ServerMetadataResponse")(
            name="modelyard", version=__version__, extensions=("classification", "parameters")
        )
        return made

    def _model_metadata(self, request: Any) -> Message:
        parts = self._parts()
        _named(parts, request.name, request.version)
        said = v2.metadata(parts.settings.endpoint, parts.version, parts.manifest)
        made = message("ModelMetadataResponse")(name=said["name"], versions=said["versions"], platform=said["platform"])
        for kind in ("inputs", "outputs"):
            for tensor in said[kind]:
                getattr(made, kind).add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        found: Message = made
        return found


def _named(parts: Parts, name: str, version: str) -> None:
    endpoint = parts.settings.endpoint
    if name != endpoint or version not in ("", parts.version):
        raise NotFound(
            f"no model {name[:80]!r}" + (f" of version {version[:80]!r}" if version else ""),
            remedy=f"This server has {endpoint}, version {parts.version}.",
        )


def _is_ours(error: Exception) -> bool:
    """Whether it is the server's fault, not the caller's."""
    return not isinstance(error, ModelyardError) or error.status == 500


def _peer(context: Any) -> str:
    """The address in what gRPC calls `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    kind, _, rest = str(context.peer()).partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if kind.startswith("ip") else ""


def _said(context: Any) -> dict[str, bytes]:
    return {
        key: value.encode("latin-1", "replace") if isinstance(value, str) else value
        for key, value in context.invocation_metadata() or ()
    }


async def _refuse(context: Any, error: ModelyardError) -> None:
    """Ends the call; raises what grpc wants raised."""
    text = str(error)
    named = [f"{key} {error.extra[key]}" for key in ("input", "row", "rule") if key in error.extra]
    said = text[:_DETAIL] + (f" [{', '.join(named)[:200]}]" if named else "")
    trailing: list[tuple[str, str | bytes]] = []
    if "id" in error.extra:
        trailing.append(("x-request-id", str(error.extra["id"])))
    if isinstance(error, Unavailable):
        trailing.append(("retry-after", str(error.extra.get("retry_after", 1))))
    document = orjson.dumps(error.problem().model_dump(), default=str)
    if len(document) < 4096:
        trailing.append((PROBLEM, document))
    await context.abort(_CODES.get(error.status, grpc.StatusCode.INTERNAL), said, tuple(trailing))
