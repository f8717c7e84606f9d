"""What every database must do with groups of runs: the same suite on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.runs import spec
from modelyard_api.errors import Conflict, NotFound
from modelyard_api.groups import GroupWrite, MemberWrite
from modelyard_api.runs import Run, RunState, RunStatus
from modelyard_hub.store.group_store import Planned
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store

ADA = Actor("ada", "10.0.0.7")


def wanted(*names: str, **members: Any) -> GroupWrite:
    return GroupWrite(
        **{"name": "depths", "run": spec(), "members": [MemberWrite(member=name) for name in names], **members}
    )


def planned(*names: str) -> list[Planned]:
    return [Planned(name, spec(parameters={"depth": place})) for place, name in enumerate(names)]


CHAIN = [
    Planned("load", spec()),
    Planned("train", spec(), ("load",), {"rows": ("load", "rows")}),
    Planned("report", spec(parameters={"title": "x"}), ("train", "load"), {"auc": ("train", "auc")}),
]


async def by_member(store: Store, group: str) -> dict[str, Run]:
    """The newest of each."""
    return {run.member or "": run for run in reversed(await store.list_runs(RunQuery(group=group)))}


async def end(store: Store, run: Run, state: RunState, **results: Any) -> None:
    assert await store.write_run_status(run.id, RunStatus(state=state, results=results))


async def test_a_sweep_through_its_life(store: Store) -> None:
    made = await store.groups.create("team", wanted("b", "a", parallel=2), planned("b", "a"), ADA)
    assert (made.owner, made.name, made.kind, made.parallel, made.created_by) == ("team", "depths", "sweep", 2, "ada")
    assert (made.state, made.counts) == ("running", {RunState.queued: 2})
    assert [(m.member, m.parameters) for m in made.members] == [("b", {"depth": 0}), ("a", {"depth": 1})]
    assert await store.run_limits() == {made.id: 2}
    runs = await by_member(store, made.id)
    assert all((run.owner, run.created_by, run.group) == ("team", "ada", made.id) for run in runs.values())
    await end(store, runs["a"], RunState.succeeded, auc=0.9)
    await end(store, runs["b"], RunState.failed)
    found = await store.groups.get(made.id)
    assert (found.state, found.counts) == ("failed", {RunState.succeeded: 1, RunState.failed: 1})
    assert found.members[1].results == {"auc": 0.9}
    (listed,) = await store.groups.list({"team"})
    assert listed == found.model_copy(update={"members": ()})
    assert await store.groups.list({"ada"}) == ()
    assert await store.run_limits() == {}
    with pytest.raises(NotFound):
        await store.groups.get("nothing")
    assert [e.action for e in await store.list_audit({"team"}) if e.subject.startswith("group/")] == ["sweep.submit"]


async def test_of_two_with_one_key_one_is_a_group(store_url: str) -> None:
    first, second = Store(store_url), Store(store_url)
    await asyncio.gather(first.open(), second.open())
    try:
        one = wanted("a", idempotency_key="k")
        work = [s.groups.create("ada", one, planned("a"), ADA) for s in (first, second) for _ in range(4)]
        made = [g for g in await asyncio.gather(*work, return_exceptions=True) if not isinstance(g, Conflict)]
        assert len({g.id for g in made if not isinstance(g, BaseException)}) == 1
        assert len(await first.list_runs()) == 1
        assert len(await first.groups.list()) == 1
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_members_need_others_by_the_ids_of_their_runs(store: Store) -> None:
    made = await store.groups.create("ada", wanted("load", "train", "report", kind="pipeline"), CHAIN, ADA)
    runs = await by_member(store, made.id)
    assert runs["train"].spec.needs == (runs["load"].id,)
    assert runs["report"].spec.needs == (runs["train"].id, runs["load"].id)
    assert runs["report"].spec.results_of["auc"].run == runs["train"].id
    assert [m.needs for m in made.members] == [(), ("load",), ("train", "load")]


async def test_again_from_what_failed(store: Store) -> None:
    made = await store.groups.create("ada", wanted("load", "train", "report", kind="pipeline"), CHAIN, ADA)
    with pytest.raises(Conflict, match="has not ended"):
        await store.groups.rerun(made.id, ADA)
    first = await by_member(store, made.id)
    await end(store, first["load"], RunState.succeeded, rows=10)
    await end(store, first["train"], RunState.failed)
    await end(store, first["report"], RunState.failed)

    again = await store.groups.rerun(made.id, ADA)
    assert again.state == "running"
    second = await by_member(store, made.id)
    assert second["load"].id == first["load"].id
    assert second["train"].spec.needs == (first["load"].id,)
    assert second["train"].spec.results_of["rows"].run == first["load"].id
    assert second["report"].spec.needs == (second["train"].id, first["load"].id)
    assert second["report"].spec.results_of["auc"].run == second["train"].id
    assert second["report"].spec.parameters == {"title": "x"}
    assert [m.member for m in again.members] == ["load", "train", "report"]

    await end(store, second["train"], RunState.succeeded, auc=0.9)
    await end(store, second["report"], RunState.cancelled)
    await store.groups.rerun(made.id, ADA)
    third = await by_member(store, made.id)
    assert third["report"].spec.needs == (second["train"].id, first["load"].id)
    await end(store, third["report"], RunState.succeeded)
    assert (await store.groups.get(made.id)).state == "succeeded"
    with pytest.raises(Conflict, match="all members"):
        await store.groups.rerun(made.id, ADA)
    assert len(await store.list_runs(RunQuery(group=made.id))) == 6


async def test_cancelling_it_cancels_what_has_not_ended(store: Store) -> None:
    made = await store.groups.create("ada", wanted("a", "b"), planned("a", "b"), ADA)
    runs = await by_member(store, made.id)
    await end(store, runs["a"], RunState.succeeded)
    await store.groups.cancel(made.id, ADA)
    after = await by_member(store, made.id)
    assert (after["a"].cancelling, after["b"].cancelling) == (False, True)


async def test_members_that_run_again_run_as_before_whoever_asks(store: Store) -> None:
    """Else a notebook of one is given a token of the other."""
    made = await store.groups.create("team", wanted("a", "b"), planned("a", "b"), ADA)
    for _ in "12":
        for run in (await by_member(store, made.id)).values():
            await end(store, run, RunState.failed)
        await store.groups.rerun(made.id, Actor("root"))
        assert {run.created_by for run in (await by_member(store, made.id)).values()} == {"ada"}
    told = [(e.who, e.action) for e in await store.list_audit({"team"}) if e.subject.startswith("group/")]
    assert told == [("root", "sweep.rerun"), ("root", "sweep.rerun"), ("ada", "sweep.submit")]


async def test_a_key_stands_for_one_group(store: Store) -> None:
    one = wanted("a", "b", idempotency_key="k")
    made = await store.groups.create("ada", one, planned("a", "b"), ADA)
    named = one.model_copy(update={"owner": "ada"})
    assert (await store.groups.create("ada", named, planned("a", "b"), ADA)).id == made.id
    others = [
        wanted("b", "a", idempotency_key="k"),
        wanted("a", "b", idempotency_key="k", name="other"),
        wanted("a", "b", idempotency_key="k", parallel=1),
        wanted("a", "b", idempotency_key="k", run=spec(parameters={"depth": 9})),
    ]
    for other in others:
        with pytest.raises(Conflict, match=f"'k' stands for group {made.id}"):
            await store.groups.create("ada", other, planned("a", "b"), ADA)
    assert (await store.groups.create("bob", others[0], planned("a"), Actor("bob"))).id != made.id
    assert len(await store.list_runs(RunQuery(group=made.id))) == 2


async def test_a_member_that_needs_a_removed_run_says_so(store: Store) -> None:
    made = await store.groups.create("ada", wanted("load", "train", "report", kind="pipeline"), CHAIN, ADA)
    runs = await by_member(store, made.id)
    await end(store, runs["load"], RunState.succeeded, rows=10)
    for name in ("train", "report"):
        await end(store, runs[name], RunState.failed)
    await store.removal.mark(runs["load"].id, ADA)
    with pytest.raises(Conflict, match="a run that train needs was removed"):
        await store.groups.rerun(made.id, ADA)
    await store.removal.forget(runs["load"].id)
    with pytest.raises(Conflict, match="a run that train needs was removed"):
        await store.groups.rerun(made.id, ADA)


async def test_a_group_goes_with_the_last_of_its_runs(store: Store) -> None:
    """And frees its key, as a run does."""
    one = wanted("a", idempotency_key="k")
    made = await store.groups.create("ada", one, planned("a"), ADA)
    kept = await store.groups.create("ada", wanted("a"), planned("a"), ADA)
    run = (await by_member(store, made.id))["a"]
    await end(store, run, RunState.failed)
    await store.removal.mark(run.id, ADA)
    with pytest.raises(NotFound):
        await store.groups.get(made.id)
    with pytest.raises(NotFound):
        await store.groups.rerun(made.id, ADA)
    assert [group.id for group in await store.groups.list()] == [kept.id]
    assert (await store.groups.create("ada", one, planned("a"), ADA)).id != made.id
