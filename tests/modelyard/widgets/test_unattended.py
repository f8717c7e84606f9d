"""RunsPanel over a real API, with a browser that the test plays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import modelyard as yard
from harness.fake_browser import Tab
from harness.runs import notebook, snapshot, spec
from harness.schedules import spec as schedule
from harness.served import Served, served
from harness.wait import eventually
from modelyard.widgets import looking
from modelyard.widgets.unattended import PAGE, RunsPanel
from modelyard_api.runs import Failure, Progress, Run, RunState, RunStatus, rows_in_words
from modelyard_api.schedules import Trouble
from modelyard_hub.reconcile.file_triggers import FileTriggers

BEGAN = datetime.now(UTC) - timedelta(seconds=75)


@pytest.fixture
def api(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(tmp_path / "hub") as it:
        monkeypatch.setenv("MODELYARD_URL", it.url)
        monkeypatch.setenv("MODELYARD_TOKEN", "ada")
        yield it


def submitted(api: Served, owner: str = "ada", group: str | None = None, **members: Any) -> Run:
    """A run that is queued."""
    return api.call(api.yard.parts.store.submit_run(owner, spec(**members), group=group))


def told(api: Served, run: Run, state: RunState, **status: Any) -> None:
    """What is observed of it."""
    known = RunStatus(state=state, attempt=1, started=BEGAN, **status)
    assert api.call(api.yard.parts.store.write_run_status(run.id, known))


def rows(tab: Tab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tab.panel.view["rows"]
    return found


def test_how_far_each_is(api: Served, browser: None) -> None:
    waits, runs_, failed = (submitted(api, name=name) for name in ("waits", "works", "fails"))
    submitted(api, "eve", name="of another")
    progress = Progress(cell=3, cells=7, last_output="epoch 1\nepoch 2 of 9\n", elapsed=70.0, expected=300.0)
    told(api, runs_, RunState.running, progress=progress)
    ended = {"ended": BEGAN + timedelta(seconds=12), "message": "Cell 2 failed: ValueError: no rows"}
    told(api, failed, RunState.failed, progress=Progress(cell=2, cells=7), **ended)
    least = (datetime.now(UTC) - BEGAN).total_seconds()
    tab = Tab(RunsPanel())
    assert [row["name"] for row in rows(tab)] == ["fails", "works", "waits"]
    first, second, third = rows(tab)
    assert (first["state"], first["live"], first["elapsed"]) == ("failed", False, 12.0)
    assert first["said"] == "Cell 2 failed: ValueError: no rows"
    assert (second["cell"], second["cells"], second["output"], second["expected"]) == (3, 7, "epoch 2 of 9", 300.0)
    assert least - 0.1 <= second["elapsed"] <= (datetime.now(UTC) - BEGAN).total_seconds() + 0.1
    assert (third["id"], third["state"], third["elapsed"]) == (waits.id, "queued", None)
    assert "works running, cell 3 of 7" in repr(tab.panel)


def test_how_far_a_scoring_is(api: Served, browser: None) -> None:
    run = submitted(api, name="scores")
    far = Progress(rows=2_500_000, total=10_000_000, rate=52_000.0, shards=8, shards_done=1)
    far.last_output = rows_in_words(far)
    told(api, run, RunState.running, progress=far)
    (row,) = rows(Tab(RunsPanel()))
    assert row["share"] == 0.25
    assert row["output"] == ("2,500,000 of 10,000,000 rows, 1 of 8 shards done, 52,000 a second, about 144 s left")


def test_one_is_cancelled(api: Served, browser: None) -> None:
    run = submitted(api)
    told(api, run, RunState.running)
    tab = Tab(RunsPanel())
    assert tab.click("cancel", id=run.id)["ok"]
    assert rows(tab)[0]["state"] == "cancelling"
    assert tab.click("cancel", id="0" * 16)["problem"]["title"] == "Not found"


def test_one_that_has_ended_is_deleted(api: Served, browser: None) -> None:
    run, other = submitted(api), submitted(api)
    tab = Tab(RunsPanel())
    assert not tab.click("remove", id=run.id)["ok"]
    told(api, run, RunState.succeeded, ended=BEGAN)
    assert tab.click("remove", id=run.id)["ok"]
    assert [row["id"] for row in rows(tab)] == [other.id]


def test_what_is_too_much_for_a_row(api: Served, browser: None) -> None:
    secrets = [{"secret": "lake", "file": "lake"}, {"secret": "team/db", "env": "DB_URL"}]
    run = submitted(api, parameters={"depth": 3, "table": "x" * 1000}, group="ada/sweep", secrets=secrets)
    failure = Failure(cell=2, source="fit(X)", error="ValueError: no rows", traceback="Traceback\n" + "y" * 9000)
    results = {"auc": 0.93}
    told(api, run, RunState.failed, failure=failure, results=results, mlflow_run_id="abc", ended=BEGAN)
    found = Tab(RunsPanel()).click("details", id=run.id)["value"]
    assert dict(found["parameters"])["depth"] == "3"
    assert len(dict(found["parameters"])["table"]) == 200
    assert found["results"] == [["auc", "0.93"]]
    assert (found["failure"]["cell"], len(found["failure"]["traceback"])) == (2, 8000)
    facts = {"Run": run.id, "Group": "ada/sweep", "MLflow run": "abc", "Secrets": "lake, team/db as DB_URL"}
    assert facts.items() <= dict(found["facts"]).items()


def test_pages(api: Served, browser: None) -> None:
    made = [submitted(api, name=f"run {n}").id for n in range(PAGE + 2)]
    tab = Tab(RunsPanel())
    assert (len(rows(tab)), tab.panel.view["more"]) == (PAGE, True)
    tab.click("older")
    assert [row["id"] for row in rows(tab)] == [made[1], made[0]]
    assert (tab.panel.view["more"], tab.panel.view["page"]) == (False, 1)
    tab.click("newer")
    assert rows(tab)[0]["id"] == made[-1]


def test_only_those_of_a_group(api: Served, browser: None) -> None:
    submitted(api)
    mine = submitted(api, group="ada/sweep")
    assert [row["id"] for row in rows(Tab(RunsPanel(group="ada/sweep")))] == [mine.id]


def scheduled(api: Served, name: str, cron: str = "30 2 * * *", **members: Any) -> None:
    """A schedule of ada's."""
    digest, content = snapshot(train__ipynb=notebook("1"))
    wanted = schedule(cron, run={"snapshot": digest}, **{"time_zone": "Europe/Berlin", **members})
    with api.client("ada") as ada:
        ada.put(f"/snapshots/{digest}", content=content).raise_for_status()
        body = {"spec": wanted.model_dump(mode="json")}
        ada.put(f"/schedules/ada/{name}", json=body, headers={"If-None-Match": "*"}).raise_for_status()


