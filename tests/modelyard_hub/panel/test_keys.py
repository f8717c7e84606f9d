"""A key from the page, for who is signed in to it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from harness import api
from harness.api import API, Yard, body, problem
from modelyard_hub import sessions
from modelyard_hub.auth import identity_of

ROOT = "/services/modelyard"
TAB = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
BUTTON = 'data-key="ada/churn"'
KEY = f"{ROOT}/actions/endpoints/ada/churn/key"


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with api.yard(tmp_path) as made:
        yield made


def browser(yard: Yard, user: str) -> httpx.AsyncClient:
    """Somebody who is signed in to the page."""
    client = yard.client()
    client.cookies.set(
        sessions.SESSION_COOKIE, sessions.write_session(yard.parts.signer, identity_of(yard.hub.users[user]))
    )
    return client


async def page_of(client: httpx.AsyncClient) -> tuple[str, dict[str, str]]:
    """The page, and the header that its buttons send."""
    text = (await client.get(f"{ROOT}/", headers=TAB)).text
    return text, {"x-modelyard": text.partition('data-token="')[2].partition('"')[0]}


async def published(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        created = await ada.put(f"{API}/endpoints/ada/churn", json=body(), headers={"If-None-Match": "*"})
        assert created.status_code == 201


async def test_who_owns_an_endpoint_gets_a_key_for_a_day(yard: Yard) -> None:
    await published(yard)
    async with browser(yard, "ada") as ada:
        text, token = await page_of(ada)
        assert BUTTON in text
        problem(await ada.post(KEY), 403, "Forbidden")  # a page of somebody else's
        answers = [await ada.post(KEY, headers=token) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].headers["cache-control"] == "no-store"
    made = [answer.json() for answer in answers]
    known = {one.sha256: one for one in await yard.parts.store.key_hashes("ada", "churn")}
    for one in made:
        ends = known[hashlib.sha256(one["secret"].encode()).hexdigest()].expires_at
        assert ends is not None
        assert timedelta(hours=23) < ends - datetime.now(UTC) <= timedelta(days=1)
        assert one["created_by"] == "ada"


async def test_nobody_else_does(yard: Yard) -> None:
    await published(yard)
    for user, status, kind in (("bob", 403, "Forbidden"), ("eve", 404, "NotFound")):
        async with browser(yard, user) as other:
            text, token = await page_of(other)
            assert BUTTON not in text
            problem(await other.post(KEY, headers=token), status, kind)
    assert await yard.parts.store.key_hashes("ada", "churn") == ()
    async with yard.client() as nobody:
        problem(await nobody.post(KEY), 401, "Unauthenticated")
