"""One suite for all flavors: the notebook, the endpoint in each protocol and offline scoring give the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import numpy as np
import pandas as pd
import pytest
import torch
import tritonclient.http as triton
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from harness.model_server import serving
from harness.packages import pipeline, table
from harness.scoring import answers, scored
from harness.texts import TEXTS, pipe
from modelyard import tables
from modelyard.packaging import build
from modelyard.packaging.answers import ask, observe
from modelyard.packaging.rows import columns_of
from modelyard_api.models import ColumnKind, Flavor, PackageManifest
from modelyard_server.dataplane import load
from modelyard_server.v2 import datatype

RNG = np.random.default_rng(0)
N = 64
FRAME = pd.DataFrame(
    {
        "weight": np.where(np.arange(N) % 7 == 0, np.nan, RNG.normal(size=N)),
        "age": RNG.integers(0, 90, N),
        "island": pd.Categorical(RNG.choice(["north", "south"], N), categories=["south", "north"]),
    }
)
ARRAY = RNG.normal(size=(N, 3)).astype("float32")
LARGE = FRAME.age.to_numpy() > 40
SIZES = np.where(LARGE, "large", "small")
FEW = {"n_estimators": 8, "max_depth": 3}


def by_a_function() -> Callable[[pd.DataFrame], pd.DataFrame]:
    def answer(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[["age"]].assign(doubled=rows["age"] * 2.5, shouted=rows["island"].astype(str).str.upper())

    answer.__module__ = "__main__"  # as in a notebook: it is kept by value
    return answer


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 4)).eval()


@dataclass(frozen=True)
class Case:
    """A model and its rows. `exact`: the package's answers are the notebook's, to the last bit. `online`: it is asked
    as an endpoint too; a server of transformers takes seconds to start, so two of those are."""

    flavor: Flavor
    make: Callable[[], Any]
    rows: Any
    exact: bool = True
    online: bool = True


CASES = {
    "onnx": Case(Flavor.onnx, pipeline, table(), exact=False),
    "onnx array": Case(
        Flavor.onnx,
        lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(ARRAY.astype("float64"), LARGE),
        ARRAY.astype("float64"),
        exact=False,
    ),
    "torch": Case(Flavor.torch, network, ARRAY, exact=False),
    "skops": Case(
        Flavor.skops,
        lambda: HistGradientBoostingClassifier(max_iter=8, categorical_features="from_dtype").fit(FRAME, SIZES),
        FRAME,
    ),
    "skops with a booster": Case(
        Flavor.skops,
        lambda: make_pipeline(StandardScaler(), xgboost.XGBClassifier(**FEW, n_jobs=1)).fit(ARRAY, LARGE.astype(int)),
        ARRAY,
    ),
    "pyfunc": Case(Flavor.pyfunc, by_a_function, table()),
    "xgboost": Case(
        Flavor.xgboost,
        lambda: xgboost.XGBClassifier(**FEW, enable_categorical=True, n_jobs=1).fit(FRAME, LARGE.astype(int)),
        FRAME,
    ),
    "lightgbm": Case(
        Flavor.lightgbm,
        lambda: lightgbm.LGBMClassifier(**FEW, min_child_samples=3, n_jobs=1, verbose=-1).fit(FRAME, SIZES),
        FRAME,
    ),
    "classified texts": Case(Flavor.transformers, lambda: pipe("text-classification"), TEXTS),
    "tokens": Case(Flavor.transformers, lambda: pipe("token-classification"), TEXTS, online=False),
    "vectors": Case(Flavor.transformers, lambda: pipe("feature-extraction"), TEXTS, online=False),
    "written texts": Case(Flavor.transformers, lambda: pipe("text-generation"), TEXTS),
}
Outputs = Mapping[str, list[Any]]


@dataclass(frozen=True)
class Packaged:
    """A case's package, its rows as columns, and what the notebook and the data plane answer to them."""

    case: Case
    folder: Path
    manifest: PackageManifest
    columns: Mapping[str, Any]
    notebook: Outputs
    plane: Outputs

    @property
    def tolerance(self) -> float:
        return 0.0 if self.case.exact else float(self.manifest.conversions[-1].tolerance or 0)


def plain(outputs: Mapping[str, Any]) -> Outputs:
    return {name: np.asarray(values).tolist() for name, values in outputs.items()}


@pytest.fixture(scope="module", params=CASES)
def packaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp("flavor") / "package"
    model = case.make()
    manifest = build(model, case.rows, directory=folder, trial=False, flavors=tuple(Flavor))
    if case.flavor is Flavor.torch:  # which ONNX could have too
        manifest = build(model, case.rows, directory=folder.with_name("torch"), trial=False, flavors=(Flavor.torch,))
        folder = folder.with_name("torch")
    assert manifest.flavor is case.flavor, manifest.conversions
    original = _original(model)
    contract, _ = observe(original, case.rows)
    columns = columns_of(np.asarray(case.rows) if isinstance(case.rows, list) else case.rows, manifest.signature.inputs)
    answered = load(folder).predict(columns)
    return Packaged(case, folder, manifest, columns, plain(ask(original, case.rows, contract)), plain(answered))


