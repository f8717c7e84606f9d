"""PublishPanel over a real API: its form, what it would do, and a publish that fails or is given up. One that succeeds
is in `tests/browser/test_endpoint_panel.py`, where there is a whole stack."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import modelyard as yard
from harness.api import body
from harness.fake_browser import Tab
from harness.packages import pipeline, table
from harness.served import Served, served
from harness.wait import eventually
from modelyard.errors import InvalidInput
from modelyard.widgets import namespace
from modelyard.widgets.publish import PublishPanel


@pytest.fixture
def api(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(tmp_path / "hub") as it:
        monkeypatch.setenv("MODELYARD_URL", it.url)
        monkeypatch.setenv("MODELYARD_TOKEN", "ada")
        yield it


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The notebook's variables."""
    found: dict[str, Any] = {
        "np": np,
        "_hidden": pipeline(),
        "unfitted": LogisticRegression(),
        "Class": LogisticRegression,
        "X": table(),
        "array": np.zeros((4, 2)),
        "model": pipeline(),
    }
    monkeypatch.setattr(namespace, "variables", lambda: found)
    return found


def filled(tab: Tab, **values: str) -> dict[str, Any]:
    """Type into the form; what the panel shows of it."""
    answer = tab.click("fill", by="a tab", values={**tab.panel.form["values"], **values})
    assert answer["ok"], answer
    shown: dict[str, Any] = tab.panel.view
    return shown


def test_it_offers_what_the_notebook_holds(api: Served, browser: None, held: Mapping[str, Any]) -> None:
    panel = PublishPanel()
    assert panel.view["models"] == [{"value": "model", "label": "model: Pipeline"}]
    assert [e["value"] for e in panel.view["examples"]] == ["array", "X"]
    values = panel.form["values"]
    assert (values["model"], values["example"], values["name"]) == ("model", "X", "")
    assert panel.view["owners"] == ["ada", "team"]
    columns = {c["name"]: (c["kind"], c["required"]) for c in panel.table["columns"]}
    assert columns["age"] == ("number (int64)", True)
    assert columns["weight"] == ("number (float64)", False)


def test_a_name_is_checked_while_it_is_typed(api: Served, browser: None, held: Mapping[str, Any]) -> None:
    tab = Tab(PublishPanel())
    assert "New: ada/churn gets all calls" in filled(tab, name="churn")["naming"]["says"]
    wrong = filled(tab, name="My Model")["naming"]
    assert (wrong["ok"], "lower-case letters" in wrong["says"]) == (False, True)
    with api.client("ada") as ada:
        ada.put("/endpoints/ada/churn", json=body({1: 100}), headers={"If-None-Match": "*"}).raise_for_status()
    known = filled(tab, name="churn")["naming"]
    assert known["exists"]
    assert "A further version of ada/churn, which ada made: it becomes revision 2" in known["says"]
    assert filled(tab, name="churn", owner="team")["naming"]["exists"] is False


def test_the_code_does_what_the_button_does(api: Served, browser: None, held: dict[str, Any]) -> None:
    tab = Tab(PublishPanel(held["model"], "churn", training=held["X"]))
    code = 'endpoint = yard.publish(model, "churn", example=X[:5], training=X)'
    assert tab.panel.view["code"] == code
    longer = filled(tab, traffic="10", memory="2048", requirements="lightgbm>=4\n", description="it's of 2026")["code"]
    assert longer.startswith("endpoint = yard.publish(\n    model,\n")
    given: dict[str, Any] = {}
    names = {**held, "yard": type("Yard", (), {"publish": lambda *_, **fields: given.update(fields)})}
    exec(longer, names)  # noqa: S102  what the panel offers for a cell
    assert (given["traffic"], given["memory"], given["requirements"]) == (10, 2048, ["lightgbm>=4"])
    assert given["description"] == "it's of 2026"
    assert "memory is 'much'" in filled(tab, memory="much")["code"]


