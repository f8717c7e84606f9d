"""How requests to the REST API are sent: who asks, what is asked again while nobody answers, and what errors become."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from modelyard import config
from modelyard.errors import StorageFull, Unavailable, error_of

_LONGEST_PAUSE = 1.0
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Request:
    """One request. `path` is a whole URL, or begins with / below the REST API. `token` replaces the hub token."""

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] | None = None
    token: str | None = None

    @property
    def repeatable(self) -> bool:
        """Whether a lost answer may be asked for again: reads, and writes that a precondition protects."""
        return self.method in ("GET", "PUT", "DELETE") or any(h.startswith("If-") for h in self.headers or {})


class Transport:
    """Connections to one Modelyard, in one person's name.

    `url` and `token`: else from the environment, see `modelyard.config`. `patience`: seconds during which a request is
    repeated while Modelyard cannot be reached, such as while a part of it restarts.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, patience: float = 2.0) -> None:
        self.connection = config.connection(url, token)
        self.patience = patience
        self._told: Callable[[Unavailable], None] | None = None
        timeout = httpx.Timeout(60.0, connect=5.0)
        self._http = httpx.AsyncClient(timeout=timeout, limits=httpx.Limits(max_connections=32))
        self._shared: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    def patient(self, seconds: float, told: Callable[[Unavailable], None] | None = None) -> Self:
        """The same client, with another patience; `told` hears why it waits, each time that it does."""
        other = copy.copy(self)
        other.patience = seconds
        other._told = told
        return other

    async def get(self, path: str, kind: type[M]) -> M:
        """The resource at `path`."""
        return await self.fetch(Request("GET", path), kind)

    async def fetch(self, request: Request, kind: type[M]) -> M:
        """The answer to `request`, as `kind`."""
        return kind.model_validate_json((await self.send(request)).content)

    async def send(self, request: Request) -> httpx.Response:
        """The answer to `request`; other than 2xx raises. Repeated for `patience` seconds while nobody answers."""
        deadline = time.monotonic() + self.patience
        pause = 0.1
        while True:
            try:
                return await self._once(request)
            except Unavailable as error:
                hopeless = isinstance(error, StorageFull) or not (request.repeatable or error.extra.get("unsent"))
                if hopeless or time.monotonic() + pause > deadline:
                    raise
                if self._told is not None:
                    self._told(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _once(self, request: Request) -> httpx.Response:
        url = request.path if request.path.startswith("http") else self.connection.api + request.path
        headers = {"Authorization": f"Bearer {request.token or self.connection.token}", **(request.headers or {})}
        content = request.content
        if request.body is not None:
            content = json.dumps(request.body, allow_nan=False).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            answer = await self._http.request(
                request.method, url, params=request.query, content=content, headers=headers
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._unreachable(error) from error
        except httpx.HTTPError as error:
            what = f"{request.method} {url}"
            raise Unavailable(f"{what}: the connection broke ({type(error).__name__}).") from error
        if answer.is_success:
            return answer
        raise error_of(answer.status_code, answer.content, f"{request.method} {httpx.URL(url).path}")

    def _unreachable(self, error: Exception) -> Unavailable:
        url = self.connection.reach
        cause = str(error) or type(error).__name__
        return Unavailable(
            f"nothing answers at {url} ({cause})",
            remedy=f"Is it running (`make up`), and is {config.URL} right?",
            unsent=True,
        )