def test_schedules(api: Served, browser: None) -> None:
    scheduled(api, "nightly", on_drift={"model": "churn"}, on_version="churn")
    tab = Tab(RunsPanel(tab="schedules"))
    (row,) = rows(tab)
    assert (row["key"], row["zone"], row["words"], row["paused"]) == (
        "ada/nightly",
        "Europe/Berlin",
        "At 02:30 every day",
        False,
    )
    assert row["triggers"] == ["on each new version of ada.churn", "when the data of ada.churn drift"]
    assert len(row["next"]) == 5
    assert row["last"] is None
    assert "ada/nightly: '30 2 * * *' Europe/Berlin" in repr(tab.panel)

    run = tab.click("start", key="ada/nightly")["value"]
    assert rows(tab)[0]["last"] == {"id": run, "state": "queued", "due": None}
    assert tab.click("row", id=run)["value"]["state"] == "queued"
    assert "ended" in tab.click("start", key="ada/nightly")["problem"]["detail"]
    tab.click("pause", key="ada/nightly")
    assert (rows(tab)[0]["paused"], rows(tab)[0]["next"]) == (True, [])
    tab.click("resume", key="ada/nightly")
    assert not rows(tab)[0]["paused"]

    asked = tab.click("due", cron="0 6 * * MON", time_zone="America/New_York")["value"]
    assert (asked["words"], len(asked["next"])) == ("At 06:00 on Monday", 5)
    wrong = tab.click("due", cron="0 0 30 2 *", time_zone="UTC")["value"]
    assert wrong["field"] == "cron"
    assert wrong["said"].startswith("'0 0 30 2 *' is never due")
    assert tab.click("due", cron="@daily", time_zone="Europe/Berln")["value"]["field"] == "time_zone"
    assert tab.click("edit", key="ada/nightly", cron="0 6 * * MON", time_zone="America/New_York")["ok"]
    assert (rows(tab)[0]["words"], rows(tab)[0]["next"]) == ("At 06:00 on Monday", asked["next"])

    assert tab.click("delete", key="ada/nightly")["ok"]
    assert rows(tab) == []
    tab.click("tab", tab="runs")
    assert [row["id"] for row in rows(tab)] == [run]
    assert tab.click("tab", tab="walls")["problem"]["remedy"] == "There are: runs, schedules, groups."


