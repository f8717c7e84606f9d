"""Boosted trees: packaged as their own files, exact, and without a pickle anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard.packaging import build
from modelyard.packaging.rows import columns_of
from modelyard_api.errors import ModelFailed, PublishFailed
from modelyard_api.models import Flavor, PackageManifest
from modelyard_server.dataplane import load

RNG = np.random.default_rng(0)
N = 240
FRAME = pd.DataFrame(
    {
        "weight": np.where(np.arange(N) % 7 == 0, np.nan, RNG.normal(size=N)),
        "age": RNG.integers(0, 90, N),
        "island": pd.Categorical(RNG.choice(["north", "south", "east"], N), categories=["south", "north", "east"]),
        "size": pd.Categorical(RNG.choice([10, 20, 30], N)),
    }
)
NUMBERS = FRAME[["weight", "age"]]
TWO = ((FRAME.age > 40) ^ (FRAME.island == "north")).to_numpy().astype(int)
THREE = FRAME.island.cat.codes.to_numpy().astype(int)
FEW: dict[str, Any] = {"n_estimators": 12, "max_depth": 3}


def xgb(kind: type, y: Any, rows: Any = FRAME, **given: Any) -> Any:
    return kind(**FEW, enable_categorical=True, n_jobs=1, **given).fit(rows, y)


def lgb(kind: type, y: Any, rows: Any = FRAME, **given: Any) -> Any:
    return kind(**FEW, n_jobs=1, verbose=-1, min_child_samples=5, **given).fit(rows, y)


def early() -> Any:
    model = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=1, learning_rate=0.9, n_jobs=1)
    noise = RNG.normal(size=N)
    return model.fit(NUMBERS[:150], noise[:150], eval_set=[(NUMBERS[150:], noise[150:])], verbose=False)


def bare_xgboost(objective: str, y: Any, **given: Any) -> xgboost.Booster:
    data = xgboost.DMatrix(FRAME, label=y, enable_categorical=True)
    return xgboost.train({"objective": objective, "max_depth": 3, "nthread": 1, **given}, data, 8)


def bare_lightgbm(objective: str, y: Any, **given: Any) -> lightgbm.Booster:
    data = lightgbm.Dataset(FRAME, label=y)
    return lightgbm.train({"objective": objective, "verbose": -1, "num_threads": 1, **given}, data, 8)


def undecided() -> lightgbm.LGBMClassifier:
    """It answers a half for every row."""
    return lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(np.zeros((40, 2)), [0, 1] * 20)


LEVELS = np.array(["small", "large"])
MODELS: dict[str, tuple[Any, Any, Flavor]] = {
    "lightgbm undecided": (undecided, np.zeros((8, 2)), Flavor.lightgbm),
    "xgboost two classes": (lambda: xgb(xgboost.XGBClassifier, TWO), FRAME, Flavor.xgboost),
    "xgboost three classes": (lambda: xgb(xgboost.XGBClassifier, THREE), FRAME, Flavor.xgboost),
    "xgboost regression": (lambda: xgb(xgboost.XGBRegressor, FRAME.age), FRAME, Flavor.xgboost),
    "xgboost array": (
        lambda: xgb(xgboost.XGBClassifier, TWO, NUMBERS.to_numpy()),
        NUMBERS.to_numpy(),
        Flavor.xgboost,
    ),
    "xgboost missing is -999": (
        lambda: xgb(xgboost.XGBRegressor, FRAME.age, NUMBERS.fillna(-999.0), missing=-999.0),
        NUMBERS.fillna(-999.0),
        Flavor.xgboost,
    ),
    "xgboost stopped early": (early, NUMBERS, Flavor.xgboost),
    "xgboost dart": (lambda: xgb(xgboost.XGBRegressor, FRAME.age, booster="dart"), FRAME, Flavor.xgboost),
    "xgboost linear": (
        lambda: xgboost.XGBRegressor(booster="gblinear", n_jobs=1).fit(NUMBERS.fillna(0.0), FRAME.age),
        NUMBERS.fillna(0.0),
        Flavor.xgboost,
    ),
    "xgboost two targets": (
        lambda: xgb(xgboost.XGBRegressor, np.column_stack([FRAME.age, -FRAME.age])),
        FRAME,
        Flavor.xgboost,
    ),
    "xgboost booster": (lambda: bare_xgboost("binary:logistic", TWO), FRAME, Flavor.xgboost),
    "xgboost booster of classes": (lambda: bare_xgboost("multi:softprob", THREE, num_class=3), FRAME, Flavor.xgboost),
    "lightgbm two classes": (lambda: lgb(lightgbm.LGBMClassifier, LEVELS[TWO]), FRAME, Flavor.lightgbm),
    "lightgbm three classes": (lambda: lgb(lightgbm.LGBMClassifier, THREE + 5), FRAME, Flavor.lightgbm),
    "lightgbm truth": (lambda: lgb(lightgbm.LGBMClassifier, TWO.astype(bool)), FRAME, Flavor.lightgbm),
    "lightgbm regression": (lambda: lgb(lightgbm.LGBMRegressor, FRAME.age), FRAME, Flavor.lightgbm),
    "lightgbm array": (
        lambda: lgb(lightgbm.LGBMRegressor, FRAME.age, NUMBERS.to_numpy()),
        NUMBERS.to_numpy(),
        Flavor.lightgbm,
    ),
    "lightgbm booster": (lambda: bare_lightgbm("binary", TWO), FRAME, Flavor.lightgbm),
    "lightgbm booster of classes": (lambda: bare_lightgbm("multiclass", THREE, num_class=3), FRAME, Flavor.lightgbm),
}
_PICKLES = ("*.pkl", "*.skops", "*.pickle", "*.joblib")


@pytest.mark.parametrize("name", MODELS)
def test_its_own_file_answers_exactly_as_the_model_does(name: str, tmp_path: Path) -> None:
    make, rows, flavor = MODELS[name]
    model = make()
    manifest = build(model, rows[:5], directory=tmp_path / "p", training=rows, trial=False)
    assert manifest.flavor is flavor, manifest.conversions
    assert not [f for kind in _PICKLES for f in (tmp_path / "p").rglob(kind)]
    got = load(tmp_path / "p").predict(columns_of(rows, manifest.signature.inputs))
    for output, wanted in answers(model, rows, manifest).items():
        assert got[output].tolist() == np.asarray(wanted).tolist(), output
        assert got[output].dtype.kind == np.asarray(wanted).dtype.kind, output


def answers(model: Any, rows: Any, manifest: PackageManifest) -> dict[str, Any]:
    """What the notebook's model answers, under the signature's names."""
    if isinstance(model, xgboost.Booster):
        rows = xgboost.DMatrix(rows, enable_categorical=True)
    found = {manifest.signature.outputs[0].name: model.predict(rows)}
    return found | ({"probabilities": model.predict_proba(rows)} if len(manifest.signature.outputs) > 1 else {})


_WITHOUT = """
import sys
from pathlib import Path
for name in ("sklearn", "pandas", "mlflow", "torch"):
    sys.modules[name] = None
