"""One connection: httptools parses, the application answers, what is too large or too slow is cut."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import httptools

from modelyard_server.web.messages import REASONS, Answer, Request

if TYPE_CHECKING:
    from modelyard_server.web.listener import Listener

_PIPELINED = 32
_LEAST_RATE = 16 * 1024
"""Bytes a second that a request must come with, once its time for none is over."""
_LINGER = 2.0
"""Seconds that a refused body is still read and dropped, so that the caller sees the answer and no reset."""
_SMALL = 4096
"""Bytes. Parts of a body below this are joined as they come: an object for each would be many times as large."""


class Connection(asyncio.Protocol):
    """Requests are answered in order; further ones wait while one is under way.

    Who ends his side of the connection while his answer is under way is taken to have left, as uvicorn, hyper and, as a
    proxy, nginx take it by default: a prediction for nobody would keep others waiting."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._app = listener.app
        self._limits = listener.limits
        self._parser = httptools.HttpRequestParser(self)
        self._request: Request | None = None
        self._parts: list[bytes | bytearray] = []
        self._head = 0
        self._headed = False
        self._advanced = False
        self._heading = 0
        self._size = 0
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._blocked: float | None = None
        self._since = time.perf_counter()
        self._ending: float | None = None
        self._refused = False
        self._unwritten = 0
        self._last = False
        self._held = b""
        self._peer = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._listener.join(self):
            self._refuse(503, f"{self._limits.connections} connections are open already")

    def connection_lost(self, error: Exception | None) -> None:
        self._listener.leave(self)
        self._give_up()

    def data_received(self, data: bytes) -> None:
        if self._ending is not None:
            return
        if self._task is not None:  # read only to see the caller leave: no more than one part is held
            self._held += data
            self._transport.pause_reading()
            return
        self._advanced = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # nothing to upgrade to: the request was answered as it is, and is the last
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__ or error.__cause__
            self._listener.failed("a request could not be taken", cause or error)
            self._refuse(500, "the model server failed on this request")
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is no HTTP/1.1 request: {error}")
        else:
            # The parser keeps a header to itself until it ends; so it does the trailers and the heads of chunks.
            self._heading = 0 if self._advanced else self._heading + len(data)
            if max(self._heading, self._head) > self._limits.head:
                self._refuse(431, f"the head is larger than {self._limits.head} bytes")

    def eof_received(self) -> bool:
        self._give_up()
        self._ending = time.perf_counter()
        return False  # what is written already is sent before the connection ends

    def pause_writing(self) -> None:
        self._blocked = time.perf_counter()
        if self._ending is None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._blocked = None
        self._read_on()

    # httptools

    def on_message_begin(self) -> None:
        self._request = Request(started=time.perf_counter(), peer=self._peer)
        self._since = self._request.started
        self._head = self._size = 0
        self._headed = False

    def on_url(self, url: bytes) -> None:
        if self._request is not None:
            self._request.target += url
            self._head += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is not None and not self._headed:  # trailers come when the head is judged
            self._head += len(name) + len(value) + 4
            if self._head <= self._limits.head:
                self._request.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._headed = self._advanced = True
        request = self._request
        if request is None or self._ending is not None:
            return
        if self._head > self._limits.head:
            return  # said after the parser is left
        request.method = self._parser.get_method()
        if request.method != b"POST":
            if b"transfer-encoding" in request.headers or request.headers.get(b"content-length", b"0").strip(b"0"):
                self._refuse(400, f"{request.method.decode('latin-1')} takes no body here")
            return
        self._listener.in_flight += 1
        request.admitted = True
        if self._task is None and not self._waiting:
            refused = self._app.admit(request)
            if refused is not None:
                self._drop(refused)
                return
            if request.headers.get(b"expect", b"").lower() == b"100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        else:
            request.admitted = False

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        if self._ending is not None or self._request is None:
            return
        self._size += len(body)
        if self._size > self._limits.body:
            self._refuse(413, f"the body is larger than {self._limits.body} bytes")
        elif len(body) >= _SMALL or not self._parts:
            self._parts.append(body)
        elif isinstance(self._parts[-1], bytearray):
            self._parts[-1] += body
        else:
            self._parts.append(bytearray(body))

    def on_message_complete(self) -> None:
        self._advanced = True
        request = self._request
        if request is None or self._ending is not None or self._head > self._limits.head:
            return
        self._request = None
        if self._parts:
            request.body = b"".join(self._parts)
            self._parts = []
        keep = self._parser.should_keep_alive()
        if self._task is None and not self._waiting:
            self._answer(request, keep)
            return
        self._waiting.append((request, keep))
        self._transport.pause_reading()
        if len(self._waiting) > _PIPELINED:
            self._transport.abort()

    # answering

    def _answer(self, request: Request, keep: bool) -> None:
        refused = None if request.admitted or request.method != b"POST" else self._app.admit(request)
        answer = refused or self._app.handle(request)
        if type(answer) is Answer:
            self._write(answer, request, keep)
        else:
            assert isinstance(answer, Awaitable)
            self._task = asyncio.get_running_loop().create_task(self._later(answer, request, keep))

    async def _later(self, coming: Awaitable[Answer], request: Request, keep: bool) -> None:
        answer = await coming
        self._task = None
        self._write(answer, request, keep)
        while self._waiting and self._task is None and self._ending is None:
            self._answer(*self._waiting.popleft())
        if self._held and self._task is None:
            held, self._held = self._held, b""
            self.data_received(held)
        self._read_on()

    def _read_on(self) -> None:
        if not self._held and not self._waiting and self._ending is None and self._blocked is None:
            self._transport.resume_reading()

    def _write(self, answer: Answer, request: Request, keep: bool) -> None:
        if request.method == b"POST":
            self._listener.in_flight -= 1
        last = answer.last or self._last or not keep or self._listener.draining
        self._send(answer, last=last, old=not last and b"connection" in request.headers, bare=request.method == b"HEAD")
        self._since = time.perf_counter()
        if last:
            self._close()

    def _send(self, answer: Answer, *, last: bool, old: bool = False, bare: bool = False) -> None:
        said = answer.status, REASONS[answer.status], self._listener.fixed, answer.kind, len(answer.body)
        head = [b"HTTP/1.1 %d %b\r\n%bcontent-type: %b\r\ncontent-length: %d\r\n" % said]
        head += [b"%b: %b\r\n" % pair for pair in answer.headers]
        if last:
            head.append(b"connection: close\r\n")
        elif old:
            head.append(b"connection: keep-alive\r\n")
        head.append(b"\r\n")
        if not bare:
            head.append(answer.body)
        if len(answer.body) < 64 * 1024:
            self._transport.write(b"".join(head))
        else:
            self._transport.writelines(head)

    def _refuse(self, status: int, detail: str) -> None:
        if self._ending is not None:
            return
        request = self._request or Request(started=time.perf_counter(), peer=self._peer)
        if request.target and not request.method:  # its head is not whole
            request = replace(request, method=self._parser.get_method())
        answer = self._app.malformed(request, status, detail)
        if self._task is None:
            self._drop(answer)
        else:  # it would come before that of an earlier request
            self._ending = time.perf_counter()
            self._transport.abort()

    def _drop(self, answer: Answer) -> None:
        """Answer now and end; what the caller still sends is read and dropped for a moment."""
        if self._ending is not None:
            return
        self._end_request()
        self._send(answer, last=True)
        self._ending = time.perf_counter()
        self._refused = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def _end_request(self) -> None:
        if self._request is not None and self._request.method == b"POST":
            self._listener.in_flight -= 1
        self._request = None
        self._parts = []

    def _give_up(self) -> None:
        """The caller has left: nothing is predicted for him any more."""
        self._end_request()
        self._listener.in_flight -= sum(request.method == b"POST" for request, _ in self._waiting)
        self._waiting.clear()
        self._held = b""
        if self._task is not None:
            self._listener.in_flight -= 1
            self._task.cancel()
            self._task = None

    def _close(self) -> None:
        self._ending = time.perf_counter()
        self._transport.close()

    # by the listener

    def sweep(self, now: float) -> None:
        """End what is too slow: in asking, in reading the answer, in asking again."""
        limits = self._limits
        before, self._unwritten = self._unwritten, self._transport.get_write_buffer_size()
        taken = self._unwritten < before
        if self._ending is not None:
            if taken and not self._refused:
                self._ending = now
            if now - self._ending > (limits.patience if self._unwritten and not self._refused else _LINGER):
                self._transport.abort()
        elif self._blocked is not None:
            if taken:
                self._blocked = now
            elif now - self._blocked > limits.patience:
                self._transport.abort()
        elif self._request is not None and self._task is None:
            if now - self._since > limits.patience + self._size / _LEAST_RATE:
                self._refuse(408, "the request came too slowly")
        elif self._task is None and now - self._since > limits.idle:
            self._transport.close()

    def drain(self) -> None:
        """Answer what has begun, then end."""
        self._last = True
        if self._request is None and self._task is None and not self._waiting and self._ending is None:
            self._close()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()
