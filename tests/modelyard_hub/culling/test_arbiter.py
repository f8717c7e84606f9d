"""The arbiter against servers that answer, that do not, and that know nothing of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from harness.wait import eventually_async
from harness.web import serving
from modelyard_api.activity import Activity
from modelyard_hub.culling.arbiter import Arbiter
from modelyard_hub.culling.policy import Limits
from modelyard_hub.culling.tokens import LASTS, Tokens

LIMITS = Limits(idle=0.3, countdown=0.3, keep=5, keep_limit=60)
SERVER = {"url": "/user/ada/", "full_name": "ada/", "started": "2026-01-01T00:00:00Z"}


@dataclass
class Server:
    """A notebook server's answers. `status` other than 200 is what it answers instead."""

    last: float = field(default_factory=time.time)
    busy: tuple[str, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    told: list[Any] = field(default_factory=list)
    asked: int = 0
    carried: set[str] = field(default_factory=set)
    """What it was sent as Authorization."""
    made: list[tuple[str, Any]] = field(default_factory=list)
    """What JupyterHub was asked tokens by and for."""

    def app(self) -> Starlette:
        where = "/user/ada/modelyard/activity"
        tokens = Route("/hub/api/users/ada/tokens", self._token, methods=["POST"])
        countdown = Route(f"{where}/countdown", self._post, methods=["POST"])
        return Starlette(routes=[Route(where, self._get), countdown, tokens])

    async def _token(self, request: Request) -> Response:
        self.made.append((request.headers["authorization"], await request.json()))
        return JSONResponse({"token": f"narrow-{len(self.made)}"}, 201)

    async def _get(self, request: Request) -> Response:
        self.asked += 1
        self.carried.add(request.headers.get("authorization", ""))
        if self.status != 200:
            return Response(status_code=self.status, headers=self.headers)
        now = time.time()
        return JSONResponse(Activity(now=now, started=0, last=self.last, busy=self.busy).model_dump())

    async def _post(self, request: Request) -> Response:
        self.carried.add(request.headers.get("authorization", ""))
        self.told.append(await request.json())
        return JSONResponse({})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    with serving(server.app()) as address:
        yield address


@pytest.fixture
async def arbiter(url: str) -> AsyncIterator[Arbiter]:
    known = {"base_url": f"{url}/hub/api", "headers": {"Authorization": "token of-the-service"}}
    async with httpx.AsyncClient(trust_env=False) as http, httpx.AsyncClient(trust_env=False, **known) as hub:
        yield Arbiter(http, Tokens(hub), url, LIMITS)


async def ask(arbiter: Arbiter, inactive: float = 0, **changed: str) -> bool:
    return await arbiter(inactive=timedelta(seconds=inactive), inactive_limit=LIMITS.idle, server=SERVER | changed)


async def test_an_idle_one_is_told_first_and_ended_then(arbiter: Arbiter, server: Server) -> None:
    async def ends() -> bool:
        return await ask(arbiter)

    await eventually_async(ends, timeout=10, interval=0.02)
    assert time.time() - server.last >= LIMITS.idle + LIMITS.countdown
    assert server.told == [{"seconds": LIMITS.countdown, "keep": LIMITS.keep}]


async def test_work_during_the_countdown_saves_it_and_the_next_countdown_is_whole(
    arbiter: Arbiter, server: Server
) -> None:
    server.last = time.time() - 10
    assert not await ask(arbiter)
    assert len(server.told) == 1
    server.last = time.time() + LIMITS.countdown  # at work until its end

    async def asked_again() -> bool:
        assert not await ask(arbiter)
        return server.asked >= 2

    await eventually_async(asked_again, interval=0.02)
    server.last = time.time() - 10

    async def told_again() -> bool:
        assert not await ask(arbiter)
        return len(server.told) == 2

    await eventually_async(told_again, interval=0.02)


async def test_one_at_work_is_never_ended_and_rarely_asked(arbiter: Arbiter, server: Server) -> None:
    server.last, server.busy = 0, ("a.ipynb is computing",)
    for _ in range(20):
        assert not await ask(arbiter, inactive=9999)
    assert server.asked == 1
    assert not server.told


@pytest.mark.parametrize("status", [403, 404, 502, 503])
async def test_one_that_does_not_answer_may_be_at_work(arbiter: Arbiter, server: Server, status: int) -> None:
    server.status = status
    assert not await ask(arbiter, inactive=9999)


async def test_one_without_our_extension_is_ended_as_jupyterhub_knows_it(arbiter: Arbiter, server: Server) -> None:
    server.status, server.headers = 404, {"X-JupyterHub-Version": "6.1.1"}
    assert not await ask(arbiter, inactive=0.1)
    assert await ask(arbiter, inactive=9999)


async def test_a_new_start_begins_anew(arbiter: Arbiter, server: Server) -> None:
    server.last = time.time() - 10
    assert not await ask(arbiter)
    assert not await ask(arbiter, started="2026-01-02T00:00:00Z")
    assert len(server.told) == 2


async def test_a_server_is_sent_a_token_that_opens_it_alone_and_the_same_again(
    arbiter: Arbiter, server: Server
) -> None:
    server.last = time.time() - 10
    assert not await ask(arbiter)
    assert not await ask(arbiter, started="2026-01-02T00:00:00Z")
    assert (server.asked, len(server.told)) == (2, 2)
    assert server.carried == {"token narrow-1"}
    ((by, asked),) = server.made
    assert by == "token of-the-service"
    assert (asked["scopes"], asked["expires_in"]) == (["access:servers!server=ada/"], LASTS)


async def test_a_token_that_its_user_took_back_is_not_tried_again(arbiter: Arbiter, server: Server) -> None:
    server.status = 403
    assert not await ask(arbiter)
    server.status = 200
    assert not await ask(arbiter, started="2026-01-02T00:00:00Z")
    assert server.carried == {"token narrow-1", "token narrow-2"}
