"""Rows of tree ensembles in order: which graphs, and that no bit of an answer is another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard_api.models import MANIFEST_PATH, Flavor, PackageManifest, Signature, TensorSpec
from modelyard_server.block import Block
from modelyard_server.flavors import trees
from modelyard_server.flavors.onnx import OnnxModel

COLUMNS = 6
ROWS = np.random.default_rng(0).normal(size=(900, COLUMNS))
TELLS = ROWS[:, 4] + 0.2 * ROWS[:, 1] + 0.1 * ROWS[:, 2] * ROWS[:, 3]


def package(folder: Path, model: ClassifierMixin | RegressorMixin) -> PackageManifest:
    """A table of numbers, mostly told by column 4."""
    (folder / MANIFEST_PATH).parent.mkdir(parents=True)
    options = {"zipmap": False} if isinstance(model, ClassifierMixin) else None
    graph = to_onnx(model, ROWS[:1].astype(np.float32), options=options)
    (folder / "modelyard/model.onnx").write_bytes(graph.SerializeToString())
    names = ["label", "probabilities"] if options else ["prediction"]
    signature = Signature(
        layout="table",
        inputs=tuple(TensorSpec(name=f"c{i}", dtype="float64", shape=(-1,)) for i in range(COLUMNS)),
        outputs=tuple(TensorSpec(name=name, dtype="float64", shape=(-1,)) for name in names),
    )
    return PackageManifest(
        flavor=Flavor.onnx, path="modelyard/model.onnx", task="classification", signature=signature, example=[]
    )


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(n_estimators=40, random_state=0),
        RandomForestClassifier(30, random_state=0),
        RandomForestRegressor(30, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_in_order_are_answered_as_they_came(
    tmp_path: Path, model: ClassifierMixin | RegressorMixin, threads: int
) -> None:
    told = TELLS if isinstance(model, RegressorMixin) else np.where(TELLS > 0, "yes", "no")
    loaded = OnnxModel(package(tmp_path, model.fit(ROWS, told)), tmp_path, threads)
    assert loaded._leading == 4
    block = Block({f"c{i}": i for i in range(COLUMNS)}, ROWS)
    in_order, few = loaded.predict(block), trees.FROM - 1
    for name, array in in_order.items():
        for start in range(0, len(ROWS), few):
            part = loaded.predict(Block({f"c{i}": i for i in range(COLUMNS)}, ROWS[start : start + few]))
            assert np.array_equal(part[name], array[start : start + few])
            assert part[name].dtype == array.dtype


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(5, random_state=0),
        LogisticRegression(),
        make_pipeline(StandardScaler(), RandomForestClassifier(30, random_state=0)),
    ],
    ids=["few trees", "no trees", "arithmetic before them"],
)
def test_other_graphs_keep_their_order(tmp_path: Path, model: ClassifierMixin) -> None:
    manifest = package(tmp_path, model.fit(ROWS, TELLS > 0))
    assert trees.leading_column(tmp_path / manifest.path) is None


@pytest.mark.parametrize("raw", [b"", b"\xff" * 40, b"\x3a\x7f", b"\x3a\x04\x0a\x02\x2a\x00", b"no graph"])
def test_what_is_no_graph_has_no_order(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(raw)
    assert trees.leading_column(tmp_path / "model.onnx") is None
