"""A model that gets a bare array answers as with the frame, to the last bit; one that could tell gets the frame."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from inspect import signature as signature_of
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import all_estimators
from threadpoolctl import threadpool_limits

from modelyard_api.models import ColumnKind, Flavor, PackageManifest, Signature, TensorSpec
from modelyard_server.block import Block
from modelyard_server.dataplane import DataPlane
from modelyard_server.fast import Reader
from modelyard_server.flavors import bare
from modelyard_server.flavors.bare import forget_names
from modelyard_server.flavors.base import Columns
from modelyard_server.flavors.estimator import EstimatorModel
from modelyard_server.flavors.frame import array, frame

RNG = np.random.default_rng(3)
N = 60
FLOATS = pd.DataFrame(RNG.gamma(2.0, size=(N, 4)), columns=["d", "c", "b", "a"])
MIXED = FLOATS.assign(c=RNG.integers(0, 9, N), b=FLOATS["b"].astype("float32"), a=RNG.integers(0, 9, N).astype("uint8"))
GAPS = FLOATS.mask(RNG.random(FLOATS.shape) < 0.2)
TABLES = {"floats": FLOATS, "mixed": MIXED, "gaps": GAPS}
LABELS = np.where(FLOATS["d"] + FLOATS["a"] > 4, "many", "few")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several may add numbers up in another order each time."""
    with threadpool_limits(1):
        yield


def signature(table: pd.DataFrame, *, probabilities: bool = True) -> Signature:
    kinds = {"O": ColumnKind.string, "b": ColumnKind.boolean}
    inputs = tuple(
        TensorSpec(
            name=name,
            kind=kinds.get(np.asarray(table[name]).dtype.kind, ColumnKind.number),
            dtype=str(table[name].dtype),
            required=not table[name].isna().any(),
        )
        for name in table.columns
    )
    label = TensorSpec(name="label", kind=ColumnKind.string, dtype="str", shape=(-1,))
    outputs = (label, TensorSpec(name="probabilities", dtype="float64", shape=(-1, 2)))
    return Signature(layout="table", inputs=inputs, outputs=outputs if probabilities else outputs[:1])


def columns(table: pd.DataFrame) -> Columns:
    """As the server's short way makes them of a request, or its long way where it makes none."""
    said = signature(table)
    short = all(spec.kind is ColumnKind.number and spec.required for spec in said.inputs)
    together = Reader(said).matrix(table.to_numpy("float64")) if short else None
    return {name: table[name].to_numpy() for name in table.columns} if together is None else together


def outputs(model: Any, given: Any) -> dict[str, bytes]:
    """All that it answers, as bytes."""
    found = {}
    for method in ("predict", "predict_proba", "transform"):
        if hasattr(model, method):
            answer = getattr(model, method)(given)
            answer = answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)
            found[method] = bytes(str(answer.dtype), "ascii") + answer.tobytes()
    return found


def makes_an_array(kind: type[Any]) -> bool:
    return any(f"{kind.__module__}.".startswith(f"sklearn.{own}.") for own in bare._OWN)


KINDS = {name: kind for name, kind in all_estimators() if makes_an_array(kind)}
TAKEN = {"predict", "transform"}
FEW = {"max_iter": 5, "n_estimators": 5}


def fitted(kind: type[Any], table: pd.DataFrame) -> Any:
    """None: it takes no such rows, or is no model of rows."""
    wanted = signature_of(kind).parameters
    target = LABELS if issubclass(kind, ClassifierMixin) else table["d"].fillna(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for y in (target, np.column_stack([target, target])):
            with suppress(ValueError, TypeError):
                return kind(**{name: few for name, few in FEW.items() if name in wanted}).fit(table.copy(), y)
    return None


@pytest.mark.parametrize("name", KINDS)
def test_every_estimator_that_is_given_an_array(name: str) -> None:
    for table in TABLES.values():
        model = fitted(KINDS[name], table)
        if model is None:
            continue
        asked = [columns(rows) for rows in (table, table[:1], table[7:30])]
        said = signature(table)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [outputs(model, frame(said, given)) for given in asked]
        # The same object: a copy's numbers may lie otherwise in memory, and be multiplied in another order.
        if not forget_names(model, said):
            assert name in FRAMES
            continue
        assert name not in FRAMES
        assert any(expected) or not TAKEN & set(dir(model))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?!X )")
            assert [outputs(model, array(said, given)) for given in asked] == expected


