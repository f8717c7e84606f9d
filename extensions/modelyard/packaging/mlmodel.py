"""The MLflow side of a package: `MLmodel`, signature, input example, requirements, and the model as MLflow keeps it."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelyard.packaging.boosting import Native
from modelyard.packaging.python import plain_model, python_model
from modelyard.packaging.requirements import infer, pinned
from modelyard.packaging.rows import EXAMPLE_ROWS
from modelyard.packaging.signature import is_table
from modelyard.packaging.torch import is_module
from modelyard_api.models import ColumnKind, Flavor, Signature, TensorSpec

_STAGING = ".mlflow"


@dataclass(frozen=True)
class Source:
    """What is saved: the model with its example, its signature, and what the owner declared of it."""

    model: Any
    example: Any
    signature: Signature
    requirements: tuple[str, ...] | None = None
    code_paths: tuple[str | Path, ...] = ()


def save_sklearn(source: Source, directory: Path, trusted: tuple[str, ...] | None) -> str:
    """Save a scikit-learn model; the path of its file in the package.

    `trusted`: types for skops; None saves it with cloudpickle instead.
    """
    format_, library = ("skops", "skops") if trusted is not None else ("cloudpickle", "cloudpickle")
    with _staged(directory) as path:
        import mlflow.sklearn

        mlflow.sklearn.save_model(
            source.model,
            str(path),
            serialization_format=format_,
            skops_trusted_types=list(trusted) if trusted is not None else None,
            pip_requirements=_requirements(source, "scikit-learn", "numpy", "pandas", library),
            **_common(source),
        )
    return "model.skops" if trusted is not None else "model.pkl"


def save_boosted(source: Source, native: Native, directory: Path) -> str:
    """Save a booster as MLflow's flavor of its library does; the path of its file in the package."""
    with _staged(directory) as path:
        # Either distribution has XGBoost; the second one is for machines without a GPU.
        libraries = _with_declared(source, pinned("numpy", native.flavor, f"{native.flavor}-cpu"))
        if native.flavor is Flavor.xgboost:
            import mlflow.xgboost

            mlflow.xgboost.save_model(
                native.booster, str(path), model_format="ubj", pip_requirements=libraries, **_common(source)
            )
            return "model.ubj"
        import mlflow.lightgbm

        mlflow.lightgbm.save_model(native.booster, str(path), pip_requirements=libraries, **_common(source))
        return "model.lgb"


def save_described(source: Source, flavor: Flavor, directory: Path) -> None:
    """Write `MLmodel` with the signature alone: MLflow has no flavor that loads this model without its libraries."""
    from mlflow.models import Model

    described = Model(signature=mlflow_signature(source.signature))
    described.add_flavor(f"modelyard_{flavor}", path="modelyard")
    described.save(str(directory / "MLmodel"))
    libraries = _with_declared(source, pinned(flavor, "torch", "numpy"))
    (directory / "requirements.txt").write_text("".join(f"{line}\n" for line in libraries))


def save_python(source: Source, directory: Path) -> str:
    """Save a plain Python model; the path of its file in the package."""
    libraries = ["cloudpickle", "numpy"] + (["pandas"] if is_table(source.example) else [])
    with _staged(directory) as path:
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(
            str(path),
            python_model=python_model(source.model),
            pip_requirements=_requirements(source, *libraries),
            **_common(source),
        )
    return "python_model.pkl"


def save_plain(source: Source, files: Path | None, directory: Path) -> None:
    """Save a plain class's object, with its folder of files as MLflow's artifact `files`."""
    with _staged(directory) as path, TemporaryDirectory() as named:
        import mlflow.pyfunc

        artifacts = None
        if files is not None:
            # A copy, as MLflow calls a folder as it was called, and follows no link.
            artifacts = {"files": shutil.copytree(files, str(Path(named) / "files"))}
        mlflow.pyfunc.save_model(
            str(path),
            python_model=plain_model(source.model),
            artifacts=artifacts,
            pip_requirements=_requirements(source, "cloudpickle", "numpy"),
            **_common(source),
        )


def _requirements(source: Source, *libraries: str) -> list[str]:
    # Explicit lines keep MLflow from importing the model in a process of its own to find them, which takes seconds.
    if is_module(source.model):
        libraries = (*libraries, "torch")
    return _with_declared(source, infer(source.model, *libraries))


def _with_declared(source: Source, found: list[str]) -> list[str]:
    declared = list(source.requirements or ())
    named = {line.partition("=")[0].strip().lower() for line in declared}
    return declared + [r for r in found if r.partition("=")[0].lower() not in named]


def _common(source: Source) -> dict[str, Any]:
    example = source.example
    head = example.iloc[:EXAMPLE_ROWS] if is_table(example) else example[:EXAMPLE_ROWS]
    keeps_example = is_table(example) or example.dtype.kind in "fiub"
    return {
        "signature": mlflow_signature(source.signature),
        "input_example": head if keeps_example else None,
        "code_paths": [str(path) for path in source.code_paths] or None,
    }


@contextmanager
def _staged(directory: Path) -> Iterator[Path]:
    """An empty folder for MLflow, which refuses a folder with files; its content then joins the package."""
    staging = directory / _STAGING
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: F401 - it warns of its own type hints, and sets up its log, which is quieted next

        log = logging.getLogger("mlflow")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            yield staging
        finally:
            log.setLevel(level)
    for child in staging.iterdir():
        child.replace(directory / child.name)
    staging.rmdir()


def mlflow_signature(signature: Signature) -> Any:
    """`signature` in MLflow's terms."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    inputs = [_column(s) if signature.layout == "table" else _tensor(s) for s in signature.inputs]
    outputs = [_tensor(s, named=len(signature.outputs) > 1) for s in signature.outputs]
    if signature.outputs[0].name == "label":  # MLflow's own predict answers labels only
        outputs = [_tensor(signature.outputs[0])]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _column(spec: TensorSpec) -> Any:
    from mlflow.types import ColSpec, DataType

    types = {
        ColumnKind.string: DataType.string,
        ColumnKind.boolean: DataType.boolean,
        ColumnKind.datetime: DataType.datetime,
    }
    kind = types.get(spec.kind) or _number(spec)
    return ColSpec(type=kind, name=spec.name, required=spec.required)


def _number(spec: TensorSpec) -> Any:
    import numpy as np
    from mlflow.types import DataType

    dtype = np.dtype(spec.dtype.lower())
    if dtype.kind == "f" or not spec.required:  # whole numbers with gaps arrive as float64
        return DataType.float if dtype.itemsize <= 4 and dtype.kind == "f" else DataType.double
    return DataType.integer if dtype.itemsize < 4 or dtype.name == "int32" else DataType.long


def _tensor(spec: TensorSpec, named: bool = False) -> Any:
    import numpy as np
    from mlflow.types import TensorSpec as MlflowTensor

    dtype = np.dtype("str" if spec.kind is ColumnKind.string else spec.dtype)
    return MlflowTensor(dtype, spec.shape, name=spec.name if named else None)
