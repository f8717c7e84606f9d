"""An endpoint and a scored table answer the same rows the same, bit for bit: a real model server for each flavor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from harness.model_server import serving
from harness.scoring import answers, scored
from modelyard.packaging import build
from modelyard.packaging.rows import columns_of
from modelyard_api.models import Flavor, PackageManifest
from modelyard_server.v2 import datatype, values

ROWS = 700


def _rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, ROWS),
            "visits": rng.integers(0, 50, ROWS),
            "spend": rng.lognormal(3, 1, ROWS).astype("float32"),
            "plan": rng.choice(["basic", "pro", "frei"], ROWS),
            "loyal": rng.random(ROWS) > 0.5,
            "since": pd.Timestamp("2020-02-29") + pd.to_timedelta(rng.integers(0, 10**9, ROWS), unit="s"),
        }
    )
    table.loc[rng.random(ROWS) < 0.1, "age"] = np.nan
    return table


def _prepared(last: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(make_column_transformer((numbers, ["age", "visits", "spend"]), (words, ["plan"])), last)


def _onnx(rows: pd.DataFrame, folder: Path) -> tuple[PackageManifest, Any]:
    X = rows[["age", "visits", "spend", "plan"]]
    model = _prepared(LogisticRegression(max_iter=300)).fit(X, np.where(rows["visits"] > 25, "often", "rarely"))
    return build(model, X[:5], directory=folder, training=X, trial=False), X


def _onnx_trees(rows: pd.DataFrame, folder: Path) -> tuple[PackageManifest, Any]:
    X = rows[["visits", "spend"]]
    model = RandomForestRegressor(20, random_state=0).fit(X, rows["spend"] * 1.7)
    return build(model, X[:5], directory=folder, trial=False), X


def _skops(rows: pd.DataFrame, folder: Path) -> tuple[PackageManifest, Any]:
    X = rows[["age", "visits", "plan"]].astype({"plan": "category"})
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype").fit(X, rows["loyal"])
    return build(model, X[:5], directory=folder, training=X, trial=False), X


def _skops_numbers(rows: pd.DataFrame, folder: Path) -> tuple[PackageManifest, Any]:
    """Three types, one with gaps: it is asked with an array."""
    X = rows[["age", "visits", "spend"]]
    model = HistGradientBoostingClassifier(max_iter=20).fit(X, rows["loyal"])
    return build(model, X[:50], directory=folder, flavors=(Flavor.skops,), trial=False), X


def _pyfunc(rows: pd.DataFrame, folder: Path) -> tuple[PackageManifest, Any]:
    X = rows[["since", "loyal"]]

    def days(given: pd.DataFrame) -> Any:  # inside, so that the package holds its code
        return np.asarray((given["since"] - pd.Timestamp("2020-01-01")).dt.days * given["loyal"], dtype="float64")

    return build(days, X[:5], directory=folder, trial=False), X


def _torch(rows: pd.DataFrame, folder: Path) -> tuple[PackageManifest, Any]:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.GELU(), torch.nn.Linear(64, 2)).eval()
    X = rows[["visits", "spend", "age"]].fillna(0).to_numpy("float32")
    return build(module, X[:5], directory=folder, flavors=(Flavor.torch,), trial=False), X


CASES: dict[str, tuple[Callable[[pd.DataFrame, Path], tuple[PackageManifest, Any]], Flavor]] = {
    "onnx": (_onnx, Flavor.onnx),
    "onnx-trees": (_onnx_trees, Flavor.onnx),
    "skops": (_skops, Flavor.skops),
    "skops-numbers": (_skops_numbers, Flavor.skops),
    "pyfunc": (_pyfunc, Flavor.pyfunc),
    "torch": (_torch, Flavor.torch),
}


@pytest.mark.parametrize("case", CASES)
def test_the_endpoint_and_the_table_agree_bit_for_bit(case: str, tmp_path: Path) -> None:
    make, flavor = CASES[case]
    manifest, X = make(_rows(), tmp_path / "package")
    assert manifest.flavor is flavor, manifest.conversions
    frame = X if hasattr(X, "columns") else pd.DataFrame(X, columns=["a", "b", "c"])
    frame.assign(id=range(ROWS)).to_parquet(tmp_path / "in.parquet", row_group_size=300)
    report = scored(tmp_path / "in.parquet", tmp_path / "out", tmp_path / "package", keys=("id",), batch_rows=128)
    assert report.rejected == 0
    found = answers(tmp_path / "out")
    with serving(tmp_path / "package", open=True) as (client, _):
        # The batches of the offline run, others, and rows alone.
        for size, rows in ((128, range(0, 300, 128)), (700, range(0, 1, 700)), (1, range(0, 700, 50))):
            for start in rows:
                stop = min(start + size, 300 if size == 128 else ROWS)
                online = _asked(client, manifest, columns_of(X[start:stop], manifest.signature.inputs))
                for name, told in online.items():
                    mine = np.array(found[name][start:stop].tolist())
                    if size == 1 and flavor is Flavor.torch:
                        # A row alone is multiplied in another order, by an endpoint too: PyTorch's, not ours.
                        np.testing.assert_allclose(mine, told, rtol=1e-5)
                    else:
                        assert mine.tolist() == told.tolist(), (name, size, start)


def _asked(client: httpx.Client, manifest: PackageManifest, columns: Any) -> dict[str, np.ndarray[Any, Any]]:
    inputs = [
        {
            "name": spec.name,
            "datatype": datatype(spec),
            "shape": [len(columns[spec.name]), *columns[spec.name].shape[1:]],
            "data": values(columns[spec.name]),
        }
        for spec in manifest.signature.inputs
    ]
    answer = client.post("/v2/models/penguins/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    return {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in answer.json()["outputs"]}