def _original(model: Any) -> Any:
    from modelyard.packaging import boosting, torch, transformers

    if torch.is_module(model):
        return torch.adopt(model)
    return transformers.adopt(model) if transformers.is_pipeline(model) else boosting.adopt(model)


@pytest.fixture(scope="module")
def online(packaged: Packaged) -> Iterator[httpx.Client]:
    if not packaged.case.online:
        pytest.skip("two other pipelines are asked online")
    with serving(packaged.folder, open=True) as (client, _):
        yield client


def same(got: Outputs, wanted: Outputs, tolerance: float = 0.0) -> None:
    assert list(got) == list(wanted)
    for name, values in wanted.items():
        if tolerance and np.asarray(values).dtype.kind == "f":
            np.testing.assert_allclose(np.asarray(got[name]), np.asarray(values), rtol=tolerance, atol=tolerance)
        else:
            assert got[name] == values, name


def test_a_package_answers_as_the_notebook(packaged: Packaged) -> None:
    same(packaged.plane, packaged.notebook, packaged.tolerance)


def test_another_load_of_it_answers_the_same(packaged: Packaged) -> None:
    same(plain(load(packaged.folder).predict(packaged.columns)), packaged.plane)


def test_v2_in_json(packaged: Packaged, online: httpx.Client) -> None:
    metadata = online.get("/v2/models/penguins").raise_for_status().json()
    assert metadata["platform"] == f"modelyard_{packaged.case.flavor}"
    assert metadata["parameters"]["device"] == "cpu"
    rows = packaged.case.rows
    read = tables.Metadata.read(metadata)
    (body,) = tables.requests(rows, read)
    answer = online.post("/v2/models/penguins/infer", json=body).raise_for_status().json()
    same(plain(tables.answers([answer], read)), packaged.plane)


def test_v2_in_binary(packaged: Packaged, online: httpx.Client) -> None:
    inputs = []
    for spec in packaged.manifest.signature.inputs:
        values = packaged.columns[spec.name]
        sent = values.astype(object) if spec.kind is ColumnKind.string else values
        tensor = triton.InferInput(spec.name, list(sent.shape), datatype(spec))
        tensor.set_data_from_numpy(sent, binary_data=True)
        inputs.append(tensor)
    wanted = [triton.InferRequestedOutput(name, binary_data=True) for name in packaged.plane]
    with triton.InferenceServerClient(f"{online.base_url.host}:{online.base_url.port}") as client:
        answer = client.infer("penguins", inputs, outputs=wanted)
    got = {name: answer.as_numpy(name) for name in packaged.plane}
    decoded = {n: np.vectorize(bytes.decode)(a) if a.dtype.kind == "O" else a for n, a in got.items()}
    same(plain(decoded), packaged.plane)


def test_invocations(packaged: Packaged, online: httpx.Client) -> None:
    rows = packaged.case.rows
    if isinstance(rows, pd.DataFrame):
        body: dict[str, Any] = {"dataframe_split": {"columns": list(rows.columns), "data": _with_null(rows)}}
    else:
        body = {"inputs": np.asarray(rows).tolist()}
    for name, values in packaged.plane.items():
        answer = online.post("/invocations", json=body | {"params": {"output": name}})
        assert answer.raise_for_status().json()["predictions"] == values, name


def _with_null(frame: pd.DataFrame) -> list[list[Any]]:
    return [[None if pd.isna(v) else v for v in row] for row in frame.astype(object).to_numpy().tolist()]


def test_offline_scoring(packaged: Packaged, tmp_path: Path) -> None:
    rows = packaged.case.rows
    if not isinstance(rows, pd.DataFrame):
        array = np.asarray(rows)
        names = [f"x{i}" for i in range(array.shape[1])] if array.ndim == 2 else ["review"]
        rows = pd.DataFrame(array.reshape(len(array), -1), columns=names)
    rows.to_parquet(tmp_path / "rows.parquet")
    report = scored(tmp_path / "rows.parquet", tmp_path / "out", packaged.folder)
    assert (report.rows, report.rejected) == (len(rows), 0)
    found = answers(tmp_path / "out").sort_values("row")
    got = {name: [v.tolist() if isinstance(v, np.ndarray) else v for v in found[name]] for name in packaged.plane}
    same(got, packaged.plane)


def test_one_row_answers_as_among_others(packaged: Packaged) -> None:
    """To the last bit where rows are computed one by one; a product of matrices depends on how many it has."""
    first = {name: values[:1] for name, values in packaged.columns.items()}
    got = plain(load(packaged.folder).predict(first))
    same(got, {name: values[:1] for name, values in packaged.plane.items()}, packaged.tolerance)


def test_there_is_a_case_for_every_flavor() -> None:
    # A plain class has no answer but the data plane's; tests/modelyard/packaging has it.
    assert {case.flavor for case in CASES.values()} == set(Flavor) - {Flavor.python}
    assert {case.make().task for case in CASES.values() if case.flavor is Flavor.transformers} == _tasks()


def _tasks() -> set[str]:
    from modelyard_server.flavors.transformers import CLASSES

    return set(CLASSES)
