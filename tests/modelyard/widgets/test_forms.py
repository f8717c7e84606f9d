"""Forms from estimators: fields, values, messages."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from modelyard.errors import InvalidInput, NotFound
from modelyard.widgets import estimators
from modelyard.widgets.estimators import CLASSIFICATION, NETWORK, REGRESSION
from modelyard.widgets.forms import Field, fields_of, value_of, values_of
from modelyard.widgets.frames import columns, task_of
from modelyard.widgets.train_form import TrainForm


def field(estimator: type[Any], name: str) -> Field:
    return next(f for f in fields_of(estimator) if f.name == name)


@pytest.mark.parametrize(
    ("estimator", "name", "expected"),
    [
        (RandomForestClassifier, "n_estimators", {"kind": "integer", "default": 100, "low": 1}),
        (RandomForestClassifier, "max_depth", {"kind": "integer", "default": None, "low": 1, "optional": True}),
        (RandomForestClassifier, "min_samples_leaf", {"kind": "number", "default": 1}),
        (RandomForestClassifier, "max_features", {"kind": "text", "options": ("log2", "sqrt"), "optional": True}),
        (RandomForestClassifier, "bootstrap", {"kind": "bool", "default": True}),
        (RandomForestClassifier, "ccp_alpha", {"kind": "number", "default": 0.0, "low": 0}),
        (LogisticRegression, "C", {"kind": "number", "default": 1.0}),
        (LogisticRegression, "fit_intercept", {"kind": "bool", "default": True}),
        (HistGradientBoostingClassifier, "early_stopping", {"kind": "text", "options": ("auto", "True", "False")}),
    ],
)
def test_a_field_says_what_its_parameter_may_be(estimator: type[Any], name: str, expected: dict[str, Any]) -> None:
    found = field(estimator, name)
    assert {key: getattr(found, key) for key in expected} == expected


def test_fields_have_help_from_the_docstring_and_main_ones_come_first() -> None:
    found = fields_of(RandomForestClassifier, ("max_depth", "n_estimators"))
    assert [f.name for f in found[:2]] == ["max_depth", "n_estimators"]
    assert found[1].help == "The number of trees in the forest."
    assert not {"random_state", "verbose", "n_jobs", "warm_start"} & {f.name for f in found}


@pytest.mark.parametrize(
    ("estimator", "name", "given", "expected"),
    [
        (RandomForestClassifier, "n_estimators", "250", 250),
        (RandomForestClassifier, "max_depth", "", None),
        (RandomForestClassifier, "min_samples_leaf", "3", 3),
        (RandomForestClassifier, "min_samples_leaf", "0.1", 0.1),
        (RandomForestClassifier, "max_features", "0.5", 0.5),
        (RandomForestClassifier, "max_features", "log2", "log2"),
        (HistGradientBoostingClassifier, "early_stopping", "True", True),
        (MLPClassifier, "alpha", "0.01", 0.01),
        (LogisticRegression, "C", 2, 2),
    ],
)
def test_what_is_typed_becomes_a_value(estimator: type[Any], name: str, given: Any, expected: Any) -> None:
    values, wrong = values_of(estimator, fields_of(estimator), {name: given})
    assert not wrong
    assert values.get(name) == expected
    assert type(values.get(name)) is type(expected)


@pytest.mark.parametrize(
    ("estimator", "name", "given", "said"),
    [
        (RandomForestClassifier, "n_estimators", "many", "'many' is no whole number"),
        (RandomForestClassifier, "n_estimators", "1.5", "no whole number"),
        (RandomForestClassifier, "n_estimators", "0", "from 1 on"),
        (RandomForestClassifier, "n_estimators", "", "empty; by default 100"),
        (RandomForestClassifier, "min_samples_leaf", "1.5", "must be an int in the range"),
        (RandomForestClassifier, "max_features", "some", "max_features"),
        (LogisticRegression, "C", "nan", "no number"),
        (LogisticRegression, "solver", "fast", "none of"),
    ],
)
def test_what_is_wrong_is_said_by_field(estimator: type[Any], name: str, given: Any, said: str) -> None:
    values, wrong = values_of(estimator, fields_of(estimator), {name: given})
    assert not values
    assert said in wrong[name]


def test_untouched_fields_change_nothing() -> None:
    for entry in estimators.installed():
        for task in (CLASSIFICATION, REGRESSION):
            if entry.does(task):
                fields = entry.fields(task)
                assert fields, entry.key
                assert values_of(entry.cls(task), fields, estimators.default(fields)) == ({}, {}), entry.key


def test_an_own_field_is_checked_without_scikit_learn() -> None:
    rounds = Field("n_estimators", "integer", 100, low=1, high=10)
    assert value_of(rounds, "10") == 10
    with pytest.raises(InvalidInput, match="from 1 to 10"):
        value_of(rounds, "11")


FRAME = pd.DataFrame(
    {
        "age": [1.5, None, 3.0, 4.0] * 20,
        "members": [1, 2, 3, 4] * 20,
        "city": ["Bern", "Basel", None, "Bern"] * 20,
        "active": [True, False, True, True] * 20,
        "id": [f"u{i}" for i in range(80)],
        "joined": pd.date_range("2026-01-01", periods=80),
        "churned": ["yes", "no", None, "no"] * 20,
        "value": [float(i) for i in range(80)],
    }
)


def form(target: str = "", **given: Any) -> TrainForm:
    made = TrainForm(lambda: {"customers": FRAME, "_hidden": FRAME, "other": 1})
    made.change(target=target, **given)
    return made


def test_columns_are_told_apart() -> None:
    kinds = {c.name: c.kind for c in columns(FRAME)}
    assert kinds == {
        "age": "number", "members": "number", "city": "category", "active": "flag", "id": "text", "joined": "date",
        "churned": "category", "value": "number",
    }  # fmt: skip
    by_name = {c.name: c for c in columns(FRAME)}
    assert task_of(by_name["churned"], FRAME["churned"]) == CLASSIFICATION
    assert task_of(by_name["members"], FRAME["members"]) == CLASSIFICATION
    assert task_of(by_name["value"], FRAME["value"]) == REGRESSION
    with pytest.raises(InvalidInput, match="distinct"):
        columns(pd.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", [e.key for e in estimators.installed() if e.does(CLASSIFICATION)])
def test_every_classifier_of_the_list_fits_a_frame_of_all_kinds(estimator: str) -> None:
    order = form("churned" if estimator != "xgboost" else "active", estimator=estimator).order()
    model, (X, y) = order.model, order.rows
    assert list(X.columns) == [c for c in ("age", "members", "city", "active", "churned", "value") if c != y.name]
    assert not y.isna().any()
    if estimator == NETWORK:
        assert repr(model).startswith("yard.networks.table(")
        return
    if estimator == "lightgbm":
        model.set_params(lgbmclassifier__verbose=-1)
    assert len(model.fit(X.head(40), y.head(40)).predict(X)) == len(X)


def test_the_code_does_the_same_as_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    import modelyard

    given = form("churned", estimator="random_forest", parameters={"n_estimators": "7"}, cv=3, balanced=True,
                 left_out=["value"], name="mine")  # fmt: skip
    called: list[Any] = []
    monkeypatch.setattr(modelyard, "train", lambda *args, **options: called.append((args, options)))
    exec(given.code(), {"customers": FRAME})  # noqa: S102  # it is the code under test
    (model, X, y), options = called[0]
    order = given.order()
    assert repr(model) == repr(order.model)
    assert model[-1].n_estimators == 7
    pd.testing.assert_frame_equal(X, order.rows[0])
    pd.testing.assert_series_equal(y, order.rows[1])
    assert options == {"name": "mine", "test_size": 0.2, "seed": 0, "cv": 3, "class_weight": "balanced"}


@pytest.mark.parametrize(
    ("given", "where", "said"),
    [
        ({}, "target", "Choose the column"),
        ({"target": "joined"}, "target", "date"),
        ({"target": "churned", "task": "regression"}, "task", "no numbers"),
        ({"target": "churned", "left_out": ["age", "members", "city", "active", "value"]}, "left_out", "No column"),
        ({"target": "churned", "test_size": "2"}, "test_size", "from 0 to 0.9"),
        ({"target": "churned", "cv": 1}, "cv", "from 2 to 100"),
        ({"target": "churned", "estimator": "xgboost"}, "estimator", "numbered from 0"),
        ({"target": "value", "estimator": "logistic_regression"}, "estimator", "no regression"),
        ({"target": "churned", "estimator": NETWORK, "cv": 3}, "cv", "trained once"),
        ({"target": "churned", "estimator": NETWORK, "parameters": {"hidden": "wide"}}, "parameters.hidden", "widths"),
        ({"target": "churned", "estimator": "random_forest", "parameters": {"max_depth": "0"}}, "parameters.max_depth",
         "from 1 on"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_it_is_tried(given: dict[str, Any], where: str, said: str) -> None:
    made = form(**given)
    assert said in made.problems[where]
    assert made.code() == ""
    with pytest.raises(InvalidInput):
        made.order()


def test_frames_come_and_go() -> None:
    names: dict[str, Any] = {}
    made = TrainForm(lambda: names)
    assert "no data frame" in made.problems["data"]
    names |= {"a": FRAME, "b": FRAME[["age", "value"]]}
    made.refresh()
    assert made.choices.data == "a"
    made.change(target="churned", left_out=["city"])
    made.change(data="b")
    assert (made.choices.target, made.choices.left_out) == ("", ())
    del names["b"]
    made.refresh()
    assert made.choices.data == "a"
    with pytest.raises(InvalidInput, match="no field"):
        made.change(nonsense=1)
    with pytest.raises(NotFound, match="random_forest"):
        estimators.estimator("forest")


def test_a_network_takes_the_columns_as_they_are_and_its_training_the_other_fields() -> None:
    parameters = {"hidden": "16", "dropout": "0.1", "epochs": "5", "lr": "0.01"}
    made = form("churned", estimator=NETWORK, parameters=parameters, balanced=True)
    order = made.order()
    assert repr(order.model) == "yard.networks.table(hidden=(16,), dropout=0.1)"
    assert (order.options.epochs, order.options.lr, order.options.class_weight) == (5, 0.01, "balanced")
    assert order.spec.kind == "torch"
    assert "yard.networks.table(hidden=(16,), dropout=0.1)" in made.code()
    assert "epochs=5" in made.code()


def test_the_frame_is_taken_as_it_is_when_training_starts() -> None:
    names: dict[str, Any] = {"customers": FRAME}
    made = TrainForm(lambda: names)
    made.change(target="churned")
    names["customers"] = FRAME.head(40)
    assert len(made.order().rows[0]) == 30
    names["customers"] = FRAME.drop(columns="churned")
    with pytest.raises(InvalidInput, match="target"):
        made.order()


def test_an_estimator_that_does_not_do_the_task_stays_to_be_changed() -> None:
    made = form("churned", estimator="logistic_regression")
    made.change(target="value")
    assert "no regression" in made.state()["problems"]["estimator"]
    assert "logistic_regression" in [e["key"] for e in made.catalog()["estimators"]]


def test_an_estimator_that_was_given_keeps_its_parameters() -> None:
    made = TrainForm(dict, FRAME, RandomForestClassifier(n_estimators=3, max_depth=2))
    made.change(target="churned", parameters={"max_depth": "4"})
    final = made.order().model[-1]
    assert (final.n_estimators, final.max_depth) == (3, 4)
