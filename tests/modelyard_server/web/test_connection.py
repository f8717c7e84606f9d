"""Connections over a socketpair: what is cut, what is held in memory, what is answered, what is counted."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from harness.wait import eventually_async
from modelyard_server.web.connection import Connection
from modelyard_server.web.listener import Limits, Listener
from modelyard_server.web.messages import Answer, Request

POST = b"POST / HTTP/1.1\r\nhost: x\r\n"


class Application:
    """Answers with `size` bytes, at once or when `held` is set, and keeps what it was asked."""

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self.asked: list[Request] = []
        self.refused: list[tuple[bytes, bytes, int]] = []
        self.held: asyncio.Event | None = None

    def admit(self, request: Request) -> Answer | None:
        return None

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        self.asked.append(request)
        answer = Answer(200, b"x" * self.size)
        return answer if self.held is None or request.method != b"POST" else self._later(self.held, answer)

    async def _later(self, held: asyncio.Event, answer: Answer) -> Answer:
        await held.wait()
        return answer

    def malformed(self, request: Request, status: int, detail: str) -> Answer:
        self.refused.append((request.method, request.target, status))
        return Answer(status, detail.encode(), last=True)


class Opened:
    """A listener with one connection, and the caller's end of it."""

    def __init__(self, app: Application, limits: Limits) -> None:
        self.app = app
        self.listener = Listener(app, limits)
        self.caller, self.ours = socket.socketpair()
        self.caller.setblocking(False)

    async def open(self) -> Connection:
        self.connection = Connection(self.listener)
        await asyncio.get_running_loop().create_unix_connection(lambda: self.connection, sock=self.ours)
        return self.connection

    async def ask(self, *parts: bytes) -> None:
        for part in parts:
            await asyncio.get_running_loop().sock_sendall(self.caller, part)

    async def read(self, size: int = 65536) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.caller, size), 10)


Test = Callable[[Opened], Coroutine[Any, Any, None]]


def run(test: Test, app: Application | None = None, limits: Limits = Limits(body=1_000_000)) -> None:
    """On the loop that a server has."""

    async def opened() -> None:
        found = Opened(app or Application(), limits)
        connection = await found.open()
        try:
            await test(found)
        finally:
            connection.abort()
            found.caller.close()

    uvloop.run(opened())


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"OPTIONS"])
@pytest.mark.parametrize("announced", [b"content-length: 900000", b"transfer-encoding: chunked"])
def test_refuses_bodies_of_what_has_none(method: bytes, announced: bytes) -> None:
    async def test(opened: Opened) -> None:
        await opened.ask(method + b" / HTTP/1.1\r\nhost: x\r\n" + announced + b"\r\n\r\n")
        assert (await opened.read()).startswith(b"HTTP/1.1 400 ")
        assert opened.app.asked == []

    run(test)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx: ",
        POST + b"transfer-encoding: chunked\r\n\r\n1;x=",
        POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx: ",
        b"GET /",
    ],
)
def test_bounds_a_header_that_never_ends(head: bytes) -> None:
    async def test(opened: Opened) -> None:
        connection = opened.connection
        connection.data_received(head)
        for _ in range(40):
            connection.data_received(b"x" * 1024)
        assert (await opened.read()).startswith(b"HTTP/1.1 431 ")

    run(test)


def test_many_heads_in_one_part_are_no_large_head() -> None:
    async def test(opened: Opened) -> None:
        ask = b"GET / HTTP/1.1\r\nx: " + b"x" * 1000 + b"\r\n\r\n"
        opened.connection.data_received(ask * 100 + ask[:900])
        opened.connection.data_received(ask[900:])
        assert len(opened.app.asked) == 101

    run(test)


def test_many_small_parts_are_held_as_few() -> None:
    async def test(opened: Opened) -> None:
        body = bytes(range(256)) * 40
        opened.connection.data_received(POST + b"transfer-encoding: chunked\r\n\r\n")
        for byte in body:
            opened.connection.data_received(b"1\r\n%c\r\n" % byte)
        assert len(opened.connection._parts) == 2
        opened.connection.data_received(b"0\r\n\r\n")
        assert opened.app.asked[0].body == body

    run(test)


LARGE = 8_000_000


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_a_large_answer_is_written_as_long_as_it_is_taken(head: bytes) -> None:
    async def test(opened: Opened) -> None:
        await opened.ask(head)
        got = len(await opened.read(1000))
        now = time.perf_counter()
        opened.connection.sweep(now)
        left = opened.connection._transport.get_write_buffer_size
        for seconds in range(5, 100, 5):  # five seconds pass between looks
            before = left()
            while left() == before > 0:
                got += len(await opened.read(400_000))
            opened.connection.sweep(now + seconds)
            if not left():
                break
        assert seconds > 20
        while got < LARGE:
            part = await opened.read()
            assert part, f"{got} bytes came"
            got += len(part)

    run(test, Application(LARGE), Limits(body=1000, patience=8))


@pytest.mark.parametrize("end", [b"connection: close\r\n\r\n", b"\r\n"])
def test_an_answer_that_nobody_takes_is_given_up(end: bytes) -> None:
    async def test(opened: Opened) -> None:
        await opened.ask(b"GET / HTTP/1.1\r\nhost: x\r\n" + end)
        await opened.read(1000)
        now = time.perf_counter()
        opened.connection.sweep(now + 0.1)
        opened.connection.sweep(now + 7)
        assert opened.listener._connections
        opened.connection.sweep(now + 20)

        async def gone() -> bool:
            return not opened.listener._connections

        await eventually_async(gone, timeout=5)

    run(test, Application(LARGE), Limits(body=1000, patience=8))


def test_refuses_once() -> None:
    async def test(opened: Opened) -> None:
        await opened.ask(POST + b"transfer-encoding: chunked\r\n\r\n4\r\nxxxx\r\nno chunk at all\r\n")
        found = await opened.read()
        assert found.startswith(b"HTTP/1.1 413 ")
        assert found.count(b"HTTP/1.1") == 1
        opened.connection._refuse(400, "again")
        assert opened.listener.in_flight == 0

    run(test, limits=Limits(body=2))


def test_counts_predictions_alone() -> None:
    async def test(opened: Opened) -> None:
        opened.app.held = asyncio.Event()
        get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        await opened.ask((POST + b"content-length: 0\r\n\r\n") * 2 + get * 3)

        async def begun() -> bool:
            return len(opened.connection._waiting) == 4

        await eventually_async(begun)
        assert opened.listener.in_flight == 2
        opened.connection.abort()

        async def gone() -> bool:
            return not opened.listener._connections

        await eventually_async(gone)
        assert opened.listener.in_flight == 0

    run(test)


def test_trailers_are_no_headers() -> None:
    async def test(opened: Opened) -> None:
        head = POST + b"authorization: mine\r\ntransfer-encoding: chunked\r\n\r\n"
        await opened.ask(head + b"1\r\nx\r\n0\r\nauthorization: other\r\ncontent-encoding: gzip\r\n\r\n")
        await opened.read()
        headers = opened.app.asked[0].headers
        assert headers[b"authorization"] == b"mine"
        assert b"content-encoding" not in headers

    run(test)
