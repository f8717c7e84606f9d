"""Pipelines on data frames: text, categories, booleans, missing values, labels of every type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from modelyard.packaging import build
from modelyard.packaging.answers import compare, observe
from modelyard.packaging.rows import columns_of
from modelyard_api.models import Flavor, PackageManifest
from modelyard_server.dataplane import DataPlane, load

NUMBERS, WORDS = ["age", "spend", "visits"], ["plan", "region"]


def _table(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, rows),
            "spend": rng.lognormal(3, 1, rows),
            "visits": rng.integers(0, 50, rows),
            "plan": rng.choice(["basic", "pro", "free"], rows),
            "region": rng.choice(["north", "süd", "east"], rows),
            "loyal": rng.random(rows) > 0.5,
        }
    )
    table.loc[rng.random(rows) < 0.1, "age"] = np.nan
    table.loc[rng.random(rows) < 0.1, "region"] = None
    return table


def _labels(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    return np.asarray((table["spend"] > 20) & (table["plan"] != "pro"))


def _pipeline(last: Any, words: Any, scale: bool = True) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(strategy="median"), *([StandardScaler()] if scale else []))
    prepare = ColumnTransformer([("n", numbers, NUMBERS), ("w", words, WORDS), ("b", "passthrough", ["loyal"])])
    return Pipeline([("prepare", prepare), ("last", last)])


def _published(model: Any, table: pd.DataFrame, path: Path) -> tuple[PackageManifest, DataPlane]:
    manifest = build(model, table[:5], directory=path / "package", training=table, trial=False)
    return manifest, load(path / "package")


def _same(model: Any, table: pd.DataFrame, manifest: PackageManifest, plane: DataPlane) -> None:
    _, expected = observe(model, table)
    assert not compare(expected, plane.predict(columns_of(table, manifest.signature.inputs)), 1e-5).problem


IMPUTED = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
CONSTANT = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore"))
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (LogisticRegression(max_iter=500), IMPUTED),
        (LogisticRegression(max_iter=500), OneHotEncoder(handle_unknown="ignore")),
        (RandomForestClassifier(20, random_state=0), CONSTANT),
        (RandomForestClassifier(20, random_state=0), ORDINAL),
        (HistGradientBoostingClassifier(max_iter=20), ORDINAL),
    ],
    ids=["imputed", "one-hot", "constant", "forest-ordinal", "boosting-ordinal"],
)
def test_pipelines_with_missing_numbers_and_text_are_served_by_onnx(last: Any, words: Any, tmp_path: Path) -> None:
    table = _table()
    model = _pipeline(last, words).fit(table, np.where(_labels(table), "leaves", "stays"))
    manifest, plane = _published(model, table, tmp_path)
    assert manifest.flavor is Flavor.onnx, manifest.conversions
    odd = table[:4].reset_index(drop=True)
    odd.loc[0, "plan"] = "never seen"
    odd.loc[1, "region"] = None
    odd.loc[2, "age"] = np.nan
    _same(model, table, manifest, plane)
    _same(model, odd, manifest, plane)


@pytest.mark.parametrize(
    "labels",
    [("stays", "leaves"), (10, 3), (True, False), (0.0, 1.0), ("9", "10")],
    ids=["text", "unsorted-ints", "booleans", "floats", "digits"],
)
def test_labels_keep_their_type(labels: tuple[Any, Any], tmp_path: Path) -> None:
    table = _table()[NUMBERS[1:]]
    y = np.where(table["spend"] > 20, *labels) if not isinstance(labels[0], bool) else np.asarray(table["spend"] > 20)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, y)
    manifest, plane = _published(model, table, tmp_path)
    _same(model, table, manifest, plane)
    got = plane.predict(columns_of(table, manifest.signature.inputs))["label"]
    assert {type(v) for v in got.tolist()} == {type(labels[0])}
    assert set(manifest.classes or ()) == set(labels)


def test_a_frame_of_pandas_categories_is_served_as_it_was_trained(tmp_path: Path) -> None:
    table = _table().astype({"plan": "category", "region": "category"})
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype").fit(table, _labels(table))
    manifest, plane = _published(model, table, tmp_path)
    assert manifest.flavor is Flavor.skops
    assert manifest.signature.inputs[3].categories == ("basic", "free", "pro")
    assert "text and numbers in one table" in manifest.conversions[0].reason
    _same(model, table, manifest, plane)


def test_an_unseen_category_that_the_model_refuses_is_refused(tmp_path: Path) -> None:
    table = _table().dropna()
    model = _pipeline(LogisticRegression(max_iter=500), OneHotEncoder()).fit(table, _labels(table))
    manifest, plane = _published(model, table, tmp_path)
    odd = table[:1].assign(plan="never seen")
    with pytest.raises(Exception, match=r"[Uu]nknown"):
        plane.predict(columns_of(odd, manifest.signature.inputs))


def test_trees_agree_exactly_where_a_value_meets_a_threshold(tmp_path: Path) -> None:
    table = _table(800)
    model = _pipeline(RandomForestRegressor(30, random_state=0), IMPUTED, scale=True).fit(table, table["spend"] * 1.5)
    manifest, plane = _published(model, table, tmp_path)
    assert manifest.flavor is Flavor.onnx, manifest.conversions
    _same(model, table, manifest, plane)


def test_several_targets_are_answered_side_by_side(tmp_path: Path) -> None:
    table = _table()[NUMBERS[1:]]
    model = Ridge().fit(table, np.column_stack([table["spend"], table["visits"]]))
    manifest, plane = _published(model, table, tmp_path)
    assert manifest.task == "other"
    assert plane.predict(columns_of(table, manifest.signature.inputs))["output"].shape == (300, 2)


@pytest.mark.parametrize("dtype", ["object", "str", "string"])
def test_text_columns_of_every_pandas_type(dtype: str, tmp_path: Path) -> None:
    table = _table()
    table = table.assign(plan=table["plan"].astype(dtype), region=table["region"].astype(dtype))
    model = _pipeline(LogisticRegression(max_iter=500), OneHotEncoder(handle_unknown="ignore"))
    model.fit(table.dropna() if dtype == "string" else table, _labels(table.dropna() if dtype == "string" else table))
    table = table.dropna() if dtype == "string" else table
    manifest, plane = _published(model, table, tmp_path)
    _same(model, table, manifest, plane)


def test_nullable_numbers_and_dates(tmp_path: Path) -> None:
    table = pd.DataFrame({"n": pd.array([1, None, 3, 4] * 5, dtype="Int64"), "x": np.arange(20.0)})
    model = make_pipeline(SimpleImputer(), Ridge()).fit(table.astype("float64"), np.arange(20.0))
    manifest, plane = _published(model, table, tmp_path)
    assert [i.required for i in manifest.signature.inputs] == [False, True]
    _same(model, table, manifest, plane)
