"""A ColumnTransformer that gets arrays answers as with the frame, to the last bit; who could tell gets the frame."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from modelyard_api.models import ColumnKind, Flavor, PackageManifest, Signature, TensorSpec
from modelyard_server.dataplane import DataPlane
from modelyard_server.fast import Reader
from modelyard_server.flavors.base import Columns
from modelyard_server.flavors.by_column import by_column, same
from modelyard_server.flavors.estimator import EstimatorModel
from modelyard_server.flavors.frame import array, frame

RNG = np.random.default_rng(5)
N = 60
FLOATS = pd.DataFrame(RNG.normal(3.0, size=(N, 5)), columns=list("edcba"))
MIXED = FLOATS.assign(
    c=RNG.integers(0, 9, N),
    b=FLOATS["b"].astype("float32"),
    s=RNG.choice(["x", "yy", "z"], N),
    t=RNG.choice(["u", "v"], N),
)
GAPS = MIXED.assign(
    e=FLOATS["e"].mask(RNG.random(N) < 0.2), s=MIXED["s"].mask(RNG.random(N) < 0.2), t=MIXED["t"].astype(object)
)
GAPS.loc[3, "t"] = None
LABELS = np.where(FLOATS["d"] + FLOATS["a"] > 6, "many", "few")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several may add numbers up in another order each time."""
    with threadpool_limits(1):
        yield


def manifest(table: pd.DataFrame, *, example: bool = True) -> PackageManifest:
    inputs = []
    for name in table.columns:
        number = pd.api.types.is_numeric_dtype(table[name])
        kind = ColumnKind.number if number else ColumnKind.string
        required = not table[name].isna().any()
        inputs.append(TensorSpec(name=name, kind=kind, dtype=str(table[name].dtype), required=required))
    outputs = (
        TensorSpec(name="label", kind=ColumnKind.string, dtype="str", shape=(-1,)),
        TensorSpec(name="probabilities", dtype="float64", shape=(-1, 2)),
    )
    rows = [{k: None if pd.isna(v) else v for k, v in row.items()} for row in table[:4].to_dict("records")]
    return PackageManifest(
        flavor=Flavor.skops,
        path="",
        task="classification",
        classes=("few", "many"),
        signature=Signature(layout="table", inputs=tuple(inputs), outputs=outputs),
        example=rows if example else [],
    )


def given(table: pd.DataFrame) -> Columns:
    """As the server makes them of a request's rows: as one block where all are floats."""
    said = manifest(table)
    together = Reader(said.signature).matrix(table.to_numpy("float64")) if not table.dtypes.eq("str").any() else None
    if together is not None:
        return together
    values = {name: [None if pd.isna(v) else v for v in table[name].tolist()] for name in table.columns}
    return DataPlane(said, None).check(values)  # type: ignore[arg-type]  # only its checks


ENCODER: dict[str, Any] = {"handle_unknown": "ignore"}
TAKEN: dict[str, tuple[Callable[[], Any], pd.DataFrame]] = {
    "numbers": (lambda: make_column_transformer((StandardScaler(), ["a", "d"]), (MinMaxScaler(), ["c", "b"])), FLOATS),
    "far apart": (lambda: make_column_transformer((StandardScaler(), ["a", "d", "e"]), (PCA(2), list("edb"))), FLOATS),
    "rows in one piece": (lambda: make_column_transformer((StandardScaler(), list("edb"))), FLOATS),
    "each second one": (lambda: make_column_transformer((PCA(3), list("eca")), (PCA(2), list("bd"))), FLOATS),
    "by number": (lambda: make_column_transformer((PCA(2), [4, 0, 1]), remainder="passthrough"), FLOATS),
    "all, as they are": (lambda: make_column_transformer(("passthrough", list("edcba"))), FLOATS),
    "texts": (
        lambda: make_column_transformer((StandardScaler(), list("edcba")), (OneHotEncoder(**ENCODER), ["s", "t"])),
        MIXED,
    ),
    "by type": (
        lambda: make_column_transformer(
            (PCA(2), make_column_selector(dtype_include="number")),
            (OneHotEncoder(drop="first"), make_column_selector(dtype_exclude="number")),
        ),
        MIXED,
    ),
    "sparse": (
        lambda: make_column_transformer(
            (OneHotEncoder(**ENCODER), ["s", "t"]), ("drop", ["a"]), remainder="passthrough", sparse_threshold=1.0
        ),
        MIXED,
    ),
    "the rest": (
        lambda: make_column_transformer(
            (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["t", "s"]), remainder=MinMaxScaler()
        ),
        MIXED,
    ),
    "gaps": (
        lambda: make_column_transformer(
            (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), list("edcba")),
            (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(**ENCODER)), ["s"]),
            (OneHotEncoder(**ENCODER), ["s", "t"]),
        ),
        GAPS,
    ),
}


