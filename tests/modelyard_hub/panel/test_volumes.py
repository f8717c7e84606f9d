"""The page's volumes, and who its buttons work for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from contracts.disks import LATER, NOW, GiB, again, made
from harness import api
from harness.api import Yard, problem
from harness.claims import Claims
from harness.fake_cluster import refuse
from modelyard_hub import sessions
from modelyard_hub.auth import identity_of

ROOT = "/services/modelyard"
TAB = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture
async def there(tmp_path: Path, claims: Claims) -> AsyncIterator[Yard]:
    async with api.yard(tmp_path, disks=claims.disks) as yard:
        yield yard


def browser(yard: Yard, user: str) -> httpx.AsyncClient:
    """Somebody who is signed in to the page."""
    client = yard.client()
    client.cookies.set(
        sessions.SESSION_COOKIE, sessions.write_session(yard.parts.signer, identity_of(yard.hub.users[user]))
    )
    return client


def token(page: str) -> str:
    found = re.search(r'data-token="([^"]*)"', page)
    assert found
    return found[1]


async def test_it_says_size_and_who_has_it(there: Yard, claims: Claims) -> None:
    volume = await made(claims)
    await claims.hold(volume)
    await made(claims, "bobs", "bob")
    await claims.disks.trash(await made(claims, "old<b>".replace("<b>", "")), volume.made_at, volume.made_at, "ada")
    async with browser(there, "ada") as ada:
        page = (await ada.get(f"{ROOT}/", headers=TAB)).text
    assert "ada/<b>data</b>" in page
    assert "notebook-ada on one" in page
    assert "1 GiB" in page
    assert "bobs" not in page
    assert 'data-do="volumes/ada/data/grow"' in page
    assert 'data-do="volumes/ada/data/trash"' not in page  # somebody has it
    assert "kept until" in page


async def test_it_says_what_is_almost_full(there: Yard, claims: Claims) -> None:
    await made(claims)
    who = identity_of(there.hub.users["ada"])
    async with browser(there, "ada") as ada:
        for used, said in ((GiB // 2, False), (GiB * 95 // 100, True)):
            there.parts.shelf.told(who, "ada", "data", used)
            assert ("almost full" in (await ada.get(f"{ROOT}/", headers=TAB)).text) == said


async def test_a_button_grows_it(there: Yard, claims: Claims) -> None:
    volume = await made(claims)
    async with browser(there, "ada") as ada:
        sent = {"x-modelyard": token((await ada.get(f"{ROOT}/", headers=TAB)).text)}
        place = f"{ROOT}/actions/volumes/ada/data"
        grown = await ada.post(f"{place}/grow", json={"etag": volume.etag, "size": "3Gi"}, headers=sent)
        assert grown.status_code == 204, grown.text
        assert (await again(claims, volume)).spec.size == 3 * GiB
        problem(await ada.post(f"{place}/trash", json={"etag": volume.etag}, headers=sent), 412, "StaleWrite")
        taken = await ada.post(f"{place}/snapshot", json={"etag": ""}, headers=sent)
        assert taken.status_code == 204
        now = (await again(claims, volume)).etag
        assert (await ada.post(f"{place}/trash", json={"etag": now}, headers=sent)).status_code == 204
        back = await ada.post(f"{ROOT}/actions/trash/{volume.id}/recover", json={}, headers=sent)
        assert back.status_code == 204
        assert (await again(claims, volume)).status.trashed is None


async def test_the_cookie_alone_changes_nothing(there: Yard, claims: Claims) -> None:
    """Scripts of notebook servers and models, which are of the same origin, can have it sent."""
    volume = await made(claims)
    body = {"etag": volume.etag, "size": "3Gi"}
    place = f"{ROOT}/actions/volumes/ada/data/grow"
    async with browser(there, "ada") as ada, browser(there, "bob") as bob, there.client() as nobody:
        for script in ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, {**TAB, "Sec-Fetch-Dest": "iframe"}):
            assert token((await ada.get(f"{ROOT}/", headers=script)).text) == ""
        opened = (await ada.get(f"{ROOT}/", headers=TAB)).headers["cross-origin-opener-policy"]
        assert opened == "noopener-allow-popups", "nor may who opens the page read it"
        problem(await ada.post(place, json=body), 403, "Forbidden")
        problem(await ada.post(place, json=body, headers={"x-modelyard": "page"}), 403, "Forbidden")
        mine = {"x-modelyard": token((await ada.get(f"{ROOT}/", headers=TAB)).text)}
        theirs = {"x-modelyard": token((await bob.get(f"{ROOT}/", headers=TAB)).text)}
        problem(await ada.post(place, json=body, headers=theirs), 403, "Forbidden")
        problem(await bob.post(place, json=body, headers=theirs), 404, "NotFound")
        problem(await nobody.post(place, json=body, headers=mine), 401, "Unauthenticated")
    assert (await again(claims, volume)).spec.size == GiB


async def test_a_cluster_that_is_away_leaves_the_rest_of_the_page(there: Yard, claims: Claims) -> None:
    claims.cluster.faults["GET persistentvolumeclaims"] = [refuse(500, "not now")]
    async with browser(there, "ada") as ada:
        answer = await ada.get(f"{ROOT}/", headers=TAB)
    assert answer.status_code == 200
    assert "No endpoint yet" in answer.text
    assert "not now" in answer.text


async def test_why_there_are_no_snapshots(there: Yard, claims: Claims) -> None:
    await made(claims)
    claims.cluster.absent.add("volumesnapshots")
    async with browser(there, "ada") as ada:
        page = (await ada.get(f"{ROOT}/", headers=TAB)).text
    assert "The cluster takes no snapshots" in page
    assert "/snapshot" not in page


async def test_what_nobody_owns_any_more_comes_first_for_administrators(there: Yard, claims: Claims) -> None:
    for owner in ("ada", "zoe"):
        await made(claims, "home", owner)
    await claims.disks.trash(await made(claims, "data", "zoe"), NOW, LATER, "zoe")
    said = "Left over: there is no account named zoe"
    for accounts, expected in ((["ada", "root"], 1), (["ada", "zoe"], 0), (None, 0)):
        there.hub.accounts = accounts
        async with browser(there, "root") as root, browser(there, "ada") as ada:
            page = (await root.get(f"{ROOT}/", headers=TAB)).text
            assert page.count("Left over") == page.count(said) == expected, accounts
            assert (page.index("zoe/<b>home</b>") < page.index("ada/<b>home</b>")) == bool(expected)
            assert "Left over" not in (await ada.get(f"{ROOT}/", headers=TAB)).text
