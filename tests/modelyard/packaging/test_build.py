"""What build writes, what it refuses, and how it says so."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from modelyard.packaging import build, trial
from modelyard_api.errors import InvalidInput, PublishFailed
from modelyard_api.models import MANIFEST_PATH, Flavor, PackageManifest
from modelyard_server.dataplane import load

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = (X[:, 0] > 0).astype(int)


def _model() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


def test_a_package_is_tried_in_a_fresh_process_and_loads_with_mlflow(tmp_path: Path) -> None:
    steps: list[str] = []
    manifest = build(_model(), X[:5], directory=tmp_path / "p", progress=lambda step, detail: steps.append(step))
    assert manifest.flavor is Flavor.onnx
    assert manifest == PackageManifest.model_validate_json((tmp_path / "p" / MANIFEST_PATH).read_bytes())
    assert list(dict.fromkeys(steps)) == ["signature", "convert", "trial", "mlflow"]
    assert manifest.size_bytes > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        loaded = mlflow.pyfunc.load_model(str(tmp_path / "p"))
        assert loaded.predict(X[:5]).tolist() == Y_of(X[:5])
    assert trial(tmp_path / "p")["label"] == Y_of(X[:5])


def Y_of(rows: np.ndarray[Any, Any]) -> list[int]:  # noqa: N802
    return [int(v) for v in _model().predict(rows)]


def test_a_python_function_publishes(tmp_path: Path) -> None:
    def score(frame: pd.DataFrame) -> pd.Series:
        return frame["a"] * 2 + frame["b"].str.len()

    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "yy"]})
    manifest = build(score, frame, directory=tmp_path / "p", requirements=("httpx>=0.28",))
    assert manifest.flavor is Flavor.pyfunc
    assert manifest.task == "other"
    got = load(tmp_path / "p").predict({"a": np.array([3.0]), "b": np.array(["zzz"], dtype=object)})
    assert got["output"].tolist() == [9.0]
    assert "httpx>=0.28" in (tmp_path / "p" / "requirements.txt").read_text()


class Doubler:
    def __init__(self) -> None:
        self.factor = 2

    def predict(self, rows: Any) -> Any:
        return np.asarray(rows) * self.factor


@pytest.mark.parametrize("model", [Doubler, Doubler()], ids=["class", "instance"])
def test_a_class_with_predict_publishes(model: Any, tmp_path: Path) -> None:
    build(model, np.ones((2, 2)), directory=tmp_path / "p", trial=False)
    assert load(tmp_path / "p").predict({"input": np.full((1, 2), 3.0)})["output"].tolist() == [[6.0, 6.0]]


def test_an_object_that_cannot_be_saved_names_the_attribute(tmp_path: Path) -> None:
    model = Doubler()
    model.state = {"guard": threading.Lock()}  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput, match=r"Doubler\.state\['guard'\] is a _thread\.lock") as caught:
        build(model, np.ones((2, 2)), directory=tmp_path / "p")
    assert "__getstate__" in caught.value.remedy
    assert not (tmp_path / "p").exists()


def test_a_model_that_does_not_load_elsewhere_is_refused_with_the_traceback(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "elsewhere.py").write_text("def shift(rows):\n    return rows + 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import elsewhere

    model = make_pipeline(FunctionTransformer(elsewhere.shift), LogisticRegression()).fit(X, Y)
    with pytest.raises(PublishFailed, match=r"(?s)elsewhere.*Traceback") as caught:
        build(model, X[:5], directory=tmp_path / "p")
    assert "code_paths" in caught.value.remedy
    assert "Traceback" in caught.value.problem().model_dump()["traceback"]
    assert not (tmp_path / "p").exists()


def test_a_conversion_that_is_not_possible_says_why(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(abs(X), Y)
    manifest = build(model, abs(X[:5]), directory=tmp_path / "p", trial=False)
    assert manifest.flavor is Flavor.skops
    first, second = manifest.conversions
    assert (first.flavor, first.accepted) == (Flavor.onnx, False)
    assert "FunctionTransformer" in first.reason
    assert second.accepted


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (None, "needs an example"),
        (X[:0], "has no rows"),
        (3.0, "not rows"),
        (pd.DataFrame({"a": []}), "has no rows"),
        (pd.DataFrame({0: [1.0]}), "column names must be strings"),
        (pd.DataFrame({"a": [{"x": 1}]}), "column 'a' holds"),
        (X[:2, :2], "does not answer its example"),
    ],
)
def test_a_bad_example_is_named(example: Any, said: str, tmp_path: Path) -> None:
    model = (lambda rows: np.ones(len(rows))) if hasattr(example, "columns") else _model()
    with pytest.raises(InvalidInput, match=said) as caught:
        build(model, example, directory=tmp_path / "p")
    assert caught.value.remedy


def test_a_directory_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InvalidInput, match="not empty"):
        build(_model(), X[:5], directory=tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_importing_packaging_is_light(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, json, modelyard.packaging; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert not {"sklearn", "pandas", "mlflow", "skl2onnx", "onnx", "skops", "torch"} & loaded
