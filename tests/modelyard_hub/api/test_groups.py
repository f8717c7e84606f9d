"""`/groups`: sweeps and pipelines, checked whole before anything is queued."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api import API, Yard, problem
from harness.runs import notebook, snapshot, spec
from modelyard_api.runs import Declared, RunState, RunStatus

GROUPS = f"{API}/groups"
DECLARED = (Declared(name="depth", default="3"), Declared(name="auc", default="None"))


@pytest.fixture
async def run(yard: Yard) -> dict[str, Any]:
    """What ada's members run."""
    digest, body = snapshot(train__ipynb=notebook("1"))
    async with yard.client("ada") as ada:
        assert (await ada.put(f"{API}/snapshots/{digest}", content=body)).status_code == 204
    return spec(digest, declared=DECLARED).model_dump(mode="json")


def sweep(run: dict[str, Any], **members: Any) -> dict[str, Any]:
    listed = [{"member": f"depth={depth}", "parameters": {"depth": depth}} for depth in (1, 2, 3)]
    return {"name": "depths", "run": run, "members": listed, "parallel": 2, **members}


async def test_a_sweep(yard: Yard, run: dict[str, Any]) -> None:
    async with yard.client("ada") as ada, yard.client("bob") as bob:
        made = await ada.post(GROUPS, json=sweep(run))
        assert made.status_code == 201, made.text
        group = made.json()
        assert made.headers["location"] == f"{GROUPS}/{group['id']}"
        assert (await ada.get(f"{GROUPS}/{group['id']}")).json() == group
        assert [m["parameters"] for m in group["members"]] == [{"depth": 1}, {"depth": 2}, {"depth": 3}]
        runs = (await ada.get(f"{API}/runs?group={group['id']}")).json()["items"]
        assert len(runs) == 3
        assert [g["id"] for g in (await ada.get(GROUPS)).json()["items"]] == [group["id"]]
        problem(await bob.get(f"{GROUPS}/{group['id']}"), 404, "NotFound")
        problem(await bob.delete(f"{GROUPS}/{group['id']}"), 404, "NotFound")
        assert (await bob.get(GROUPS)).json() == {"items": []}
        problem(await ada.post(f"{GROUPS}/{group['id']}/rerun"), 409, "Conflict")
        assert (await ada.delete(f"{GROUPS}/{group['id']}")).status_code == 202
        assert all(r["cancelling"] for r in (await ada.get(f"{API}/runs?group={group['id']}")).json()["items"])


async def test_a_pipeline_in_any_order(yard: Yard, run: dict[str, Any]) -> None:
    members = [
        {"member": "report", "results_of": {"auc": {"member": "train", "result": "auc"}}},
        {"member": "train", "needs": ["load"]},
        {"member": "load", "spec": run},
    ]
    async with yard.client("ada") as ada:
        made = await ada.post(GROUPS, json=sweep(run, kind="pipeline", members=members))
    assert made.status_code == 201, made.text
    assert [(m["member"], m["needs"]) for m in made.json()["members"]] == [
        ("load", []),
        ("train", ["load"]),
        ("report", ["train"]),
    ]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], "members"),
        ([{"member": "a"}, {"member": "a"}], "two are called 'a'"),
        ([{"member": "a", "needs": ["b"]}], "needs 'b', which is none of the members"),
        ([{"member": "a", "needs": ["a"]}], "in a circle: a → a"),
        ([{"member": "a", "needs": ["b"]}, {"member": "b", "needs": ["c"]}, {"member": "c", "needs": ["a"]}], "circle"),
        ([{"member": "a", "parameters": {"depht": 1}}], "member 'a': the notebook has no parameter 'depht'"),
        ([{"member": "ok"}, {"member": "a", "parameters": {"depth": "x"}}], "member 'a': parameter 'depth' must be"),
        (
            [{"member": "b"}, {"member": "a", "parameters": {"auc": 1},
                               "results_of": {"auc": {"member": "b", "result": "auc"}}}],
            "both a parameter and a result",
        ),
        ([{"member": "b"}, {"member": "a", "results_of": {"acu": {"member": "b", "result": "auc"}}}], "'acu'"),
        ([{"member": str(n)} for n in range(1001)], "at most 1000"),
    ],
)  # fmt: skip
async def test_nothing_is_queued_of_what_cannot_work(
    yard: Yard, run: dict[str, Any], members: list[Any], words: str
) -> None:
    async with yard.client("ada") as ada:
        answer = await ada.post(GROUPS, json=sweep(run, members=members))
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"]
    assert await yard.parts.store.list_runs() == ()
    assert await yard.parts.store.groups.list() == ()


async def test_who_runs_it_again_runs_nobody_elses_code(yard: Yard, run: dict[str, Any]) -> None:
    async with yard.client("ada") as ada, yard.client("root") as root:
        made = (await ada.post(GROUPS, json=sweep(run))).json()
        for one in made["members"]:
            await yard.parts.store.write_run_status(one["run"], RunStatus(state=RunState.failed))
        again = await root.post(f"{GROUPS}/{made['id']}/rerun")
        assert again.status_code == 200, again.text
        runs = [(await ada.get(f"{API}/runs/{one['run']}")).json() for one in again.json()["members"]]
    assert {one["id"] for one in runs}.isdisjoint(one["run"] for one in made["members"])
    assert [one["created_by"] for one in runs] == ["ada"] * 3
    assert (await yard.parts.store.list_audit(None))[0].who == "root"


async def test_a_key_that_was_used_for_another_one(yard: Yard, run: dict[str, Any]) -> None:
    async with yard.client("ada") as ada:
        first, same = [await ada.post(GROUPS, json=sweep(run, idempotency_key="k")) for _ in "12"]
        assert same.json()["id"] == first.json()["id"]
        problem(await ada.post(GROUPS, json=sweep(run, idempotency_key="k", parallel=1)), 409, "Conflict")