class Own(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A user's own, which takes columns by name."""

    def fit(self, X: Any, y: Any = None) -> Own:
        self.fitted_ = True
        return self

    def transform(self, X: Any) -> Any:
        return X[["a"]]


class OwnColumns(ColumnTransformer):  # type: ignore[misc]
    """Nobody knows what it does before."""


FRAMED: dict[str, tuple[Callable[[], Any], pd.DataFrame]] = {
    "a user's own": (lambda: make_column_transformer((Own(), ["a", "b"])), FLOATS),
    "a user's own heir": (lambda: OwnColumns([("s", StandardScaler(), ["a", "b"])]), FLOATS),
    "a function": (lambda: make_column_transformer((FunctionTransformer(lambda X: X[["a"]]), ["a", "b"])), FLOATS),
    "one column, not a table": (lambda: make_column_transformer((TfidfVectorizer(token_pattern="."), "s")), MIXED),
    "encoded numbers": (lambda: make_column_transformer((OneHotEncoder(**ENCODER), ["c"])), MIXED),
    "texts and numbers": (lambda: make_column_transformer((OneHotEncoder(**ENCODER), ["c", "s"])), MIXED),
    "answers frames": (
        lambda: make_column_transformer((StandardScaler(), ["a"])).set_output(transform="pandas"),
        FLOATS,
    ),
    "one answers frames": (
        lambda: make_column_transformer((StandardScaler().set_output(transform="pandas"), ["a"])),
        FLOATS,
    ),
    "weights": (
        lambda: ColumnTransformer([("s", StandardScaler(), ["a", "b"])], transformer_weights={"s": 2.0}),
        FLOATS,
    ),
    "texts in place": (
        lambda: make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="most_frequent", copy=False), OneHotEncoder()), ["s", "t"])
        ),
        MIXED,
    ),
    "in place": (lambda: make_column_transformer((StandardScaler(copy=False), ["a", "b"])), FLOATS),
}


def both(first: Any, table: pd.DataFrame, last: Any) -> tuple[EstimatorModel, Any]:
    """What serves the pipeline, and the notebook's own."""
    model = make_pipeline(first, last).fit(table.copy(), LABELS)
    return EstimatorModel(manifest(table), copy.deepcopy(model)), model


def asked(rows: pd.DataFrame) -> pd.DataFrame:
    """As a notebook asks it, with rows of its own."""
    return frame(manifest(rows).signature, given(rows))


def held(served: EstimatorModel, model: Any, table: pd.DataFrame) -> None:
    for rows in (table, table[::-1], table[3:4], table[:1]):
        found = served.predict(given(rows))
        assert found["label"].tolist() == model.predict(asked(rows)).tolist()
        assert same(found["probabilities"], model.predict_proba(asked(rows)))


@pytest.mark.parametrize("kind", TAKEN)
def test_what_gets_its_columns_as_arrays(kind: str) -> None:
    make, table = TAKEN[kind]
    for last in (LogisticRegression(), HistGradientBoostingClassifier(max_iter=3)):
        if kind == "sparse" and not isinstance(last, LogisticRegression):
            continue  # it takes no sparse matrix
        served, model = both(make(), table, last)
        assert served._table not in (array, frame)
        for rows in (table, table[:1]):
            assert same(served._table(manifest(rows).signature, given(rows)), model[0].transform(asked(rows)))
        held(served, model, table)


@pytest.mark.parametrize("kind", FRAMED)
def test_what_gets_a_frame(kind: str) -> None:
    make, table = FRAMED[kind]
    served, model = both(make(), table, LogisticRegression())
    assert served._table is frame
    held(served, model, table)


def test_categories_that_training_never_saw() -> None:
    make, table = TAKEN["texts"]
    served, model = both(make(), table, LogisticRegression())
    held(served, model, table.assign(s="new"))
    refusing = make_column_transformer((OneHotEncoder(), ["s", "t"]))
    served, model = both(refusing, table, LogisticRegression())
    rows = table[:2].assign(t="new")
    with pytest.raises(ValueError, match="unknown categories") as notebook:
        model.predict(rows)
    with pytest.raises(ValueError, match="unknown categories") as ours:
        served.predict(given(rows))
    assert str(ours.value) == str(notebook.value)


def test_nothing_is_taken_from_the_model_itself() -> None:
    make, table = TAKEN["gaps"]
    fitted = make().fit(table)
    before = [list(step.feature_names_in_) for _, step, _ in fitted.transformers_]
    assert by_column(fitted, manifest(table)) is not None
    assert [list(step.feature_names_in_) for _, step, _ in fitted.transformers_] == before
    fitted.transform(table)


def test_without_an_example_nothing_is_tried() -> None:
    make, table = TAKEN["texts"]
    assert by_column(make().fit(table), manifest(table, example=False)) is None


class Deviates(StandardScaler):  # type: ignore[misc]
    """As if a scikit-learn took arrays otherwise."""

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        return super().transform(X) + (0.0 if hasattr(X, "columns") else 1e-9)


def test_what_answers_the_example_otherwise_gets_a_frame() -> None:
    Deviates.__module__ = StandardScaler.__module__
    served, model = both(make_column_transformer((Deviates(), ["a", "d"])), FLOATS, LogisticRegression())
    assert served._table is frame
    held(served, model, FLOATS)
