"""The package format: what a published model version holds on disk beside MLflow's own files.

A package is an MLflow model directory (`MLmodel`, signature, input example) with a folder `modelyard/` that holds
`package.json` (a `PackageManifest`) and the files of the fast flavor. The model server reads only these; it needs
mlflow only for the `pyfunc` flavor.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MANIFEST_PATH = "modelyard/package.json"
FORMAT_VERSION = 1
MISSING_TEXT = "\ue000missing"
"""What stands for a missing text in an ONNX graph, whose strings cannot be null. The first character is a private one,
so that no text of a caller means it by accident."""


class Flavor(StrEnum):
    """How a package is loaded, in the order in which they are tried."""

    onnx = "onnx"
    torch = "torch"
    xgboost = "xgboost"
    lightgbm = "lightgbm"
    transformers = "transformers"
    skops = "skops"
    python = "python"
    pyfunc = "pyfunc"


class ColumnKind(StrEnum):
    """What a column or tensor holds. V2 datatypes follow from it and `dtype`."""

    number = "number"
    string = "string"
    boolean = "boolean"
    datetime = "datetime"


class TensorSpec(BaseModel):
    """One named input or output: a column of a table (`shape` [-1, 1]) or a tensor (-1 is a free dimension)."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: ColumnKind = ColumnKind.number
    dtype: str = Field(description="numpy's name: float64, int64, bool; 'str' for text.", examples=["float64"])
    shape: tuple[int, ...] = (-1, 1)
    required: bool = Field(
        default=True, description="False: missing values (null) are accepted, as seen in the example."
    )
    categories: tuple[Any, ...] | None = Field(
        default=None, description="The levels of a pandas categorical, in order."
    )


class Signature(BaseModel):
    """Inputs in order, outputs in order. `table`: inputs are named columns; `tensor`: one array `input`."""

    model_config = ConfigDict(frozen=True)

    layout: Literal["table", "tensor"]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Conversion(BaseModel):
    """What became of the conversion to a fast flavor."""

    model_config = ConfigDict(frozen=True)

    flavor: Flavor
    accepted: bool
    reason: str = ""
    max_abs_difference: float | None = Field(default=None, description="Against the original, on the example.")
    tolerance: float | None = None


class PackageManifest(BaseModel):
    """`modelyard/package.json`."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT_VERSION
    flavor: Flavor
    path: str = Field(description="The flavor's file, relative to the package: 'modelyard/model.onnx'.")
    task: Literal["classification", "regression", "other"]
    classes: tuple[Any, ...] | None = Field(
        default=None, description="A classifier's labels in order of its probabilities."
    )
    signature: Signature
    example: list[dict[str, Any]] | list[Any] = Field(default_factory=list, description="A few input rows as JSON.")
    conversions: tuple[Conversion, ...] = ()
    trusted: tuple[str, ...] = Field(default=(), description="skops: types that the owner's own trial found and named.")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="What the flavor has to know beside its file: XGBoost's mark of missing values.",
    )
    size_bytes: int = 0
    created_with: dict[str, str] = Field(default_factory=dict, description="Package versions at publish.")


PYTHON_PATH, PYTHON_FILES = "modelyard/model.pkl", "artifacts/files"
"""Of a plain Python class: the object, and the folder that its `load` is given, where MLflow keeps it."""
REFERENCE_PATH = "modelyard/reference.json"
"""A `TrainingReference`, in packages that were published with their training rows."""


class ColumnReference(BaseModel):
    """How one column was spread over the training rows. `edges` between bins of a number, or `levels` of a text (one
    more bin for all others); `shares` of the bins, the last one of missing values."""

    model_config = ConfigDict(frozen=True)

    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] | None = None
    shares: tuple[float, ...]

    def words(self) -> tuple[str, ...]:
        """The bins, said."""
        if self.levels is not None:
            return (*self.levels, "others", "missing")
        if not self.edges:
            return ("all", "missing")
        pairs = zip(self.edges, self.edges[1:], strict=False)
        between = [f"{low:g} to {high:g}" for low, high in pairs]
        return (f"below {self.edges[0]:g}", *between, f"from {self.edges[-1]:g}", "missing")


class TrainingReference(BaseModel):
    """`modelyard/reference.json`: statistics of the rows that a model was trained on, to tell drift by."""

    model_config = ConfigDict(frozen=True)

    rows: int
    columns: dict[str, ColumnReference]
