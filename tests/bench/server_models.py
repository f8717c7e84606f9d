"""Models of the benches of model servers: those of `server_speed.py`, as packages and pickles, and graphs by hand."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from modelyard.packaging import build
from modelyard_api.models import MANIFEST_PATH, Flavor, PackageManifest, Signature, TensorSpec

IMAGE = (3, 296, 296)
"""Of 32-bit numbers: 1.05 MB."""


def write_models(folder: Path, names: tuple[str, ...] = ("lr", "hgb", "sk")) -> None:
    """`lr`, `hgb`, and `sk`, which ONNX has no operators for: a folder each with a package of thirty columns; a pickle
    fitted on an array, without column names, for the peers. `ska` is `sk` fitted on an array for ours, too."""
    data = load_breast_cancer(as_frame=True)
    frame, target = data.data, data.target
    last = LogisticRegression(max_iter=1000)
    for name, model in (
        ("lr", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
        ("hgb", HistGradientBoostingClassifier(random_state=0)),
        *((name, make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), last)) for name in ("sk", "ska")),
    ):
        if name not in names:
            continue
        rows = frame.to_numpy() if name == "ska" else frame
        _package(model.fit(rows, target), rows, folder / name)
        joblib.dump(model.fit(frame.to_numpy(), target), folder / f"{name}.joblib")


def _package(model: object, rows: pd.DataFrame | np.ndarray, folder: Path) -> None:
    built = build(model, rows[:5], directory=folder)
    print(f"{folder.name}: {built.flavor}")


def write_dense(folder: Path) -> None:
    """30 numbers through two dense layers whose weights are 10 MB."""
    layers = [("Gemm", _weights(30, 1600)), ("Relu", []), ("Gemm", _weights(1600, 1600)), ("Relu", [])]
    _graph(folder, (30,), [*layers, ("Gemm", _weights(1600, 2))], 2)


def write_images(folder: Path) -> None:
    """A small network of convolutions over images of 1 MB."""
    layers = [
        ("Conv", _weights(16, 3, 5, 5), {"strides": [4, 4]}),
        ("Relu", []),
        ("Conv", _weights(32, 16, 3, 3), {"strides": [2, 2]}),
        ("Relu", []),
        ("GlobalAveragePool", []),
        ("Flatten", []),
        ("Gemm", _weights(32, 10)),
    ]
    _graph(folder, IMAGE, layers, 10)


def write_slow(folder: Path) -> None:
    """30 numbers through convolutions that take milliseconds for each row: batches make it no faster."""
    spread = [("Gemm", _weights(30, 1024)), ("Reshape", [np.array([-1, 1, 32, 32], np.int64)])]
    layers = [("Conv", _weights(192, 1, 3, 3)), ("Relu", []), *[("Conv", _weights(192, 192, 3, 3)), ("Relu", [])] * 2]
    ends = [("GlobalAveragePool", []), ("Flatten", []), ("Gemm", _weights(192, 2))]
    _graph(folder, (30,), [*spread, *layers, *ends], 2)


def _weights(*shape: int) -> list[np.ndarray]:
    made = np.random.default_rng(0).normal(0, 0.1, shape)
    return [made.astype(np.float32)]


def _graph(folder: Path, shape: tuple[int, ...], layers: list[tuple], outputs: int) -> None:
    """A package of one tensor in and one out, both 32-bit."""
    nodes, constants, last = [], [], "input"
    for i, (kind, arrays, *attributes) in enumerate(layers):
        names = [f"w{i}_{j}" for j in range(len(arrays))]
        constants += [numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True)]
        out = f"x{i}" if i + 1 < len(layers) else "prediction"
        nodes.append(helper.make_node(kind, [last, *names], [out], **(attributes[0] if attributes else {})))
        last = out
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *size])
        for name, size in (("input", shape), ("prediction", (outputs,)))
    ]
    graph = helper.make_graph(nodes, "bench", ends[:1], ends[1:], constants)
    (folder / MANIFEST_PATH).parent.mkdir(parents=True)
    path = "modelyard/model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / path))
    signature = Signature(
        layout="tensor",
        inputs=(TensorSpec(name="input", dtype="float32", shape=(-1, *shape)),),
        outputs=(TensorSpec(name="prediction", dtype="float32", shape=(-1, outputs)),),
    )
    example = np.zeros((1, *shape), np.float32).tolist()
    manifest = PackageManifest(flavor=Flavor.onnx, path=path, task="regression", signature=signature, example=example)
    (folder / MANIFEST_PATH).write_text(manifest.model_dump_json())
