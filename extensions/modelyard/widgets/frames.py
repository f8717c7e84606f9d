"""The notebook's data frames: which there are, what their columns hold, and what prepares them for an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelyard.errors import InvalidInput
from modelyard.widgets.estimators import CLASSIFICATION, REGRESSION

Kind = Literal["number", "flag", "category", "text", "date", "other"]
USED: tuple[Kind, ...] = ("number", "flag", "category")
"""Kinds of columns that a model can take; others are left out."""
_LOOKED_AT = 20_000
_CATEGORIES = 50
_CLASSES = 20


@dataclass(frozen=True)
class Column:
    """A column: `distinct` values and `missing` ones among the first rows."""

    name: str
    kind: Kind
    distinct: int
    missing: bool

    @property
    def note(self) -> str:
        """Why it is left out; empty when it is not."""
        said = {
            "text": f"text: {self.distinct} different values",
            "date": "dates: make numbers of them first",
            "other": "neither numbers nor categories",
        }
        return said.get(self.kind, "")


def frames(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The data frames of a notebook by name; those of one underscore or more are not meant to be seen."""
    import sys

    pandas = sys.modules.get("pandas")
    if pandas is None:
        return {}
    return {
        name: value
        for name, value in sorted(namespace.items())
        if isinstance(value, pandas.DataFrame) and not name.startswith("_")
    }


def columns(frame: Any) -> list[Column]:
    """What the columns hold. InvalidInput when their names are not distinct words."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) != len(names) or any(not isinstance(name, str) for name in frame.columns):
        raise InvalidInput(
            "the frame's column names are not distinct texts",
            remedy="Name them: frame.columns = [str(c) for c in frame.columns].",
        )
    head = frame.head(_LOOKED_AT)
    return [_column(name, head[name], frame[name]) for name in names]


def _column(name: str, head: Any, whole: Any) -> Column:
    from pandas.api import types

    try:
        distinct = int(head.nunique())
    except TypeError:  # lists and the like
        return Column(name, "other", 0, False)
    kind: Kind
    if types.is_bool_dtype(head.dtype):
        kind = "flag"
    elif types.is_numeric_dtype(head.dtype):
        kind = "number"
    elif types.is_datetime64_any_dtype(head.dtype) or types.is_timedelta64_dtype(head.dtype):
        kind = "date"
    elif types.is_string_dtype(head.dtype) or isinstance(head.dtype, types.CategoricalDtype):
        kind = "category" if distinct <= _CATEGORIES else "text"
    else:
        kind = "other" if not all(isinstance(v, str) for v in head.dropna().head(100)) else "category"
    return Column(name, kind, distinct, bool(whole.isna().any()))


def task_of(column: Column, values: Any) -> str:
    """classification for classes, and for few whole numbers; regression for other numbers."""
    if column.kind != "number":
        return CLASSIFICATION
    head = values.head(_LOOKED_AT).dropna()
    whole = bool((head == head.round()).all())
    return CLASSIFICATION if whole and column.distinct <= _CLASSES else REGRESSION


def prepared(used: Sequence[Column], estimator: Any) -> Any:
    """A pipeline: missing numbers become the median and all are scaled, missing categories the most frequent and each
    becomes a column of its own; then `estimator`."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def named(kind: Kind) -> list[str]:
        return [column.name for column in used if column.kind == kind]

    def single() -> Any:
        return OneHotEncoder(handle_unknown="ignore", sparse_output=False)

    steps = [
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), named("number")),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), single()), named("category")),
        (single(), named("flag")),
    ]
    return make_pipeline(make_column_transformer(*((step, names) for step, names in steps if names)), estimator)