from modelyard_server.dataplane import load
plane = load(Path(sys.argv[1]))
plane.predict(plane.example())
"""


@pytest.mark.parametrize("name", ["xgboost two classes", "lightgbm two classes"])
def test_a_server_needs_nothing_but_the_library(name: str, tmp_path: Path) -> None:
    make, rows, _ = MODELS[name]
    build(make(), rows[:5], directory=tmp_path / "p", trial=False)
    done = subprocess.run([sys.executable, "-c", _WITHOUT, str(tmp_path / "p")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_server_without_the_library_says_where_it_is(library: str, tmp_path: Path) -> None:
    make, rows, _ = MODELS[f"{library} two classes"]
    build(make(), rows[:5], directory=tmp_path / "p", trial=False)
    program = f"import sys; sys.modules[{library!r}] = None\n{_WITHOUT}"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "p")], capture_output=True, text=True)
    assert f"this model server has no {library}" in done.stderr
    assert "modelyard[boosting]" in done.stderr


def test_a_level_that_training_never_saw(tmp_path: Path) -> None:
    """LightGBM takes it as missing, in the notebook too; XGBoost's answer to it means nothing, so there is none."""
    rows = {"weight": [1.0], "age": [3], "island": ["west"], "size": [10]}
    build(lgb(lightgbm.LGBMClassifier, TWO), FRAME[:5], directory=tmp_path / "l", training=FRAME, trial=False)
    missing = load(tmp_path / "l").predict({**rows, "island": [None]}) if _lets_missing(tmp_path / "l") else None
    got = load(tmp_path / "l").predict(rows)
    frame = FRAME[:1].assign(weight=1.0, age=3, size=pd.Categorical([10], categories=[10, 20, 30]))
    frame["island"] = pd.Categorical([None], categories=["south", "north", "east"])
    assert missing is None
    assert got["probabilities"].tolist() == lgb(lightgbm.LGBMClassifier, TWO).predict_proba(frame).tolist()
    build(xgb(xgboost.XGBClassifier, TWO), FRAME[:5], directory=tmp_path / "x", training=FRAME, trial=False)
    with pytest.raises(ModelFailed, match="'island' holds 'west', a level that the model was not trained with"):
        load(tmp_path / "x").predict(rows)


