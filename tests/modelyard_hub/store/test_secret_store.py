"""Secrets as the store keeps them: the same on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from modelyard_api.errors import NotFound
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store

ADA, BOB = Actor("ada", "10.0.0.7"), Actor("bob")


async def test_set_and_set_again(store: Store) -> None:
    first = await store.secrets.put("team", "db", "sealed-1", "the warehouse", ADA)
    assert (first.owner, first.name, first.description, first.version) == ("team", "db", "the warehouse", 1)
    second = await store.secrets.put("team", "db", "sealed-2", "", BOB)
    assert (second.version, second.created_by, second.updated_by) == (2, "ada", "bob")
    assert second.created_at == first.created_at <= second.updated_at
    assert await store.secrets.get("team", "db") == second
    assert await store.secrets.sealed("team", "db") == "sealed-2"
    entries = await store.list_audit({"team"})
    assert [(e.who, e.action, e.subject, e.detail) for e in entries] == [
        ("bob", "secret.set", "secret/team/db", {}),
        ("ada", "secret.set", "secret/team/db", {}),
    ]


async def test_whose_they_are(store: Store) -> None:
    for owner, name in (("bob", "a"), ("ada", "b"), ("ada", "a")):
        await store.secrets.put(owner, name, f"{owner}-{name}", "", ADA)
    assert [(s.owner, s.name) for s in await store.secrets.list()] == [("ada", "a"), ("ada", "b"), ("bob", "a")]
    assert [(s.owner, s.name) for s in await store.secrets.list({"bob", "team"})] == [("bob", "a")]
    await store.secrets.remove("ada", "a", BOB)
    for asked in (
        store.secrets.get("ada", "a"),
        store.secrets.sealed("ada", "a"),
        store.secrets.remove("ada", "a", BOB),
    ):
        with pytest.raises(NotFound, match="no secret ada/a"):
            await asked
    assert sorted(await store.secrets.all_sealed()) == [("ada", "b", "ada-b"), ("bob", "a", "bob-a")]


async def test_sealed_anew_only_where_nobody_set_it_meanwhile(store: Store) -> None:
    await store.secrets.put("ada", "db", "old", "", ADA)
    assert await store.secrets.reseal("ada", "db", "old", "new")
    assert not await store.secrets.reseal("ada", "db", "old", "newer")
    assert await store.secrets.sealed("ada", "db") == "new"
