"""RunsTable: pages, order, comparison, and five hundred runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.fake_browser import Tab
from modelyard.errors import InvalidInput
from modelyard.training import runlog
from modelyard.training.progress import RunState
from modelyard.widgets.runs import PAGE, Query, Row, RunsTable, Shelf, compare, main_metric, page_of

from .conftest import Told

MINE = {"pid": os.getpid(), "created": psutil.Process().create_time()}
DONE = ("ended", {"state": "succeeded", "model": True})


def row(number: int, **given: Any) -> Row:
    fields: dict[str, Any] = {
        "id": f"churn-20260101-{number:06d}-aaaaaa", "name": "churn", "state": RunState.succeeded,
        "started": float(number), "seconds": 1.0, "metrics": {"accuracy": number / 100}, "rows": 10,
        "estimator": "Ridge", "kept": True,
    }  # fmt: skip
    return Row(**fields | given)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), [3, 2, 1]),
        (Query(sort="started", descending=False), [1, 2, 3]),
        (Query(sort="metric"), [3, 1, 2]),
        (Query(sort="metric", descending=False), [1, 3, 2]),
        (Query(sort="metric", metric="log_loss"), [2, 1, 3]),
        (Query(filter="ridge succ"), [3, 1]),
        (Query(filter="lasso"), []),
        (Query(page=7), [3, 2, 1]),
    ],
)
def test_rows_are_sorted_and_filtered(query: Query, expected: list[int]) -> None:
    rows = [row(1), row(2, metrics={"log_loss": 0.5}, state=RunState.failed), row(3)]
    found = page_of(rows, query)
    assert [int(r["started"]) for r in found["rows"]] == expected


def test_the_best_is_marked_by_what_the_metric_means() -> None:
    rows = [row(n, metrics={"accuracy": n / 10, "log_loss": n / 10}) for n in range(1, 4)]
    assert page_of(rows, Query())["best"] == rows[2].id
    assert page_of(rows, Query(metric="log_loss"))["best"] == rows[0].id
    assert main_metric([row(1), row(2), row(3, metrics={"r2": 1})]) == "accuracy"
    assert page_of([], Query())["rows"] == []


def test_only_what_differs_is_compared_and_curves_are_beside_each_other(told: Told) -> None:
    curve = ("points", {"series": {"val_loss": [[1, 2], [0.5, 0.25]]}})
    first = told(curve, ("metrics", {"values": {"accuracy": 0.8, "log_loss": 0.4}}), DONE, number=1, C="1", seed="0")
    second = told(curve, ("metrics", {"values": {"accuracy": 0.9, "log_loss": 0.5}}), DONE, number=2, C="2", seed="0")
    found = compare([first, second])
    assert found["params"] == [["C", "1", "2"]]
    assert [(m["name"], m["best"]) for m in found["metrics"]] == [("accuracy", [1]), ("log_loss", [0])]
    assert found["curves"]["names"] == [f"{first.id}\nval_loss", f"{second.id}\nval_loss"]
    assert found["curves"]["lengths"] == [2, 2]


def test_five_hundred_runs_make_small_messages_and_are_read_once(browser: None, told: Told) -> None:
    for number in range(500):
        told(("launched", {"pid": 0, "created": 0}), ("metrics", {"values": {"accuracy": 0.9}}), DONE, number=number)
    table = RunsTable()
    while not table.view["complete"]:
        assert table.tick()
        table._show()
    tab = Tab(table)
    assert (table.view["of"], table.view["pages"]) == (500, -(-500 // PAGE))
    assert max(map(Tab.size, tab.updates), default=0) <= 4_000
    assert len(json.dumps(table.view)) <= 4_000
    reads: list[str] = []
    shelf = table._shelf
    for run in shelf._runs.values():
        run.reading = lambda: reads.append("read")  # type: ignore[method-assign,assignment,return-value]
    before = len(tab.updates)
    assert table.tick()
    assert reads == []
    assert len(tab.updates) == before
    assert tab.click("query", filter="000499")["ok"]
    assert table.view["found"] == 1


def test_what_happens_shows(browser: None, told: Told) -> None:
    table = RunsTable()
    tab = Tab(table)
    assert table.view["rows"] == []
    run = told(("launched", MINE))
    table.tick()
    assert [(r["state"], r.get("live")) for r in table.view["rows"]] == [("running", True)]
    runlog.append(run.folder, "stopping")
    table.tick()
    assert table.view["rows"][0]["state"] == "stopping"
    runlog.append(run.folder, "ended", state="stopped")
    table.tick()
    assert table.view["rows"][0]["state"] == "stopped"
    assert tab.click("open", id=run.id)["ok"]
    assert table.below.startswith("anywidget:")
    refused = tab.click("compare", ids=[run.id])
    assert "1 runs are chosen" in refused["problem"]["detail"]
    assert not tab.click("query", sort="nonsense")["ok"]
    table.close()


def test_a_run_that_went_on_is_read_again(told: Told) -> None:
    run = told(("launched", MINE), DONE)
    shelf = Shelf()
    assert shelf.look()
    assert not shelf.look()
    runlog.append(run.folder, "launched", **MINE)
    os.utime(run.folder / "run.jsonl", (1, 1))
    assert shelf.look()
    assert shelf.rows[run.id].state is RunState.running


def test_a_run_of_another_version_is_passed_over(told: Told, runs: Path) -> None:
    told(DONE, number=1)
    told(DONE, number=2)
    (runs / "churn-20260101-000001-abc001" / "spec.json").write_text('{"scorers": null}')
    shelf = Shelf()
    shelf.look()
    assert list(shelf.rows) == ["churn-20260101-000002-abc002"]


def test_as_text_it_lists_the_newest(told: Told) -> None:
    told(("metrics", {"values": {"accuracy": 0.75}}), DONE)
    assert "accuracy 0.7500" in repr(RunsTable())
    with pytest.raises(InvalidInput):
        RunsTable().on_query(nonsense=1)