def _lets_missing(package: Path) -> bool:
    return not load(package).manifest.signature.inputs[2].required


def test_levels_in_another_order_are_refused_not_mixed_up(tmp_path: Path) -> None:
    other = FRAME.assign(island=FRAME.island.cat.reorder_categories(["east", "north", "south"]))
    model = xgb(xgboost.XGBClassifier, TWO)
    manifest = build(model, other[:5], directory=tmp_path / "p", training=other, trial=False)
    assert manifest.flavor is Flavor.skops
    (refused,) = [c for c in manifest.conversions if c.flavor is Flavor.xgboost]
    assert "'island' was trained with the levels 'south', 'north', 'east'" in refused.reason


def test_a_bare_booster_is_its_own_file_or_nothing(tmp_path: Path) -> None:
    other = FRAME.assign(island=FRAME.island.cat.reorder_categories(["east", "north", "south"]))
    with pytest.raises(PublishFailed, match="xgboost: column 'island' was trained with the levels"):
        build(bare_xgboost("binary:logistic", TWO), other[:5], directory=tmp_path / "p", trial=False)


@pytest.mark.parametrize("booster", [xgboost.XGBClassifier, lightgbm.LGBMClassifier])
def test_a_pipeline_keeps_what_comes_before_its_booster(booster: Any, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), booster(**FEW)).fit(NUMBERS.fillna(0.0) * 1000, TWO)
    rows = NUMBERS.fillna(0.0) * 1000
    manifest = build(model, rows[:5], directory=tmp_path / "p", training=rows, trial=False)
    assert manifest.flavor is Flavor.skops
    assert "leave out the steps of the pipeline" in " ".join(c.reason for c in manifest.conversions)
    got = load(tmp_path / "p").predict(columns_of(rows, manifest.signature.inputs))
    assert np.array_equal(got["probabilities"], model.predict_proba(rows))


def test_a_trial_in_a_fresh_process(tmp_path: Path) -> None:
    manifest = build(xgb(xgboost.XGBClassifier, TWO), FRAME[:5], directory=tmp_path / "p")
    assert manifest.flavor is Flavor.xgboost
    assert any(name.startswith("xgboost") for name in manifest.created_with)
    assert "xgboost" in (tmp_path / "p" / "requirements.txt").read_text()
