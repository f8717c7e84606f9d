"""`/schedules`: made, changed, shown with what comes next; what could never work is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.api import API, Yard, problem
from harness.runs import notebook, snapshot
from harness.schedules import spec
from modelyard_api.runs import Declared, RunState, RunStatus
from modelyard_api.schedules import OnDrift, OnFiles

NIGHTLY = f"{API}/schedules/ada/nightly"
NEW = {"If-None-Match": "*"}


@pytest.fixture
async def taken(yard: Yard) -> str:
    """A snapshot of ada's."""
    digest, body = snapshot(train__ipynb=notebook("1"))
    async with yard.client("ada") as ada:
        assert (await ada.put(f"{API}/snapshots/{digest}", content=body)).status_code == 204
    return digest


def body(taken: str, cron: str = "30 2 * * *", run: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    wanted = spec(cron, run={"snapshot": taken, **(run or {})}, **{"time_zone": "Europe/Berlin", **members})
    return {"spec": wanted.model_dump(mode="json")}


async def test_a_schedule_through_its_life(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada:
        made = await ada.put(NIGHTLY, json=body(taken), headers=NEW)
        assert made.status_code == 201, made.text
        assert made.headers["location"] == NIGHTLY
        shown = (await ada.get(NIGHTLY)).json()
        times = [datetime.fromisoformat(time) for time in shown["status"]["next"]]
        assert len(times) == 5
        assert shown["status"]["words"] == "At 02:30 every day"
        assert {(time.hour, time.minute) for time in times} <= {(2, 30), (3, 0)}
        assert all(time.utcoffset() in (timedelta(hours=1), timedelta(hours=2)) for time in times)
        assert (shown["runs_as"], shown["spec"]["catch_up"], shown["spec"]["overlap"]) == ("ada", "last", False)
        problem(await ada.put(NIGHTLY, json=body(taken), headers=NEW), 409, "Conflict")
        problem(await ada.put(NIGHTLY, json=body(taken)), 428, "PreconditionRequired")
        problem(await ada.put(NIGHTLY, json=body(taken), headers={"If-Match": '"7"'}), 412, "StaleWrite")
        paused = await ada.put(NIGHTLY, json=body(taken, paused=True), headers={"If-Match": made.headers["etag"]})
        assert (paused.status_code, paused.headers["etag"], paused.json()["status"]["next"]) == (200, '"2"', [])
        assert [s["name"] for s in (await ada.get(f"{API}/schedules")).json()["items"]] == ["nightly"]
        assert (await ada.delete(NIGHTLY)).status_code == 204
        problem(await ada.get(NIGHTLY), 404, "NotFound")
        problem(await ada.delete(NIGHTLY), 404, "NotFound")


async def test_what_a_line_says_before_it_is_written(yard: Yard) -> None:
    async with yard.client("ada") as ada, yard.client() as nobody:
        found = (await ada.get(f"{API}/schedules/due?cron=30 2 * * MON-FRI&time_zone=Europe/Berlin")).json()
        assert found["words"] == "At 02:30 on Monday through Friday"
        times = [datetime.fromisoformat(time) for time in found["next"]]
        assert len(times) == 5
        assert all(time.weekday() < 5 and time.utcoffset() != timedelta(0) for time in times)
        assert (await ada.get(f"{API}/schedules/due?cron=@daily")).json()["words"] == "At 00:00 every day"
        for query, field in (
            ("cron=soon", "cron"),
            ("cron=0 0 30 2 *", "cron"),
            ("cron=@daily&time_zone=Mars", "time_zone"),
        ):
            said = problem(await ada.get(f"{API}/schedules/due?{query}"), 422, "InvalidInput")
            assert (said["field"], said["detail"].split(":")[0]) == (field, f"spec.{field}")
        problem(await nobody.get(f"{API}/schedules/due?cron=@daily"), 401, "Unauthenticated")


async def test_whose_they_are(yard: Yard, taken: str) -> None:
    async with yard.client("ada") as ada, yard.client("bob") as bob, yard.client("root") as root:
        await ada.put(NIGHTLY, json=body(taken), headers=NEW)
        problem(await bob.get(NIGHTLY), 404, "NotFound")
        problem(await bob.delete(NIGHTLY), 403, "Forbidden")
        problem(await bob.post(f"{NIGHTLY}/pause"), 403, "Forbidden")
        for _ in "12":
            paused = (await root.post(f"{NIGHTLY}/pause")).json()
            assert (paused["spec"]["paused"], paused["generation"], paused["runs_as"]) == (True, 2, "ada")
        resumed = (await ada.post(f"{NIGHTLY}/resume")).json()
        assert (resumed["spec"]["paused"], len(resumed["status"]["next"])) == (False, 5)
        problem(await bob.put(NIGHTLY, json=body(taken), headers=NEW), 403, "Forbidden")
        assert (await bob.get(f"{API}/schedules")).json() == {"items": []}
        assert len((await root.get(f"{API}/schedules")).json()["items"]) == 1
        assert (await root.get(f"{API}/schedules?owner=bob")).json() == {"items": []}


async def test_on_new_versions_of_a_model(yard: Yard, taken: str) -> None:
    declared = (Declared(name="version", default="0"),)
    wanted = body(taken, run={"declared": declared}, on_version="churn", version_parameter="version")
    del wanted["spec"]["cron"]
    async with yard.client("ada") as ada:
        made = (await ada.put(NIGHTLY, json=wanted, headers=NEW)).json()
        assert (made["spec"]["cron"], made["spec"]["on_version"], made["spec"]["since_version"]) == (
            None,
            "ada.churn",
            4,
        )
        assert made["status"]["next"] == []
        wanted["spec"]["version_parameter"] = "vresion"
        problem(await ada.put(f"{NIGHTLY}2", json=wanted, headers=NEW), 422, "InvalidParameter")
        del wanted["spec"]["on_version"]
        problem(await ada.put(f"{NIGHTLY}2", json=wanted, headers=NEW), 422, "InvalidInput")


@pytest.fixture
def folder(yard: Yard) -> Path:
    """One of ada's."""
    made: Path = yard.parts.settings.home / "users" / "ada" / "in"
    made.mkdir(parents=True)
    return made


async def test_on_files_and_on_drift(yard: Yard, taken: str, folder: Path) -> None:
    declared = (Declared(name="files", default="[]"), Declared(name="columns", default="{}"))
    members: dict[str, Any] = {"on_files": OnFiles(location=str(folder)), "on_drift": OnDrift(model="churn")}
    async with yard.client("ada") as ada:
        made = (await ada.put(NIGHTLY, json=body(taken, run={"declared": declared}, **members), headers=NEW)).json()
        assert (made["spec"]["on_files"]["settle"], made["spec"]["on_drift"]["model"]) == (10.0, "ada.churn")
        for changed, name, words in (
            ({"on_files": OnFiles(location=str(folder), parameter="file")}, "InvalidParameter", "'file'"),
            ({"on_drift": OnDrift(model="churn", parameter="columsn")}, "InvalidParameter", "'columsn'"),
            ({"on_files": OnFiles(location=f"{folder}/nowhere")}, "InvalidInput", "spec.on_files.location: there is"),
            ({"on_files": OnFiles(location="s3://lake")}, "InvalidInput", "the run has no variable AWS_ACCESS_KEY_ID"),
        ):
            wanted = body(taken, run={"declared": declared}, **{**members, **changed})
            said = problem(await ada.put(f"{NIGHTLY}2", json=wanted, headers=NEW), 422, name)
            assert words in said["detail"]
        secrets = OnFiles(location=str(yard.parts.settings.home / "secrets"))
        wanted = body(taken, run={"declared": declared}, on_files=secrets)
        problem(await ada.put(f"{NIGHTLY}2", json=wanted, headers=NEW), 403, "Forbidden")


async def test_a_scoring_of_each_new_file(yard: Yard, folder: Path) -> None:
    score: dict[str, Any] = {"model": "models:/churn/4", "data": "{file}", "output": "/out/{stem}"}
    run: dict[str, Any] = {"kind": "score", "score": score}
    wanted = {"spec": {"run": run, "on_files": {"location": str(folder), "at_most": 1}}}
    async with yard.client("ada") as ada:
        made = await ada.put(NIGHTLY, json=wanted, headers=NEW)
        assert made.status_code == 201, made.text
        assert made.json()["spec"]["run"]["score"]["data"] == "{file}"
        hook = (await ada.post(f"{NIGHTLY}/hook")).json()["url"]
        for answer in (await ada.post(f"{NIGHTLY}/start", json={}), await ada.post(hook[hook.index(API) :])):
            assert problem(answer, 422, "InvalidInput")["remedy"].startswith("Put a file")
        timed = {"spec": {**wanted["spec"], "cron": "@daily"}}
        said = problem(await ada.put(f"{NIGHTLY}2", json=timed, headers=NEW), 422, "InvalidInput")
        assert "which only new files fill in" in said["detail"]
        for name in ("a\0b", "x" * 300):
            elsewhere = {"spec": {**wanted["spec"], "on_files": {"location": f"{folder}/{name}", "at_most": 1}}}
            said = problem(await ada.put(f"{NIGHTLY}2", json=elsewhere, headers=NEW), 422, "InvalidInput")
            assert said["detail"].startswith("spec.on_files.location:")
        score["data"] = "/elsewhere"
        said = problem(await ada.put(f"{NIGHTLY}2", json=wanted, headers=NEW), 422, "InvalidInput")
        assert "reads none of the new files" in said["detail"]


async def test_a_run_now_and_by_a_url_alone(yard: Yard, taken: str) -> None:
    declared = (Declared(name="depth", default="3"),)
    async with yard.client("ada") as ada, yard.client("bob") as bob, yard.client() as nobody:
        await ada.put(NIGHTLY, json=body(taken, run={"declared": declared}, paused=True), headers=NEW)
        problem(await bob.post(f"{NIGHTLY}/start", json={}), 403, "Forbidden")
        problem(await bob.post(f"{NIGHTLY}/hook"), 403, "Forbidden")
        problem(await ada.post(f"{NIGHTLY}/start", json={"parameters": {"dept": 1}}), 422, "InvalidParameter")
        wanted = {"parameters": {"depth": 7}, "idempotency_key": "k"}
        first, second = [await ada.post(f"{NIGHTLY}/start", json=wanted) for _ in "12"]
        assert first.status_code == 201, first.text
        assert second.json()["id"] == first.json()["id"]
        run = first.json()
        assert (run["schedule"], run["due"], run["spec"]["parameters"]) == ("ada/nightly", None, {"depth": 7})

        url = (await ada.post(f"{NIGHTLY}/hook")).json()["url"]
        path = url[url.index(API) :]
        problem(await nobody.post(path), 409, "Conflict")
        await yard.parts.store.write_run_status(run["id"], RunStatus(state=RunState.succeeded))
        called = [await nobody.post(path, headers={"Idempotency-Key": "a"}, content=b"{}") for _ in "12"]
        assert [answer.status_code for answer in called] == [202, 202], called[0].text
        assert called[0].json() == called[1].json()
        started = await yard.parts.store.get_run(called[0].json()["run"])
        assert (started.run.created_by, started.run.spec.parameters) == ("ada", {})
        problem(await nobody.post(f"{API}/hooks/nonsense"), 401, "Unauthenticated")
        problem(await nobody.post(f"{NIGHTLY}/start", json={}), 401, "Unauthenticated")

        await ada.delete(NIGHTLY)
        problem(await nobody.post(path), 401, "Unauthenticated")
        await ada.put(NIGHTLY, json=body(taken), headers=NEW)
        problem(await nobody.post(path), 401, "Unauthenticated")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"cron": "0 0 30 2 *"}, "spec.cron: '0 0 30 2 *' is never due"),
        ({"cron": "every day"}, "spec.cron: 'every day' has 2 fields"),
        ({"time_zone": "Europe/Berln"}, "spec.time_zone: there is no time zone 'Europe/Berln'"),
        ({"run": {"parameters": {"dept": 1}, "declared": (Declared(name="depth", default="3"),)}}, "'dept'"),
        ({"run": {"snapshot": "1" * 64}}, "spec.run.notebook.snapshot"),
    ],
)
async def test_what_could_never_work(yard: Yard, taken: str, members: dict[str, Any], words: str) -> None:
    async with yard.client("ada") as ada:
        answer = await ada.put(NIGHTLY, json=body(taken, **members), headers=NEW)
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
        assert answer.json()["remedy"]
        needs = body(taken)
        needs["spec"]["run"]["needs"] = ["0" * 16]
        said = problem(await ada.put(NIGHTLY, json=needs, headers=NEW), 422, "InvalidInput")
        assert "needs no other runs" in said["detail"]
