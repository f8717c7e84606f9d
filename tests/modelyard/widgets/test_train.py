"""TrainPanel against a recording comm: few small messages, and always the truth at the end."""

from __future__ import annotations

import gc
import json
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

import modelyard as yard
from harness.fake_browser import Tab
from harness.wait import eventually
from modelyard.errors import InvalidInput, NotFound
from modelyard.training import runlog
from modelyard.training.snapshot import LIMIT
from modelyard.widgets.train import TrainPanel

from .conftest import Told

MINE = {"pid": os.getpid(), "created": psutil.Process().create_time()}


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    return frame.assign(label=np.where(frame["a"] > 0, "yes", "no"))


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test ticks, no thread does."""
    monkeypatch.setattr("modelyard.widgets.base.ticker.add", lambda panel: None)


def test_ten_thousand_steps_are_few_small_messages_and_the_last_one_is_whole(
    browser: None, by_hand: None, told: Told
) -> None:
    run = told(("launched", MINE), ("total", {"of": 10_000, "unit": "epoch"}))
    panel = TrainPanel(run=run)
    tab = Tab(panel)
    for start in range(0, 10_000, 250):
        steps = [float(i) for i in range(start + 1, start + 251)]
        series = {name: (steps, [1 / s for s in steps]) for name in ("loss", "val_loss", "accuracy")}
        runlog.append(run.folder, "points", series=series)
        assert panel.tick()
    runlog.append(run.folder, "ended", state="succeeded", model=True)
    assert not panel.tick()
    assert len(tab.updates) == 41
    assert max(map(Tab.size, tab.updates)) <= LIMIT
    assert all({"view", "curves"} == set(state) | {"curves"} for state, _ in tab.updates)  # one message each
    last, _ = tab.updates[-1]
    assert (last["view"]["state"], last["view"]["done"], last["view"]["fraction"]) == ("succeeded", 10_000, 1.0)
    lengths = last["view"]["curves"]["lengths"]
    numbers = np.frombuffer(panel.curves, dtype="<f4")
    assert len(numbers) == 2 * sum(lengths)
    assert numbers[lengths[0] - 1] == 10_000
    assert panel.get_state()["view"] == panel.view  # what a reload gets


def test_time_alone_sends_nothing(browser: None, by_hand: None, told: Told) -> None:
    panel = TrainPanel(run=told(("launched", MINE), ("step", {"text": "Fitting"})))
    for _ in range(20):
        assert panel.tick()
    assert len(Tab(panel).updates) <= 1


def test_a_run_that_is_over_is_drawn_once_and_forgotten(browser: None, told: Told) -> None:
    panel = TrainPanel(run=told(("launched", MINE), ("ended", {"state": "failed", "error": "boom"})))
    assert panel.view["error"] == "boom"
    assert Tab(panel).updates == []
    seen = weakref.ref(panel)
    panel.close()
    del panel
    gc.collect()
    assert seen() is None  # no thread holds it


def test_the_form_is_edited_checked_and_trained_from_the_browser(browser: None) -> None:
    panel = TrainPanel(rows())
    tab = Tab(panel)
    assert "target" in panel.form["problems"]
    refused = tab.click("start")
    assert not refused["ok"]
    assert "predicted" in refused["problem"]["detail"]
    values = dict(panel.form["values"]) | {"target": "label", "estimator": "logistic_regression", "parameters": {}}
    assert tab.click("edit", values=values, by="tab")["ok"]
    assert panel.form["by"] == "tab"
    assert panel.form["problems"] == {}
    assert "LogisticRegression()" in panel.form["code"]
    version = panel.form["version"]
    wrong = dict(panel.form["values"]) | {"parameters": {"C": "-1"}}
    tab.click("edit", values=wrong, by="tab")
    assert set(panel.form["problems"]) == {"parameters.C"}
    assert panel.form["version"] == version
    tab.click("edit", values=wrong | {"parameters": {"C": "2"}}, by="tab")
    assert tab.click("start")["ok"]
    run = panel.run
    assert run is not None
    run.wait(120)
    eventually(lambda: panel.view["state"] == "succeeded", timeout=10)
    assert panel.view["metrics"]["accuracy"] > 0.8
    assert str(run.code) == panel.form["code"]
    assert tab.click("part", name="report-confusion")["value"]["labels"] == ["no", "yes"]
    assert "LogisticRegression(C=2" in tab.click("part", name="code")["value"]
    assert max(map(Tab.size, [u for u in tab.updates if "view" in u[0]])) <= LIMIT


def test_two_panels_of_one_run_both_see_a_stop(browser: None, runs: Path) -> None:
    first = TrainPanel(rows(), "label", "mlp", name="long")
    Tab(first).click("edit", values=dict(first.form["values"]) | {"parameters": SLOW})
    run = first.start()
    second = TrainPanel(run=run.id)
    eventually(lambda: second.view["done"] > 3, timeout=60, what="passes are told")
    tab = Tab(second)
    assert tab.click("pause")["ok"]
    eventually(lambda: first.view["state"] == second.view["state"] == "paused", timeout=10)
    assert tab.click("resume")["ok"]
    assert tab.click("stop")["ok"]
    eventually(lambda: first.view["state"] == second.view["state"] == "stopped", timeout=60)
    assert first.view["kept"]


SLOW = {"max_iter": "100000", "tol": "0", "n_iter_no_change": "100000", "hidden_layer_sizes": "(200, 200)"}


def test_where_nobody_looks_it_is_a_plain_object_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    panel = TrainPanel(rows(), "label", "logistic_regression")
    assert panel.comm is None
    assert panel._repr_mimebundle_() == {"text/plain": repr(panel)}
    assert "start() trains" in repr(panel)
    run = panel.start()
    assert run.metrics["accuracy"] > 0.8
    assert "succeeded" in capsys.readouterr().out
    assert "succeeded" in repr(panel)
    assert panel.run is run


def test_a_page_without_widgets_shows_the_run_as_it_stands(browser: None, told: Told) -> None:
    panel = TrainPanel(run=told(("launched", MINE), ("metrics", {"values": {"accuracy": 0.5}})))
    data, _ = panel._repr_mimebundle_()
    assert "0.5000" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_what_there_is_not_is_refused(told: Told) -> None:
    frame = rows()
    with pytest.raises(InvalidInput, match="no column 'nothing'"):
        TrainPanel(frame, "nothing")
    with pytest.raises(InvalidInput, match="no data frame 'df'"):
        TrainPanel("df")
    with pytest.raises(NotFound, match="no estimator 'forest'"):
        TrainPanel(frame, "label", "forest")
    with pytest.raises(NotFound, match="no training run"):
        TrainPanel(run="nothing")
    with pytest.raises(InvalidInput, match="no run yet"):
        TrainPanel(frame).stop()
    with pytest.raises(InvalidInput, match="no form"):
        TrainPanel(run=told(("launched", MINE))).start()


def test_a_live_notebook_shows_the_panel_and_an_unattended_one_does_not_import_it(
    browser: None, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    run = told(("launched", MINE))
    assert yard.attach(run.id).id == run.id
    assert isinstance(shown[0], TrainPanel)
    script = "import modelyard, sys; modelyard.train; print('anywidget' in sys.modules, 'pandas' in sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


def test_the_catalog_and_the_form_are_json(browser: None) -> None:
    panel = TrainPanel(rows(), "label")
    json.dumps([panel.form, panel.catalog], allow_nan=False)
    assert len(json.dumps(panel.form)) < LIMIT


def test_a_run_that_ended_goes_on_only_from_a_checkpoint(browser: None, told: Told) -> None:
    kept = TrainPanel(run=told(("launched", MINE), ("checkpoint", {"step": 4}), ("ended", {"state": "stopped"})))
    assert kept.view["resumable"]
    lost = TrainPanel(run=told(("launched", MINE), ("ended", {"state": "stopped"}), number=2))
    assert "resumable" not in lost.view
    assert Tab(lost).click("resume")["problem"]["title"] == "Conflict"