def test_what_keeps_a_schedule_from_starting_runs(api: Served, browser: None, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    scheduled(api, "incoming", on_files={"location": str(tmp_path / "in")})
    tab = Tab(RunsPanel(tab="schedules"))
    assert rows(tab)[0]["troubles"] == []
    (tmp_path / "in").rmdir()
    store, least = api.yard.parts.store, int(datetime.now(UTC).timestamp())
    api.call(FileTriggers(store.schedules, api.yard.parts.places).look())
    tab.click("tab", tab="schedules")
    (told,) = rows(tab)[0]["troubles"]
    assert (told["trigger"], str(tmp_path / "in") in told["message"]) == ("files", True)
    assert least <= told["since"] <= datetime.now(UTC).timestamp() + 1
    assert rows(tab)[0]["missed"] is None, "it is told once"
    assert told["message"] in repr(tab.panel)


def test_pages_of_schedules(api: Served, browser: None) -> None:
    for n in range(7):
        scheduled(api, f"{'n' * 61}{n}", "1,2,3,4,5,6,7,8,9 1,2,3,4,5,6,7,8,9,10,11 1-30 * MON-FRI")
        made = api.call(api.yard.parts.store.schedules.get("ada", f"{'n' * 61}{n}"))
        what = Trouble(trigger="files", reason="Away", message="no " * 200, since=BEGAN)
        assert api.call(api.yard.parts.store.schedules.trouble(made, "files", what))
    tab = Tab(RunsPanel())
    tab.click("tab", tab="schedules")
    assert (len(rows(tab)), tab.panel.view["more"]) == (5, True)
    tab.click("older")
    assert (len(rows(tab)), tab.panel.view["more"], tab.panel.view["page"]) == (2, False, 1)
    tab.click("newer")
    assert (len(rows(tab)), tab.panel.view["page"]) == (5, 0)
    assert max(map(tab.size, tab.updates)) <= 4096


def grouped(api: Served, kind: str, *members: dict[str, Any]) -> str:
    """A group of ada's; its id."""
    digest, content = snapshot(train__ipynb=notebook("1"))
    wanted = {"name": "depths", "kind": kind, "members": list(members), "run": spec(digest).model_dump(mode="json")}
    with api.client("ada") as ada:
        ada.put(f"/snapshots/{digest}", content=content).raise_for_status()
        return str(ada.post("/groups", json=wanted).raise_for_status().json()["id"])


def test_a_sweep(api: Served, browser: None) -> None:
    members = [{"member": f"depth={n}", "parameters": {"depth": n, "kind": "a"}} for n in (1, 3, 5)]
    made = grouped(api, "sweep", *members)
    tab = Tab(RunsPanel(tab="groups"))
    (row,) = rows(tab)
    assert (row["id"], row["kind"], row["state"], row["counts"]) == (made, "sweep", "running", {"queued": 3})
    tab.click("tab", tab="runs")
    first, second, third = reversed(rows(tab))
    assert first["group"] == made
    run = {row["id"]: tab.panel.on_row(row["id"]) for row in (first, second, third)}
    assert len(run) == 3
    one, two, three = (api.call(api.yard.parts.store.get_run(id)).run for id in run)
    told(api, one, RunState.succeeded, results={"auc": 0.5, "note": "n" * 100}, ended=BEGAN)
    told(api, two, RunState.failed, message="Cell 2 failed: ValueError", ended=BEGAN)
    told(api, three, RunState.running)

    found = tab.click("group", id=made)["value"]
    assert (found["parameters"], found["results"], found["numbers"]) == (["depth"], ["auc", "note"], ["auc"])
    assert [m["state"] for m in found["members"]] == ["succeeded", "failed", "running"]
    assert found["members"][0]["results"]["auc"] == 0.5
    assert len(found["members"][0]["results"]["note"]) == 60
    assert found["members"][1]["said"] == "Cell 2 failed: ValueError"
    tab.click("cancel_group", id=made)
    told(api, three, RunState.cancelled, ended=BEGAN)
    found = tab.click("group", id=made, known=found["digest"])["value"]
    assert found["state"] == "failed"
    assert tab.click("group", id=made, known=found["digest"])["value"] is None
    assert tab.click("rerun", id=made)["ok"]
    assert [m["state"] for m in tab.click("group", id=made)["value"]["members"]] == ["succeeded", "queued", "queued"]
    assert "1 succeeded" in repr(RunsPanel(tab="groups"))


def test_updates_stay_small(api: Served, browser: None) -> None:
    tab = Tab(RunsPanel())
    for _ in range(PAGE + 1):
        run = submitted(api, name="n" * 200)
        progress = Progress(cell=100, cells=200, last_output="o" * 5000, elapsed=1e5, expected=1e5)
        told(api, run, RunState.running, progress=progress, message="m" * 5000)
        failed = submitted(api, name="n" * 200)
        told(api, failed, RunState.failed, message="m" * 5000, ended=datetime.now(UTC))
    tab.panel.refresh()
    assert tab.updates
    assert max(map(tab.size, tab.updates)) <= 4096


def test_it_looks_only_while_somebody_does(api: Served, browser: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "POLL", 0.05)
    run = submitted(api)
    tab = Tab(RunsPanel())
    tab.panel.hear_look("a", True)
    told(api, run, RunState.running, progress=Progress(cell=1, cells=2))
    eventually(lambda: rows(tab)[0]["cells"] == 2, what="what happens is shown")
    tab.panel.hear_look("a", False)
    eventually(lambda: tab.panel._watch is None, what="nobody looks any more")


def test_a_slow_answer_holds_up_nothing_else(api: Served, browser: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run = submitted(api)
    tab = Tab(RunsPanel())
    over = threading.Event()
    monkeypatch.setattr(RunsPanel, "on_notebook", lambda self, id: over.wait(30) and "page")
    slow = threading.Thread(target=tab.click, args=("notebook",), kwargs={"id": run.id})
    slow.start()
    try:
        assert tab.click("row", id=run.id)["value"]["id"] == run.id
        assert tab.click("tab", tab="schedules")["ok"]
    finally:
        over.set()
        slow.join(30)


def test_it_says_that_it_is_there_where_nothing_changes(
    api: Served, browser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "POLL", 0.02)
    monkeypatch.setattr(looking, "BEAT", 0.05)
    tab = Tab(RunsPanel())

    def beats() -> int:
        return sum(data.get("content") == {"beat": True} for _, data, _ in list(tab.comm.messages))

    tab.panel.hear_look("a", True)
    eventually(lambda: beats() >= 3, what="it is heard again and again")
    tab.panel.hear_look("a", False)
    assert tab.updates == []


def test_what_it_last_saw_stays_while_the_hub_is_away(api: Served, browser: None) -> None:
    run = submitted(api)
    tab = Tab(RunsPanel())
    api.away = True
    assert not tab.panel.refresh()
    assert tab.panel.view["problem"]["title"]
    assert rows(tab)[0]["id"] == run.id
    api.away = False
    assert tab.panel.refresh()
    assert tab.panel.view["problem"] is None


def test_it_is_the_librarys() -> None:
    assert yard.RunsPanel is RunsPanel