FRAMES = {*bare._LOOK_FIRST, "FunctionTransformer"}
"""Of those modules; a FunctionTransformer without a function makes nothing of a frame when it is the last one."""


@pytest.mark.parametrize("kind", TABLES)
def test_the_array_is_the_one_that_numpy_makes_of_the_frame(kind: str) -> None:
    table = TABLES[kind]
    for rows in (table, table[:1], table[["b"]]):
        said, given = signature(rows), columns(rows)
        wanted, found = np.asarray(frame(said, given)), array(said, given)
        assert (found.dtype, found.tobytes("A")) == (wanted.dtype, wanted.tobytes("A"))
        assert found.strides == wanted.strides
        assert found.flags.writeable


def test_what_a_requests_bytes_hold_is_not_written_into() -> None:
    matrix = np.frombuffer(FLOATS.to_numpy().tobytes()).reshape(FLOATS.shape)
    assert array(signature(FLOATS), Block({}, matrix)).flags.writeable


class Own(TransformerMixin, BaseEstimator):
    """A user's own, which takes a column by name."""

    def fit(self, X: Any, y: Any = None) -> Own:
        return self

    def transform(self, X: Any) -> Any:
        return X[["a"]]


class OwnScaler(StandardScaler):
    """Nobody knows what it does before."""


def log_a(X: Any) -> Any:
    return np.log1p(X[["a"]])


BARE: dict[str, Callable[[], Any]] = {
    "elementwise": lambda: FunctionTransformer(np.log1p),
    "nothing": lambda: FunctionTransformer(),
    "passthrough": lambda: "passthrough",
    "a pipeline": lambda: make_pipeline(FunctionTransformer(np.sqrt), StandardScaler()),
    "then by column": lambda: make_pipeline(StandardScaler(), OneHotEncoder(handle_unknown="ignore")),
    "validated": lambda: FunctionTransformer(np.log1p, validate=True),
}
FRAMED: dict[str, Callable[[], Any]] = {
    "by name": lambda: make_column_transformer((StandardScaler(), ["a", "d"])),
    "a user's own": Own,
    "a user's own heir": OwnScaler,
    "a function": lambda: FunctionTransformer(log_a),
    "by column": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "answers frames": lambda: StandardScaler().set_output(transform="pandas"),
    "in place": lambda: StandardScaler(copy=False),
    "another within": lambda: SelectFromModel(LogisticRegression()),
    "keywords": lambda: FunctionTransformer(np.log1p, kw_args={"dtype": "float32"}),
}


def both(first: Any, table: pd.DataFrame, last: Any = None) -> tuple[EstimatorModel, Any]:
    """What serves the pipeline, and the notebook's own."""
    model = make_pipeline(first, LogisticRegression() if last is None else last)
    model.fit(table.copy(), LABELS)  # a copy: what scales in place does so here, too
    manifest = PackageManifest(
        flavor=Flavor.skops, path="", task="classification", classes=("few", "many"), signature=signature(table)
    )
    return EstimatorModel(manifest, copy.deepcopy(model)), model


def asked(rows: pd.DataFrame) -> pd.DataFrame:
    """As a notebook asks it, with rows of its own."""
    return frame(signature(rows), columns(rows))


def same(served: EstimatorModel, model: Any, table: pd.DataFrame) -> None:
    for rows in (table, table[:1]):
        for wanted in (None, frozenset({"label"}), frozenset({"probabilities"})):
            found = served.predict_only(columns(rows), wanted)
            expected = {"label": model.predict(asked(rows)), "probabilities": model.predict_proba(asked(rows))}
            assert set(found) == set(wanted or expected)
            for name, values in found.items():
                assert values.dtype == expected[name].dtype
                assert values.tolist() == expected[name].tolist(), name


@pytest.mark.parametrize("kind", BARE)
def test_pipelines_that_make_an_array_first(kind: str) -> None:
    served, model = both(BARE[kind](), FLOATS)
    assert served._table is array
    same(served, model, FLOATS)


