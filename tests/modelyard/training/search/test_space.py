"""Spaces: what can be given, what is inferred, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import all_estimators
from xgboost import XGBClassifier, XGBRegressor

from modelyard.errors import InvalidInput
from modelyard.training.options import SearchOptions
from modelyard.training.search.inferred import SPACES, TRANSFORMERS, last_step, space_for
from modelyard.training.search.space import Choice, Range, combinations, space_of


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1, 10), Range(1, 10)),
        ((0.1, 1), Range(0.1, 1)),
        ((1e-3, 1e3, "log"), Range(1e-3, 1e3, log=True)),
        ((np.int64(1), np.float64(2.5)), Range(1, 2.5)),
        (["rbf", "linear"], Choice(("rbf", "linear"))),
        ([(50,), (50, 50)], Choice(((50,), (50, 50)))),
        ([None], Choice((None,))),
        (FloatDistribution(0.1, 1.0, step=0.1), Range(0.1, 1.0, step=0.1)),
        (IntDistribution(1, 64, log=True), Range(1, 64, log=True)),
        (CategoricalDistribution(["a", "b"]), Choice(("a", "b"))),
    ],
)
def test_what_a_parameter_may_be_given_as(given: Any, expected: Range | Choice) -> None:
    assert space_of({"C": given}, SVC()) == {"C": expected}


@pytest.mark.parametrize(
    ("space", "wrong", "right"),
    [
        ({}, "the space is empty", "Give"),
        ({"c_": (1, 2)}, "no parameter 'c_'", "It has: C, break_ties"),
        ({"gama": (1, 2)}, "no parameter 'gama'", "Did you mean 'gamma'"),
        ({"C": (2, 1)}, "'C' is empty: 2 is not below 1", "low, high"),
        ({"C": (1, 1)}, "1 is not below 1", "low, high"),
        ({"C": (0, 1, "log")}, "begins at 0", "Begin above 0"),
        ({"C": (1, 2, "lin")}, "'C' is", "low, high"),
        ({"C": (1, float("inf"))}, "inf as an end", "two numbers"),
        ({"kernel": ("rbf", "linear")}, "'rbf' as an end", "list of choices"),
        ({"shrinking": (False, True)}, "False as an end", "list of choices"),
        ({"kernel": []}, "no choices", "at least one"),
        ({"C": [1, 2, 1]}, "has 1 twice", "once"),
        ({"C": 3}, "'C' is 3", "low, high"),
    ],
)
def test_what_is_refused_is_named(space: Any, wrong: str, right: str) -> None:
    with pytest.raises(InvalidInput, match=wrong) as raised:
        space_of(space, SVC())
    assert right in str(raised.value.remedy)


def test_the_name_of_a_step_s_parameter_is_suggested() -> None:
    with pytest.raises(InvalidInput) as raised:
        space_of({"C": (1, 2)}, make_pipeline(StandardScaler(), SVC()))
    assert raised.value.remedy == "Did you mean 'svc__C'?"


def test_choices_that_optuna_cannot_keep_are_drawn_by_their_text() -> None:
    choice = Choice(((50,), (50, 50)))
    assert choice.distribution() == CategoricalDistribution(["(50,)", "(50, 50)"])
    assert choice.value("(50, 50)") == (50, 50)


def test_combinations_are_counted_where_they_can_be() -> None:
    assert combinations({"a": Choice((1, 2, 3)), "b": Range(2, 5), "c": Range(0.1, 0.5, step=0.1)}) == 3 * 4 * 5
    assert combinations({"a": Choice((1, 2)), "b": Range(0.0, 1.0)}) is None


ESTIMATORS = dict(all_estimators()) | {c.__name__: c for c in (XGBClassifier, XGBRegressor, LGBMClassifier)}


@pytest.mark.parametrize("name", sorted((SPACES.keys() | TRANSFORMERS.keys()) - {"LGBMRegressor"}))
def test_the_ends_of_an_inferred_space_are_values_that_the_estimator_takes(name: str) -> None:
    space = (SPACES | TRANSFORMERS)[name]
    for part in space.values():
        assert part.distribution()
    for end in (0, -1):
        estimator = ESTIMATORS[name]()
        values = {n: (p.low, p.high)[end] if isinstance(p, Range) else p.values[end] for n, p in space.items()}
        estimator.set_params(**values)
        assert {n: estimator.get_params()[n] for n in values} == values
        if hasattr(estimator, "_parameter_constraints"):
            estimator._validate_params()


@pytest.mark.parametrize(
    ("estimator", "prefix"),
    [
        (LogisticRegression(), ""),
        (make_pipeline(StandardScaler(), LogisticRegression()), "logisticregression__"),
        (OneVsRestClassifier(LogisticRegression()), "estimator__"),
        (make_pipeline(PCA(), OneVsRestClassifier(LogisticRegression())), "onevsrestclassifier__estimator__"),
    ],
)
def test_the_space_is_that_of_the_estimator_that_does_the_work(estimator: Any, prefix: str) -> None:
    assert set(space_for(estimator)) == {f"{prefix}C", f"{prefix}class_weight"}
    assert isinstance(last_step(estimator)[1], LogisticRegression)


def test_steps_before_the_last_are_searched_when_asked() -> None:
    numbers = make_pipeline(SimpleImputer(), PolynomialFeatures())
    columns = ColumnTransformer([("n", numbers, ["a"]), ("c", SimpleImputer(strategy="most_frequent"), ["b"])])
    pipeline = make_pipeline(columns, RandomForestClassifier())
    plain, asked = space_for(pipeline), space_for(pipeline, preprocessing=True)
    steps = {"n__simpleimputer__strategy", "n__polynomialfeatures__degree"}
    assert set(asked) - set(plain) == {f"columntransformer__{name}" for name in steps}
    assert set(asked) <= set(pipeline.get_params(deep=True))


def test_an_estimator_of_which_nothing_is_known_needs_a_space() -> None:
    class Own(BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            return self

    with pytest.raises(InvalidInput, match="no space is known for Own"):
        space_for(Own())
    for transformer in (KNNImputer(), KBinsDiscretizer(), TfidfVectorizer()):
        with pytest.raises(InvalidInput, match="no space"):
            space_for(transformer)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"trials": 0}, "trials=0"),
        ({"trials": True}, "trials=True"),
        ({"parallel": -1}, "parallel=-1"),
        ({"cv": 1}, "cv=1"),
        ({"timeout": 0}, "timeout=0"),
        ({"metric": 3}, "metric=3"),
        ({"direction": "minimize"}, "direction='minimize' does not go with metric=None"),
        ({"direction": "down", "metric": lambda model, X, y: 0.0}, "direction='down'"),
    ],
)
def test_options_are_checked(option: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SearchOptions({"C": Range(1, 2)}, **option)