def test_variables_of_the_environment_go_with_it(api: Served, browser: None, held: dict[str, Any]) -> None:
    tab = Tab(PublishPanel(held["model"], "churn", environment={"REGION": "eu"}))
    assert tab.panel.form["values"]["environment"] == "REGION=eu"
    code = filled(tab, environment="REGION=us\n\n QUERY = a=b \n")["code"]
    given: dict[str, Any] = {}
    exec(code, {**held, "yard": type("Yard", (), {"publish": lambda *_, **fields: given.update(fields)})})  # noqa: S102
    assert given["environment"] == {"REGION": "us", "QUERY": "a=b"}
    for wrong in ("REGION", "2ND=b", "=b"):
        assert "is no NAME=value" in filled(tab, memory="", environment=f"{wrong}\n")["code"]
    assert filled(tab, environment="MY KEY=secret")["code"].count("secret") == 0


def test_what_is_given_without_a_name_is_offered_too(api: Served, browser: None, held: dict[str, Any]) -> None:
    panel = PublishPanel(pipeline(), "churn", example=table()[:3])
    assert panel.view["models"][0] == {"value": "", "label": "the Pipeline that was given"}
    assert panel.view["examples"][0]["label"] == "the rows that were given"
    with pytest.raises(InvalidInput, match="trafic"):
        PublishPanel(trafic=10)


def test_a_variable_that_is_gone_is_named(api: Served, browser: None, held: dict[str, Any]) -> None:
    tab = Tab(PublishPanel(name="churn"))
    del held["model"]
    assert "no variable 'model' any more" in tab.click("publish")["problem"]["detail"]
    tab.click("look")
    assert tab.panel.view["models"] == []


class Refusing:
    """A model that answers nothing."""

    def predict(self, rows: Any) -> Any:
        raise RuntimeError("the weights are missing")


class Waiting:
    """A model that answers when it is let."""

    def __init__(self) -> None:
        self.asked, self.let = threading.Event(), threading.Event()

    def predict(self, rows: Any) -> Any:
        self.asked.set()
        assert self.let.wait(30)
        return np.zeros(len(rows))


def test_a_failure_is_told_with_its_reason(api: Served, browser: None) -> None:
    tab = Tab(PublishPanel(Refusing(), "churn", example=table()[:3]))
    assert tab.click("publish")["ok"]
    eventually(lambda: tab.panel.view["state"] == "Failed", what="the failure is told")
    shown = tab.panel.view
    assert "the weights are missing" in shown["failure"]["detail"]
    assert shown["steps"][0]["state"] == "failed"
    assert (shown["running"], shown["result"]) == (False, None)
    assert max(map(tab.size, tab.updates)) <= 4096


def test_it_can_be_given_up(api: Served, browser: None) -> None:
    model = Waiting()
    tab = Tab(PublishPanel(model, "churn", example=table()[:3]))
    assert tab.click("publish")["ok"]
    assert model.asked.wait(30)
    assert "already" in tab.click("publish")["problem"]["detail"]
    assert tab.click("cancel")["ok"]
    eventually(lambda: tab.panel.view["state"] == "Cancelled", what="it is given up")
    model.let.set()
    assert tab.panel.view["failure"]["remedy"] == "The endpoint is as it was."


def test_publish_raises_where_the_button_tells(api: Served, browser: None) -> None:
    with pytest.raises(InvalidInput, match="the weights are missing"):
        PublishPanel(Refusing(), "churn", example=table()[:3]).publish()


def test_where_nobody_looks_it_prints(
    api: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELYARD_PLAIN", "1")
    panel = yard.PublishPanel(Refusing(), "churn", example=table()[:3])
    assert panel.comm is None
    assert repr(panel) == "PublishPanel: Refusing as churn; panel.publish() publishes it"
    with pytest.raises(InvalidInput, match="the weights are missing"):
        panel.publish()
    assert "Publishing churn: failed" in capsys.readouterr().out


def test_wide_tables_are_cut(api: Served, browser: None) -> None:
    wide = pd.DataFrame(np.zeros((3, 100)), columns=[f"c{i}" for i in range(100)])
    panel = PublishPanel(Refusing(), "churn", example=wide)
    assert (len(panel.table["columns"]), panel.table["more"]) == (40, 60)