@pytest.mark.parametrize("kind", FRAMED)
def test_pipelines_that_can_tell_a_frame(kind: str) -> None:
    served, model = both(FRAMED[kind](), FLOATS)
    assert served._table is frame
    same(served, model, FLOATS)


TEXTS = FLOATS.assign(b=np.where(LABELS == "few", "x", "y"))
TRUTHS = FLOATS.assign(b=FLOATS["b"] > 2)


@pytest.mark.parametrize(
    ("first", "table", "last"),
    [
        (SimpleImputer(strategy="most_frequent"), TRUTHS, None),
        (make_column_transformer((OneHotEncoder(), ["b"]), remainder="passthrough"), TEXTS, None),
        ("passthrough", TRUTHS, RandomForestClassifier(5)),
        ("passthrough", FLOATS, VotingClassifier([("a", LogisticRegression())], voting="soft")),
        ("passthrough", GAPS.astype({"a": "Float64"}), HistGradientBoostingClassifier(max_iter=3)),
        (FunctionTransformer(np.log1p), MIXED, None),
    ],
    ids=["truths", "texts", "truths to trees", "others within", "nullable", "narrow columns"],
)
def test_tables_that_stay_frames(first: Any, table: pd.DataFrame, last: Any) -> None:
    served, model = both(first, table, last)
    assert served._table is frame
    same(served, model, table)


def test_categories_stay_a_frame() -> None:
    table = FLOATS.assign(b=pd.Categorical(np.where(LABELS == "few", "x", "y")))
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype").fit(table, LABELS)
    assert not forget_names(model, signature(FLOATS))
    numbered = TensorSpec(name="b", dtype="int64", categories=(3, 1))
    assert not forget_names(StandardScaler(), Signature(layout="table", inputs=(numbered,), outputs=()))


@pytest.mark.parametrize("kind", ["gaps", "floats"])
def test_missing_values_go_with_the_array(kind: str) -> None:
    served, model = both("passthrough", TABLES[kind], HistGradientBoostingClassifier(max_iter=3))
    assert served._table is array
    same(served, model, TABLES[kind])


def test_what_the_model_itself_makes_infinite_is_refused_as_in_the_notebook() -> None:
    served, model = both(FunctionTransformer(np.log1p), FLOATS)
    rows = FLOATS[:1].assign(a=-1.0)
    with np.errstate(divide="ignore"):
        with pytest.raises(ValueError, match="Input X contains infinity") as notebook:
            model.predict(rows)
        with pytest.raises(ValueError, match="Input X contains infinity") as ours:
            served.predict(columns(rows))
    assert str(ours.value) == str(notebook.value)


def test_columns_in_another_order_are_refused_as_in_the_notebook() -> None:
    model = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()).fit(FLOATS, LABELS)
    turned = FLOATS[["a", "b", "c", "d"]]
    manifest = PackageManifest(flavor=Flavor.skops, path="", task="classification", signature=signature(turned))
    with pytest.raises(ValueError, match="in the same order"):
        EstimatorModel(manifest, model).predict(columns(turned))


class Counting(StandardScaler):
    """Counts how often rows are prepared."""

    asked = 0

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        type(self).asked += 1
        return super().transform(X)


def test_rows_are_prepared_once_for_labels_and_probabilities() -> None:
    served, _ = both(Counting(), FLOATS)
    before = Counting.asked
    plane: Mapping[str, Any] = DataPlane(PackageManifest.model_construct(signature=signature(FLOATS)), served).run(
        columns(FLOATS)
    )
    assert list(plane) == ["label", "probabilities"]
    assert Counting.asked == before + 1


def test_neighbors_that_are_counted_otherwise_for_an_array() -> None:
    ties = FLOATS.round().clip(0, 3)
    served, model = both("passthrough", ties, KNeighborsClassifier(5, algorithm="brute", metric="manhattan"))
    assert served._table is frame
    same(served, model, ties)


def test_a_step_in_place_within_the_last_one_prepares_the_rows_once() -> None:
    first = make_column_transformer((StandardScaler(), list(FLOATS)))
    served, model = both(first, FLOATS, make_pipeline(MinMaxScaler(copy=False), LogisticRegression()))
    same(served, model, FLOATS)
