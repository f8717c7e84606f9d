"""Models that were logged with MLflow: loaded, and packaged as what they are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from modelyard.packaging import build
from modelyard.packaging.logged import load_logged
from modelyard.packaging.rows import columns_of
from modelyard_api.errors import InvalidInput
from modelyard_api.models import Flavor
from modelyard_server.dataplane import load

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(80, 3)), columns=["a", "b", "c"])
Y = (X.a > 0).to_numpy().astype(int)
FEW: dict[str, Any] = {"n_estimators": 5, "max_depth": 2, "n_jobs": 1}


def logged(model: Any, folder: Path, library: str, **given: Any) -> Path:
    """As `mlflow.<library>.log_model` writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import importlib

        module = importlib.import_module(f"mlflow.{library}")
        requirements = {"pip_requirements": ["numpy"]}
        module.save_model(model, str(folder), input_example=X[:4], **requirements, **given)
    return folder


MODELS = {
    "xgboost estimator": (lambda: xgboost.XGBClassifier(**FEW).fit(X, Y), "xgboost", Flavor.xgboost, False),
    "xgboost booster": (
        lambda: xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, label=Y), 5),
        "xgboost",
        Flavor.xgboost,
        False,
    ),
    "lightgbm booster": (
        lambda: lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, label=Y), 5),
        "lightgbm",
        Flavor.lightgbm,
        False,
    ),
    "lightgbm estimator": (
        lambda: lightgbm.LGBMClassifier(**FEW, verbose=-1).fit(X, np.where(Y, "yes", "no")),
        "lightgbm",
        Flavor.lightgbm,
        True,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_logged_booster_is_packaged_as_its_own_file(name: str, tmp_path: Path) -> None:
    make, library, flavor, pickled = MODELS[name]
    model = make()
    folder = logged(model, tmp_path / "logged", library)
    found, example = load_logged(folder, pickles=pickled)
    manifest = build(found, example, directory=tmp_path / "p", trial=False)
    assert manifest.flavor is flavor
    got = load(tmp_path / "p").predict(columns_of(X, manifest.signature.inputs))
    rows = xgboost.DMatrix(X) if name == "xgboost booster" else X
    assert got[manifest.signature.outputs[0].name].tolist() == model.predict(rows).tolist()


def test_a_pickle_of_somebody_else_is_not_loaded(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    folder = logged(model, tmp_path / "logged", "sklearn", serialization_format="cloudpickle")
    with pytest.raises(InvalidInput, match=r"model\.pkl runs code of whoever logged it"):
        load_logged(folder, pickles=False)
    found, example = load_logged(folder, pickles=True)
    assert found.predict(example).tolist() == model.predict(X[:4]).tolist()


def test_what_cannot_be_packaged_from_there_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function: {}\n  statsmodels: {}\n")
    with pytest.raises(InvalidInput, match="logged as python_function, statsmodels"):
        load_logged(tmp_path, pickles=True)
    with pytest.raises(InvalidInput, match="no MLmodel"):
        load_logged(tmp_path / "nothing", pickles=True)
