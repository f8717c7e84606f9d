"""Small packages written by hand, so that the model server is tested apart from what writes packages."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import skops.io
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modelyard_api.models import (
    MANIFEST_PATH,
    PYTHON_FILES,
    PYTHON_PATH,
    ColumnKind,
    Flavor,
    PackageManifest,
    Signature,
    TensorSpec,
)

OUTPUTS = (
    TensorSpec(name="label", kind=ColumnKind.string, dtype="str", shape=(-1,)),
    TensorSpec(name="probabilities", dtype="float64", shape=(-1, 2)),
)


def table() -> pd.DataFrame:
    """Eight rows: a number that may be missing, a whole number, text."""
    return pd.DataFrame(
        {
            "weight": [1.0, 2.0, np.nan, 4.0, 5.0, 6.0, 7.0, 8.0],
            "age": [3, 1, 4, 1, 5, 9, 2, 6],
            "island": ["north", "south", "north", "south", "east", "east", "north", "south"],
        }
    )


def pipeline() -> Pipeline:
    """A classifier over `table()` with labels 'no' and 'yes'."""
    columns = make_column_transformer(
        (SimpleImputer(), ["weight", "age"]), (OneHotEncoder(handle_unknown="ignore"), ["island"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(
        table(), ["no", "no", "no", "no", "yes", "yes", "yes", "yes"]
    )


def write_skops(directory: Path) -> PackageManifest:
    """The pipeline over `table()` as a skops package."""
    inputs = (
        TensorSpec(name="weight", dtype="float64", required=False),
        TensorSpec(name="age", dtype="int64"),
        TensorSpec(name="island", kind=ColumnKind.string, dtype="str"),
    )
    (directory / "modelyard").mkdir(parents=True)
    path = "modelyard/model.skops"
    skops.io.dump(pipeline(), directory / path)
    rows = table().head(3).replace({np.nan: None}).to_dict(orient="records")
    return _write(
        directory,
        PackageManifest(
            flavor=Flavor.skops,
            path=path,
            task="classification",
            classes=("no", "yes"),
            signature=Signature(layout="table", inputs=inputs, outputs=OUTPUTS),
            example=rows,
            trusted=tuple(skops.io.get_untrusted_types(file=directory / path)),
        ),
    )


def write_onnx(directory: Path) -> PackageManifest:
    """A logistic regression over an array of three numbers as an ONNX package."""
    X = np.arange(24, dtype=np.float64).reshape(8, 3)
    model = LogisticRegression().fit(X, ["no"] * 4 + ["yes"] * 4)
    (directory / "modelyard").mkdir(parents=True)
    path = "modelyard/model.onnx"
    converted = to_onnx(model, X[:1], options={id(model): {"zipmap": False}})
    (directory / path).write_bytes(converted.SerializeToString())
    return _write(
        directory,
        PackageManifest(
            flavor=Flavor.onnx,
            path=path,
            task="classification",
            classes=("no", "yes"),
            signature=Signature(
                layout="tensor", inputs=(TensorSpec(name="input", dtype="float64", shape=(-1, 3)),), outputs=OUTPUTS
            ),
            example=X[:2].tolist(),
        ),
    )


_SLOW = """
import time

class Slow:
    def predict(self, rows):
        if (rows < 0).any():
            raise ValueError("negative")
        time.sleep(float(rows.sum()))
        return rows[:, 0]

def _load_pyfunc(path):
    return Slow()
"""


def write_slow(directory: Path) -> PackageManifest:
    """A model of the owner's own code that takes as many seconds as it is asked for, and refuses less than none."""
    (directory / "modelyard").mkdir(parents=True)
    (directory / "code").mkdir()
    (directory / "code" / "slow.py").write_text(_SLOW)
    loader = f"loader_module: slow\n    code: code\n    python_version: {platform.python_version()}"
    (directory / "MLmodel").write_text(f"flavors:\n  python_function:\n    {loader}\n")
    signature = Signature(
        layout="tensor",
        inputs=(TensorSpec(name="input", dtype="float64", shape=(-1, 1)),),
        outputs=(TensorSpec(name="prediction", dtype="float64", shape=(-1,)),),
    )
    manifest = PackageManifest(flavor=Flavor.pyfunc, path=".", task="other", signature=signature, example=[[0.0]])
    return _write(directory, manifest)


_MOODY = """
import ctypes, multiprocessing, os, pickle, signal, struct, sys, threading, time
import numpy as np

class Moody:
    loads = 0

    def load(self, folder):
        doomed = folder / "doomed"
        if doomed.exists():
            doomed.unlink()
            os._exit(7)
        if (folder / "stuck").exists():
            threading.Event().wait()
        self.folder = folder

    def predict(self, columns):
        said = float(columns["input"].ravel()[0])
        if (self.folder / "cold").exists():
            threading.Event().wait()
        if said == -1:
            os.kill(os.getpid(), signal.SIGKILL)
        if said == -2:
            os._exit(5)
        if said == -3:
            ctypes.string_at(0)
        if said == -4:
            raise OSError(f"cannot read {__file__ if '__file__' in globals() else '/a/secret/place'}")
        if said == -5:
            return np.empty(2**55)
        if said == -6:
            return {"output": [complex, "text", None, 1.5]}
        if said == -7:
            return {"output": sorted(n for n in sys.modules if "." not in n)}
        if said == -8:
            sum(range(5 * 10**7))
        if said == -9:
            with multiprocessing.get_context("fork").Pool(1) as pool:
                return {"output": [float(pool.apply(signal.getsignal, (signal.SIGTERM,)) == signal.SIG_DFL)]}
        if said == -10:
            said = pickle.dumps(complex)
            os.write(int(sys.argv[1]), struct.pack("<QQ", len(said), 0) + said)  # the process's own socket
        if said == -11:
            (self.folder / f"met-{os.getpid()}").touch()
            while len(list(self.folder.glob("met-*"))) < 2:
                time.sleep(0.01)
        if said > 0:
            time.sleep(said)
        return columns["input"].sum(axis=1)
"""


def write_moody(directory: Path) -> PackageManifest:
    """A plain class of the owner's own that sleeps as long as it is asked, and misbehaves when it is asked for less
    than nothing: see `_MOODY`. A file `doomed` in its folder ends the next process that loads it; `stuck` keeps it from
    ever loading, `cold` from ever answering."""
    place: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(_MOODY, "moody", "exec"), place)  # noqa: S102 - as in a notebook, where no module has the class
    (directory / PYTHON_FILES).mkdir(parents=True)
    (directory / PYTHON_PATH).parent.mkdir()
    (directory / PYTHON_PATH).write_bytes(cloudpickle.dumps(place["Moody"]()))
    signature = Signature(
        layout="tensor",
        inputs=(TensorSpec(name="input", dtype="float64", shape=(-1, 1)),),
        outputs=(TensorSpec(name="output", dtype="float64", shape=(-1,)),),
    )
    manifest = PackageManifest(
        flavor=Flavor.python, path=PYTHON_PATH, task="other", signature=signature, example=[[0.0]]
    )
    return _write(directory, manifest)


def _write(directory: Path, manifest: PackageManifest) -> PackageManifest:
    (directory / MANIFEST_PATH).write_text(manifest.model_dump_json())
    return manifest
