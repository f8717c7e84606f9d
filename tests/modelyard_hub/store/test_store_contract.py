"""What every database must do: the same suite on SQLite and PostgreSQL."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from harness.specs import packages, spec
from modelyard_api.endpoints import EndpointStatus, Event, EventKind, KeyCreate
from modelyard_api.errors import Conflict, InvalidInput, InvalidTraffic, NotFound, StaleWrite
from modelyard_hub.store.key_rows import MOST
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store

ADA = Actor("ada", "10.0.0.7")


async def _next(events: AsyncIterator[Event]) -> Event:
    return await asyncio.wait_for(anext(events), 5)


async def test_created_endpoint_is_read_back_whole(store: Store) -> None:
    written = spec({1: 100}, shared_with=["team"], description="who leaves")
    created = await store.create("ada", "churn", written, packages(1), ADA)

    found = await store.get("ada", "churn")
    assert found == created
    assert found.endpoint.spec == written
    assert found.endpoint.generation == 1
    assert found.endpoint.etag == '"1"'
    assert found.endpoint.created_by == "ada"
    assert found.endpoint.created_at.tzinfo is not None
    assert found.packages == packages(1)
    assert found.stable_history == (1,)


async def test_names_are_taken_per_owner(store: Store) -> None:
    await store.create("ada", "churn", spec(), packages(1), ADA)
    await store.create("bob", "churn", spec(), packages(1), Actor("bob"))
    with pytest.raises(Conflict, match="exists already"):
        await store.create("ada", "churn", spec(), packages(1), ADA)


async def test_list_shows_owned_and_shared(store: Store) -> None:
    await store.create("ada", "one", spec(shared_with=["team", "risk"]), packages(1), ADA)
    await store.create("ada", "two", spec(), packages(1), ADA)
    await store.create("bob", "three", spec(), packages(1), Actor("bob"))

    async def names(owners: set[str] | None, groups: set[str]) -> list[str]:
        return [r.endpoint.name for r in await store.list(owners, groups)]

    assert await names(None, set()) == ["one", "two", "three"]
    assert await names({"ada"}, set()) == ["one", "two"]
    assert await names({"bob"}, {"team", "risk"}) == ["one", "three"]
    assert await names(set(), set()) == []


async def test_a_write_needs_the_generation_it_changes(store: Store) -> None:
    await store.create("ada", "churn", spec(), packages(1), ADA)
    after = await store.write_spec("ada", "churn", spec({1: 90, 2: 10}), 1, ADA, packages(2))
    assert after.endpoint.generation == 2
    assert after.packages == packages(1, 2)
    with pytest.raises(StaleWrite):
        await store.write_spec("ada", "churn", spec({1: 50, 2: 50}), 1, ADA)
    with pytest.raises(NotFound):
        await store.write_spec("ada", "nothing", spec(), 1, ADA)


async def test_a_write_that_changes_nothing_leaves_no_trace(store: Store) -> None:
    await store.create("ada", "churn", spec(), packages(1), ADA)
    before = await store.get("ada", "churn")
    assert await store.write_spec("ada", "churn", before.endpoint.spec, 1, ADA) == before
    assert len(await store.list_audit()) == 1


async def test_of_concurrent_writes_exactly_one_wins(store_url: str) -> None:
    """Two stores, as of two processes, each with connections of its own."""
    first, second = Store(store_url), Store(store_url)
    await asyncio.gather(first.open(), second.open())
    try:
        await first.create("ada", "churn", spec({1: 100}, 1, 2), packages(1, 2), ADA)
        for generation in range(1, 11):
            writes = [
                store.write_spec("ada", "churn", spec({1: share, 2: 100 - share}, 1, 2), generation, ADA)
                for i, store in enumerate((first, second))
                for share in [generation * 4 + 2 * i + 1]
            ]
            results = await asyncio.gather(*writes, return_exceptions=True)
            assert sorted(isinstance(r, StaleWrite) for r in results) == [False, True], results
            assert (await second.get("ada", "churn")).endpoint.generation == generation + 1
        creates = [s.create("ada", "new", spec(), packages(1), ADA) for s in (first, second)]
        results = await asyncio.gather(*creates, return_exceptions=True)
        assert sorted(isinstance(r, Conflict) for r in results) == [False, True], results
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_revisions_are_immutable_and_count_up(store: Store) -> None:
    await store.create("ada", "churn", spec({1: 100}, 1, 3), packages(1, 3), ADA)
    other = spec({1: 100}, 1, 3, revisions=[{"number": 1, "model": "ada.churn", "version": "9"}])
    with pytest.raises(InvalidInput, match=r"spec\.revisions\.0\.version"):
        await store.write_spec("ada", "churn", other, 1, ADA)
    with pytest.raises(InvalidInput, match="lower than the newest"):
        await store.write_spec("ada", "churn", spec({1: 100}, 1, 2, 3), 1, ADA)
    with pytest.raises(InvalidTraffic, match="revision 1 has 100 %"):
        await store.write_spec("ada", "churn", spec({3: 100}), 1, ADA)
    assert (await store.get("ada", "churn")).endpoint.generation == 1


async def test_rollback_goes_back_step_by_step(store: Store) -> None:
    await store.create("ada", "churn", spec({1: 100}), packages(1), ADA)
    await store.write_spec("ada", "churn", spec({1: 100}, 1, 2), 1, ADA, packages(2))
    await store.write_spec("ada", "churn", spec({2: 100}, 1, 2), 2, ADA)
    after = await store.write_spec("ada", "churn", spec({3: 100}, 1, 2, 3), 3, ADA, packages(3))
    assert after.stable_history == (1, 2, 3)
    assert [r.active for r in after.endpoint.spec.revisions] == [False, True, True]

    await store.write_spec("ada", "churn", spec({3: 50, 2: 50}, 1, 2, 3), 4, ADA)
    expected = [3, 2, 1]
    for revision in expected:
        assert (await store.get("ada", "churn")).endpoint.rollback_to == revision
        after = await store.rollback("ada", "churn", ADA)
        assert [(t.revision, t.percent) for t in after.endpoint.spec.traffic] == [(revision, 100)]
        assert after.endpoint.spec.revision(revision).active  # type: ignore[union-attr]
    assert after.endpoint.rollback_to is None
    with pytest.raises(Conflict, match="no earlier revision"):
        await store.rollback("ada", "churn", ADA)


async def test_deleting_then_removing_then_creating_again(store: Store) -> None:
    first = await store.create("ada", "churn", spec(shared_with=["team"]), packages(1), ADA)
    await store.add_key("ada", "churn", KeyCreate(name="ci"), ADA)
    await store.write_status("ada", "churn", EndpointStatus(url="http://x"))
    assert not await store.remove("ada", "churn")
    with pytest.raises(StaleWrite):
        await store.mark_deleting("ada", "churn", 7, ADA)

    deleting = await store.mark_deleting("ada", "churn", 1, ADA)
    assert deleting.endpoint.deleting
    assert deleting.endpoint.generation == 2
    assert await store.mark_deleting("ada", "churn", 1, ADA) == deleting
    for refused in (
        store.create("ada", "churn", spec(), packages(1), ADA),
        store.write_spec("ada", "churn", spec(), 2, ADA),
        store.rollback("ada", "churn", ADA),
        store.add_key("ada", "churn", KeyCreate(name="two"), ADA),
    ):
        with pytest.raises(Conflict, match="being deleted"):
            await refused

    assert await store.remove("ada", "churn")
    assert not await store.remove("ada", "churn")
    with pytest.raises(NotFound):
        await store.get("ada", "churn")
    again = await store.create("ada", "churn", spec(), packages(1), ADA)
    assert again.id > first.id
    assert again.endpoint.status == EndpointStatus()
    assert await store.list_keys("ada", "churn") == ()
    assert await store.list(set(), {"team"}) == ()


async def test_status_is_apart_from_the_desired_state(store: Store) -> None:
    await store.create("ada", "churn", spec(), packages(1), ADA)
    status = EndpointStatus(observed_generation=1, url="http://127.0.0.1/serve/ada/churn")
    assert await store.write_status("ada", "churn", status)
    assert not await store.write_status("ada", "churn", status)
    assert not await store.write_status("ada", "nothing", status)
    found = await store.get("ada", "churn")
    assert found.endpoint.status == status
    assert found.endpoint.generation == 1
    await store.write_spec("ada", "churn", spec(description="new"), 1, ADA)
    assert (await store.get("ada", "churn")).endpoint.status == status


async def test_keys_are_kept_as_digests_only(store: Store) -> None:
    await store.create("ada", "churn", spec(), packages(1), ADA)
    key = await store.add_key("ada", "churn", KeyCreate(name="ci", expires_in=3600), ADA)
    assert key.secret is not None
    assert key.secret.startswith(f"my_{key.id}_")
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).total_seconds() == 3600
    with pytest.raises(Conflict, match="already a key 'ci'"):
        await store.add_key("ada", "churn", KeyCreate(name="ci"), ADA)

    assert await store.list_keys("ada", "churn") == (key.model_copy(update={"secret": None}),)
    (kept,) = await store.key_hashes("ada", "churn")
    assert kept.sha256 == hashlib.sha256(key.secret.encode()).hexdigest()
    assert kept.expires_at == key.expires_at

    with pytest.raises(NotFound):
        await store.remove_key("ada", "churn", "nothing", ADA)
    await store.remove_key("ada", "churn", key.id, ADA)
    assert await store.key_hashes("ada", "churn") == ()
    assert await store.key_hashes("ada", "nothing") == ()
    with pytest.raises(NotFound):
        await store.list_keys("ada", "nothing")


async def test_keys_to_try_an_endpoint_are_forgotten_and_there_are_not_too_many(store: Store) -> None:
    await store.create("ada", "churn", spec(), packages(1), ADA)
    for name, seconds in (("try-it-1", 0), ("try-it-2", 3600), ("ci", 0)):
        await store.add_key("ada", "churn", KeyCreate.model_construct(name=name, expires_in=seconds), ADA)
    await store.add_key("ada", "churn", KeyCreate(name="try-it-3", expires_in=3600), ADA)
    assert [key.name for key in await store.list_keys("ada", "churn")] == ["try-it-2", "ci", "try-it-3"]
    for number in range(3, MOST):
        await store.add_key("ada", "churn", KeyCreate(name=f"k{number}"), ADA)
    with pytest.raises(Conflict, match=f"has {MOST} keys"):
        await store.add_key("ada", "churn", KeyCreate(name="more"), ADA)


async def test_every_change_is_audited(store: Store) -> None:
    await store.create("ada", "churn", spec(), packages(1), ADA)
    await store.write_spec("ada", "churn", spec(description="new"), 1, ADA)
    key = await store.add_key("ada", "churn", KeyCreate(name="ci"), ADA)
    await store.remove_key("ada", "churn", key.id, ADA)
    await store.mark_deleting("ada", "churn", 2, ADA)
    await store.create("bob", "other", spec(), packages(1), Actor("bob"))
    await store.audit(Actor("root", "cli"), "restart", "part/traefik", {"why": "asked"})

    entries = await store.list_audit({"ada"})
    assert [e.action for e in entries] == ["delete", "remove-key", "add-key", "update", "create"]
    assert {(e.who, e.source, e.subject) for e in entries} == {("ada", "10.0.0.7", "endpoint/ada/churn")}
    assert entries[3].detail == {"generation": 2, "description": "new"}
    assert key.secret not in str(entries)
    assert [e.subject for e in await store.list_audit(limit=2)] == ["part/traefik", "endpoint/bob/other"]
    assert len(await store.list_audit(subject="endpoint/bob/other")) == 1


async def test_events_come_in_order_and_resume(store: Store) -> None:
    live = store.events()
    await store.create("ada", "churn", spec(shared_with=["team"]), packages(1), ADA)
    await store.write_spec("ada", "churn", spec(shared_with=["risk"]), 1, ADA)
    await store.mark_deleting("ada", "churn", 2, ADA)
    await store.remove("ada", "churn")

    seen = [await _next(live) for _ in range(4)]
    assert [e.kind for e in seen] == [EventKind.changed] * 3 + [EventKind.deleted]
    assert [e.id for e in seen] == sorted({e.id for e in seen})
    assert seen[1].audience == {"ada", "team", "risk"}  # type: ignore[attr-defined]

    resumed = store.events(after_id=seen[1].id)
    await store.create("ada", "churn", spec(), packages(1), ADA)
    assert [(await _next(resumed)).id for _ in range(3)] == [seen[2].id, seen[3].id, (await _next(live)).id]


async def test_events_end_when_the_store_closes(store_url: str) -> None:
    store = Store(store_url)
    await store.open()
    events = store.events()
    await store.close()
    with pytest.raises(StopAsyncIteration):
        await _next(events)


async def test_everything_survives_a_restart(store_url: str) -> None:
    store = Store(store_url)
    await store.open()
    created = await store.create("ada", "churn", spec(), packages(1), ADA)
    assert await store.load_routes() == ()
    for text in ('{"weights": {}}', '{"weights": {"1": 100}}'):
        await store.save_route("ada", "churn", text)
    long = "a" * 63
    await store.save_route(long, long, "gone")
    await store.save_route(long, long, None)
    await store.save_hub_routes("of others")
    await store.close()

    again = Store(store_url)
    await again.open()
    assert await again.get("ada", "churn") == created
    assert await again.load_routes() == ('{"weights": {"1": 100}}',)
    await again.save_route(long, long, "back")
    assert set(await again.load_routes()) == {'{"weights": {"1": 100}}', "back"}
    events = again.events(after_id=0)
    assert (await _next(events)).name == "churn"
    await again.close()
