"""Bad input is refused before a process is started, and the message names the column."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from modelyard.errors import InvalidInput
from modelyard.training import problems

N = 40


class Own(ClassifierMixin, BaseEstimator):
    """A user's estimator, which may take anything."""

    def fit(self, X: Any, y: Any) -> Any:
        return self


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"age": np.arange(N, dtype=float), **columns})


def nan_at(*where: int) -> Any:
    values = np.arange(N, dtype=float)
    values[list(where)] = np.nan
    return values


LABELS = np.array(["no", "yes"] * (N // 2))
NUMBERS = np.arange(N, dtype=float)
CITY = np.array(["Bonn", "Kiel"] * (N // 2))
CATEGORY = pd.Categorical(CITY)
ENCODED = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
TWICE = pd.DataFrame(np.zeros((N, 3)), columns=["a", "b", "a"])
CLASSIFIER, REGRESSOR = LogisticRegression(), LinearRegression()


@pytest.mark.parametrize(
    ("model", "X", "y", "said"),
    [
        (CLASSIFIER, frame().iloc[:0], LABELS[:0], "no rows"),
        (CLASSIFIER, pd.DataFrame(index=range(N)), LABELS, "no columns"),
        (CLASSIFIER, TWICE, LABELS, "more than one column named 'a'"),
        (CLASSIFIER, pd.DataFrame({"a": NUMBERS, 1: NUMBERS}), LABELS, "such as 1"),
        (CLASSIFIER, frame(), np.full(N, "no"), "y is no in every row"),
        (REGRESSOR, frame(), np.ones(N), "y is 1.0 in every row"),
        (REGRESSOR, frame(), nan_at(4, 17), "missing in 2 of 40 rows: number 4, 17"),
        (CLASSIFIER, frame(), pd.Series([None, *LABELS[1:]]), "missing in 1 of 40 rows: number 0"),
        (REGRESSOR, frame(), np.where(NUMBERS == 3, np.inf, NUMBERS), "y is infinite in row 3"),
        (CLASSIFIER, frame(), NUMBERS / 7, "fractions, such as 0.142857, and LogisticRegression"),
        (REGRESSOR, frame(), LABELS, "LinearRegression is a regressor"),
        (CLASSIFIER, frame(city=CITY), LABELS, "column 'city' holds text, and LogisticRegression takes numbers"),
        (CLASSIFIER, frame(city=CATEGORY, to=CITY), LABELS, "columns 'city', 'to' hold text and categories"),
        (CLASSIFIER, frame(at=pd.date_range("2026", periods=N)), LABELS, r"dates.*X\['at'\].dt.year"),
        (
            make_pipeline(StandardScaler(), CLASSIFIER),
            frame(city=CITY),
            LABELS,
            "StandardScaler takes numbers.*Encoder",
        ),
        (make_pipeline(SimpleImputer(), CLASSIFIER), frame(city=CITY), LABELS, "SimpleImputer takes numbers"),
        (GridSearchCV(CLASSIFIER, {"C": [1]}), frame(city=CITY), LABELS, "column 'city'"),
        (HistGradientBoostingClassifier(), frame(city=CITY), LABELS, "column 'city'"),
        (LGBMClassifier(), frame(city=CITY), LABELS, "column 'city'"),
        (XGBClassifier(), frame(city=CITY), LABELS, "column 'city'"),
        (XGBClassifier(enable_categorical=False), frame(city=CATEGORY), LABELS, "categories"),
        (CLASSIFIER, np.column_stack([CITY.astype(object), NUMBERS]), LABELS, "'column 0' holds text"),
        (CLASSIFIER, frame(pay=np.full(N, np.nan)), LABELS, "'pay' has no value"),
        (CLASSIFIER, frame(pay=nan_at(1, 2)), LABELS, "pay misses 2 values, and LogisticRegression.*SimpleImputer"),
        (make_pipeline(StandardScaler(), CLASSIFIER), frame(pay=nan_at(1)), LABELS, "pay misses 1 value, and Logistic"),
        (KNeighborsClassifier(), np.column_stack([NUMBERS, nan_at(3)]), LABELS, "column 1 misses 1 value"),
        (CLASSIFIER, frame(pay=np.where(NUMBERS == 3, np.inf, 1)), LABELS, "pay holds infinite values"),
    ],
)
def test_refused(model: Any, X: Any, y: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        problems.check(model, X, y, test_size=0.2)


@pytest.mark.parametrize(
    ("model", "X", "y"),
    [
        (CLASSIFIER, frame(), LABELS),
        (CLASSIFIER, frame(), LABELS.reshape(-1, 1)),
        (CLASSIFIER, frame(), pd.DataFrame({"y": LABELS})),
        (CLASSIFIER, frame(), np.arange(N) % 3),
        (CLASSIFIER, frame(), (NUMBERS > 3).astype(float)),
        (CLASSIFIER, frame(n=pd.array([None, *range(N - 1)], dtype="Int64").fillna(0)), LABELS),
        (CLASSIFIER, frame(n=np.array([str(i) for i in range(N)], dtype=object)), LABELS),  # scikit-learn reads these
        (CLASSIFIER, frame(n=np.arange(N).astype(object)), LABELS),
        (CLASSIFIER, sparse.csr_array(np.eye(N)), LABELS),
        (CLASSIFIER, [[float(i)] for i in range(N)], list(LABELS)),
        (REGRESSOR, frame(), np.column_stack([NUMBERS, NUMBERS])),
        (make_pipeline(ENCODED, CLASSIFIER), frame(city=CITY), LABELS),
        (make_pipeline(FunctionTransformer(), CLASSIFIER), frame(city=CITY), LABELS),
        (make_pipeline(SimpleImputer(), CLASSIFIER), frame(pay=nan_at(1)), LABELS),
        (make_pipeline(TfidfVectorizer(), CLASSIFIER), CITY, LABELS),
        (Pipeline([("none", "passthrough"), ("own", Own())]), frame(city=CITY, pay=nan_at(1)), LABELS),
        (Own(), frame(city=CITY, pay=np.full(N, np.inf)), LABELS),
        (HistGradientBoostingClassifier(), frame(city=CATEGORY, pay=nan_at(1)), LABELS),
        (HistGradientBoostingClassifier(categorical_features=["city"]), frame(city=CITY), LABELS),
        (RandomForestClassifier(), frame(pay=nan_at(1)), LABELS),
        (LGBMClassifier(), frame(city=CATEGORY, pay=nan_at(1)), LABELS),
        (XGBClassifier(enable_categorical=True), frame(city=CATEGORY, pay=nan_at(1)), np.arange(N) % 2),
    ],
)
def test_taken(model: Any, X: Any, y: Any) -> None:
    assert problems.check(model, X, y, test_size=0.2) == []


def test_small_classes() -> None:
    y = np.array(["a"] * 30 + ["b"] * 5 + ["c"] * 5)
    assert problems.check(CLASSIFIER, frame(), y, test_size=0.2, options=SimpleNamespace(cv=4)) == []
    with pytest.raises(InvalidInput, match="class b has 5 rows; cv=5 needs 7 of each class"):
        problems.check(CLASSIFIER, frame(), y, test_size=0.2, options=SimpleNamespace(cv=5))
    y[-4:] = "a"
    warnings = problems.check(CLASSIFIER, frame(), y, test_size=0.2)
    assert len(warnings) == 1
    assert "class c has 1 row" in warnings[0]
    assert problems.check(CLASSIFIER, frame(), y) == []


def test_an_empty_column_is_a_warning_where_missing_values_are_taken() -> None:
    X = frame(pay=np.full(N, np.nan))
    assert problems.check(HistGradientBoostingClassifier(), X, LABELS) == ["column pay has no value at all"]


def test_class_weights_need_an_estimator_that_takes_them() -> None:
    balanced = SimpleNamespace(class_weight="balanced")
    assert problems.check(CLASSIFIER, frame(), LABELS, options=balanced) == []
    assert problems.check(make_pipeline(StandardScaler(), XGBClassifier()), frame(), LABELS, options=balanced) == []
    with pytest.raises(InvalidInput, match=r"KNeighborsClassifier has no such parameter.*LogisticRegression"):
        problems.check(KNeighborsClassifier(), frame(), LABELS, options=balanced)
    with pytest.raises(InvalidInput, match="no classifier"):
        problems.check(REGRESSOR, frame(), NUMBERS, options=balanced)


def test_too_few_rows_for_the_split() -> None:
    with pytest.raises(InvalidInput, match=r"of 1 row test_size=0.2 leaves none"):
        problems.check(REGRESSOR, np.ones((1, 1)), np.ones(1), test_size=0.2)
