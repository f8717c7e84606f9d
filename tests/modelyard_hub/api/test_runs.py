"""`/runs`: submitted, listed, cancelled; what is wrong is refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api import API, Yard, problem
from harness.runs import notebook, snapshot, spec
from modelyard_api.runs import (
    NOTEBOOK,
    PROGRESS,
    Declared,
    Progress,
    RunReport,
    RunSpec,
    RunState,
    RunStatus,
    attempt_folder,
)
from modelyard_api.tasks import RESULTS, shard_output
from modelyard_hub.kernels import LocalKernels

DECLARED = (
    Declared(name="depth", default="3"),
    Declared(name="rate", type="float", default="0.1"),
    Declared(name="anything", default="None"),
)


@pytest.fixture
async def taken(yard: Yard) -> str:
    """A snapshot of ada's."""
    digest, body = snapshot(train__ipynb=notebook("1"))
    async with yard.client("ada") as ada:
        answer = await ada.put(f"{API}/snapshots/{digest}", content=body)
        assert answer.status_code == 204, answer.text
    return digest


def body(spec: RunSpec, **members: Any) -> dict[str, Any]:
    return {"spec": spec.model_dump(mode="json"), **members}


async def test_a_run_is_submitted_shown_and_cancelled(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada:
        made = await ada.post(f"{API}/runs", json=body(spec(taken, parameters={"depth": 4}, declared=DECLARED)))
        assert made.status_code == 201, made.text
        run = made.json()
        assert made.headers["location"] == f"{API}/runs/{run['id']}"
        assert (run["owner"], run["created_by"], run["status"]["state"]) == ("ada", "ada", "queued")
        assert (await ada.get(f"{API}/runs/{run['id']}")).json() == run
        assert [r["id"] for r in (await ada.get(f"{API}/runs")).json()["items"]] == [run["id"]]
        assert (await ada.get(f"{API}/runs/{run['id']}/input")).content[:2] == b"PK"
        cancelled = await ada.delete(f"{API}/runs/{run['id']}")
        assert (cancelled.status_code, cancelled.json()["cancelling"]) == (202, True)


async def test_runs_are_found_by_results_and_submitting_says_what_it_answers(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada:
        for auc in (0.8, 0.95):
            run = (await ada.post(f"{API}/runs", json=body(spec(taken)))).json()["id"]
            await yard.parts.store.write_run_status(run, RunStatus(state=RunState.succeeded, results={"auc": auc}))
        asked = {"result": ["auc>0.9", "auc<1"]}
        assert [r["id"] for r in (await ada.get(f"{API}/runs", params=asked)).json()["items"]] == [run]
        problem(await ada.get(f"{API}/runs", params={"result": "auc"}), 422, "InvalidInput")
    answers = yard.app.openapi()["paths"][f"{API}/runs"]["post"]["responses"]
    assert [status for status in answers if status < "300"] == ["201"]


async def test_one_that_has_ended_is_removed_when_it_is_asked_for(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada, yard.client("bob") as bob:
        run = (await ada.post(f"{API}/runs", json=body(spec(taken), idempotency_key="k"))).json()["id"]
        assert "has not ended" in problem(await ada.delete(f"{API}/runs/{run}?remove=true"), 409, "Conflict")["detail"]
        await yard.parts.store.write_run_status(run, RunStatus(state=RunState.succeeded))
        assert (await ada.delete(f"{API}/runs/{run}")).status_code == 202
        assert (await ada.get(f"{API}/runs/{run}")).status_code == 200, "a cancel that comes late removes nothing"
        problem(await bob.delete(f"{API}/runs/{run}?remove=true"), 404, "NotFound")
        assert (await ada.delete(f"{API}/runs/{run}?remove=true")).status_code == 202
        for path in ("", "/logs", "/notebook", "/input"):
            problem(await ada.get(f"{API}/runs/{run}{path}"), 404, "NotFound")
        assert (await ada.get(f"{API}/runs")).json()["items"] == []
        problem(await ada.delete(f"{API}/runs/{run}?remove=true"), 404, "NotFound")
        assert (await yard.parts.store.list_audit())[0].action == "remove"


async def test_one_key_is_one_run(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada:
        first, second = [await ada.post(f"{API}/runs", json=body(spec(taken), idempotency_key="k")) for _ in "12"]
        assert first.json()["id"] == second.json()["id"]
        other = await ada.post(f"{API}/runs", json=body(spec(taken, priority=3), idempotency_key="k"))
        problem(other, 409, "Conflict")


async def test_others_see_nothing_of_it(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada, yard.client("bob") as bob, yard.client("root") as root:
        run = (await ada.post(f"{API}/runs", json=body(spec(taken)))).json()["id"]
        for answer in (
            await bob.get(f"{API}/runs/{run}"),
            await bob.get(f"{API}/runs/{run}/input"),
            await bob.delete(f"{API}/runs/{run}"),
        ):
            problem(answer, 404, "NotFound")
        assert (await bob.get(f"{API}/runs")).json()["items"] == []
        assert len((await root.get(f"{API}/runs")).json()["items"]) == 1
        refused = await bob.post(f"{API}/runs", json=body(spec(taken)))
        assert "no snapshot" in problem(refused, 422, "InvalidInput")["detail"], "a snapshot is its owner's"
    async with yard.client("ada-reads") as reads:
        problem(await reads.post(f"{API}/runs", json=body(spec(taken))), 403, "Forbidden")


async def test_a_run_of_a_group_is_its_members(yard: Yard) -> None:
    digest, content = snapshot(train__ipynb=notebook("1"))
    async with yard.client("ada") as ada, yard.client("bob") as bob, yard.client("eve") as eve:
        assert (await ada.put(f"{API}/snapshots/{digest}?owner=team", content=content)).status_code == 204
        run = (await ada.post(f"{API}/runs", json=body(spec(digest), owner="team"))).json()
        assert (run["owner"], run["created_by"]) == ("team", "ada")
        assert (await bob.delete(f"{API}/runs/{run['id']}")).status_code == 202
        problem(await eve.post(f"{API}/runs", json=body(spec(digest), owner="team")), 403, "Forbidden")


@pytest.mark.parametrize(
    ("parameters", "name", "said"),
    [
        ({"dept": 3}, "dept", "Did you mean 'depth'?"),
        ({"depth": "3"}, "depth", "must be of type int"),
        ({"depth": 3.5}, "depth", "must be of type int"),
        ({"depth": True}, "depth", "must be of type int"),
        ({"rate": "fast"}, "rate", "must be of type float"),
    ],
)
async def test_parameters_are_checked_first(
    yard: Yard, taken: str, parameters: dict[str, Any], name: str, said: str
) -> None:
    async with yard.client("ada") as ada:
        answer = await ada.post(f"{API}/runs", json=body(spec(taken, parameters=parameters, declared=DECLARED)))
        found = problem(answer, 422, "InvalidParameter")
        assert repr(name) in found["detail"]
        assert found["field"] == name
        assert said in found["detail"] + found["remedy"]
        assert (await ada.get(f"{API}/runs")).json()["items"] == []


async def test_what_fits_passes(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada:
        given = {"depth": 7, "rate": 1, "anything": [1, "two"]}
        answer = await ada.post(f"{API}/runs", json=body(spec(taken, parameters=given, declared=DECLARED)))
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"needs": ("0123456789abcdef",)}, "there is no run 0123456789abcdef"),
        ({"resources": {"cpu": 200, "memory": 2**30}}, "more cpu than any profile allows"),
        ({"resources": None, "profile": "huge"}, "there is no profile 'huge'"),
    ],
)
async def test_what_cannot_be_is_refused(yard: Yard, taken: str, members: dict[str, Any], said: str) -> None:
    async with yard.client("ada") as ada:
        answer = await ada.post(f"{API}/runs", json=body(spec(taken, **members)))
        assert answer.status_code == 422
        assert said in answer.json()["detail"]


async def test_a_size_left_out_is_the_profiles(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada:
        run = (await ada.post(f"{API}/runs", json=body(spec(taken, resources=None)))).json()
        assert run["spec"]["resources"]["memory"] > 0
        assert run["spec"]["profile"]


async def test_a_kernel_that_is_not_there_is_said_at_submit(yard: Yard, taken: str) -> None:
    object.__setattr__(yard.parts, "kernels", LocalKernels())
    wants = spec(taken).model_dump(mode="json")
    wants["notebook"]["kernel"] = "julia-9"
    async with yard.client("ada") as ada:
        found = problem(await ada.post(f"{API}/runs", json={"spec": wants}), 422, "InvalidInput")
        assert "no kernel 'julia-9'" in found["detail"]
        assert "python3" in found["remedy"]
        assert (await ada.post(f"{API}/runs", json=body(spec(taken)))).status_code == 201


async def test_a_snapshot_is_what_its_digest_says_and_not_too_large(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        problem(await ada.put(f"{API}/snapshots/{'0' * 64}", content=b"other"), 422, "InvalidInput")
        large = b"0" * (yard.parts.settings.run_snapshot_max + 1)
        problem(await ada.put(f"{API}/snapshots/{'0' * 64}", content=large), 413, "TooLarge")


async def test_log_and_notebook_are_those_of_the_attempt(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada, yard.client("bob") as bob:
        run = (await ada.post(f"{API}/runs", json=body(spec(taken)))).json()["id"]
        assert (await ada.get(f"{API}/runs/{run}/logs")).json() == {"attempt": 0, "lines": []}
        problem(await ada.get(f"{API}/runs/{run}/notebook"), 404, "NotFound")
        for attempt in (1, 2):
            folder = yard.parts.artifacts.place(attempt_folder("ada", run, attempt))
            text = notebook(f"print({attempt})")
            await yard.parts.artifacts.write(folder, f"{RESULTS}/{NOTEBOOK}", text.encode())
            await yard.parts.artifacts.write(folder, "log", f"attempt {attempt}\n".encode())
        told = RunReport(progress=Progress(cell=2, cells=5), results={"auc": 0.9})
        await yard.parts.artifacts.write(folder, f"{RESULTS}/{PROGRESS}", told.model_dump_json().encode())
        await yard.parts.store.write_run_status(run, RunStatus(state=RunState.running, attempt=2))
        assert (await ada.get(f"{API}/runs/{run}/logs")).json()["lines"] == ["attempt 2"]
        assert (await ada.get(f"{API}/runs/{run}/logs?attempt=1")).json()["lines"] == ["attempt 1"]
        assert "print(2)" in (await ada.get(f"{API}/runs/{run}/notebook")).text
        page = await ada.get(f"{API}/runs/{run}/notebook?format=html&attempt=1")
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        for shown in ((await ada.get(f"{API}/runs/{run}")).json(), (await ada.get(f"{API}/runs")).json()["items"][0]):
            assert shown["status"]["progress"]["cell"] == 2
            assert shown["status"]["results"] == {"auc": 0.9}
        for what in ("logs", "notebook"):
            problem(await bob.get(f"{API}/runs/{run}/{what}"), 404, "NotFound")


async def test_of_a_run_in_shards_log_and_report_are_those_of_all(yard: Yard) -> None:
    work = {"model": "models:/churn/4", "data": "/in", "output": "/out", "shards": 2}
    wanted = {"spec": {"kind": "score", "score": work}}
    async with yard.client("ada") as ada:
        run = (await ada.post(f"{API}/runs", json=wanted)).json()["id"]
        place = yard.parts.artifacts.place(attempt_folder("ada", run, 1))
        for index in range(2):
            far = Progress(last_output="so far", rows=4 + index, total=20, rate=2.0)
            told = RunReport(progress=far, results={"rows": 9} if index else {})
            output = shard_output(place, index)
            await yard.parts.artifacts.write(output, f"{RESULTS}/{PROGRESS}", told.model_dump_json().encode())
            await yard.parts.artifacts.write(output, "log", f"one\nthis is {index}\n".encode())
        await yard.parts.store.write_run_status(run, RunStatus(state=RunState.running, attempt=1))
        found = (await ada.get(f"{API}/runs/{run}/logs?lines=2")).json()["lines"]
        assert found == ["shard 0: this is 0", "shard 1: this is 1"]
        status = (await ada.get(f"{API}/runs/{run}")).json()["status"]
        assert (status["results"], status["progress"]["last_output"]) == (
            {"rows": 9},
            "9 of 20 rows, 0 of 2 shards done, 4 a second, about 3 s left",
        )
        assert (status["progress"]["rows"], status["progress"]["shards"]) == (9, 2)
        work["shards"] = 101
        problem(await ada.post(f"{API}/runs", json=wanted), 422, "InvalidInput")


async def test_a_scoring_is_checked_before_it_is_queued(yard: Yard) -> None:
    async def asked(**work: Any) -> Any:
        given = {"model": "models:/churn/3", "data": "/data/in", "output": "s3://lake/out", **work}
        async with yard.client("ada") as ada:
            return await ada.post(f"{API}/runs", json={"spec": {"kind": "score", "score": given}})

    assert (await asked()).status_code == 201
    assert (await asked(model="models:/churn@champion", options={"sql": "DB_URL"}, data="SELECT 1")).status_code == 201
    assert (await asked(options={"sql": "DB_URL"}, data="SELECT row #>> '{file}' FROM t")).status_code == 201
    for work, words in (
        ({"model": "models:/churn/9"}, "no version 9; it has 1, 2, 3, 4"),
        ({"model": "models:/churn/two"}, "names no model version"),
        ({"data": "/in/{file}"}, "only new files of a schedule fill in"),
        ({"data": "in.parquet"}, "spec.score.data: 'in.parquet' is neither an absolute path nor s3://bucket/key"),
        ({"output": "out"}, "spec.score.output: 'out' is neither"),
        ({"options": {"max_rejects": 2}}, "spec.score.options.max_rejects"),
        ({"options": {"speed": "fast"}}, "spec.score.options.speed"),
    ):
        answer = await asked(**work)
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"]
