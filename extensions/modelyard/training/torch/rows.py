"""Rows as tensors: what a module reads of an array or a table. Arrays stay where they are, mapped from disk; only the
rows that are asked for are gathered and converted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from modelyard.errors import InvalidInput

Tensors = tuple[torch.Tensor, ...]
Take = Callable[[Any], Tensors]
"""Takes a slice or an array of row numbers; answers what the module is called with for these rows."""


class Reader(Protocol):
    """How rows become what a module is called with."""

    def bind(self, X: Any) -> Take:
        """A function that reads rows of X. InvalidInput when X is not what the module was trained on."""


def is_table(X: Any) -> bool:
    """Whether X is a pandas DataFrame (without importing pandas)."""
    return hasattr(X, "columns") and hasattr(X, "iloc")


def as_array(values: Any, what: str = "X") -> NDArray[Any]:
    """`values` as an array, where that can be without a copy."""
    if isinstance(values, torch.Tensor):
        array = values.detach().cpu().numpy()
    elif hasattr(values, "tocoo"):
        raise InvalidInput(f"{what} is a sparse matrix, which PyTorch modules do not take", remedy="Give toarray().")
    else:
        array = values.to_numpy() if hasattr(values, "iloc") else np.asarray(values)
    if array.dtype.kind in "OUSMm" and what == "X":
        raise InvalidInput(
            f"X has dtype {array.dtype}, not numbers", remedy="Give numbers, or a DataFrame to yard.networks.table()."
        )
    return np.asarray(array)


@dataclass(frozen=True)
class ArrayReader:
    """Reads an array, or a table of numbers, as one tensor of shape (n, …). All numbers become `dtype`; whole numbers
    stay whole where the module looks them up (`lookup`). `columns`: of the table that it was trained on."""

    dtype: torch.dtype = torch.float32
    lookup: bool = False
    columns: tuple[str, ...] | None = None

    @classmethod
    def of(cls, module: torch.nn.Module, X: Any = None) -> ArrayReader:
        """What `module` takes: its parameters' type, and whole numbers when it has an embedding."""
        floats = [p.dtype for p in module.parameters() if p.dtype.is_floating_point]
        lookup = any(isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag)) for part in module.modules())
        columns = tuple(str(name) for name in X.columns) if is_table(X) else None
        return cls(floats[0] if floats else torch.float32, lookup, columns)

    def bind(self, X: Any) -> Take:
        """See Reader."""
        if is_table(X):
            columns = numbers(X, self.columns or [str(name) for name in X.columns])
            dtype = self._dtype(np.result_type(*columns))
            return lambda index: (_tensor(gather(columns, index), dtype),)
        array = as_array(X)
        if self.columns is not None and (array.ndim != 2 or array.shape[1] != len(self.columns)):
            raise InvalidInput(
                f"the rows have shape {list(array.shape)}", remedy=f"Give the columns {', '.join(self.columns)}."
            )
        dtype = self._dtype(array.dtype)
        return lambda index: (_tensor(rows_of(array, index), dtype),)

    def _dtype(self, given: np.dtype[Any]) -> torch.dtype:
        return torch.int64 if self.lookup and given.kind in "iu" else self.dtype


@dataclass(frozen=True)
class Category:
    """A column with levels. `text`: they are compared as text, else as numbers. Number 0 stands for a missing level or
    one that is not known; the levels count from 1."""

    name: str
    levels: tuple[Any, ...]
    text: bool


@dataclass(frozen=True)
class TableReader:
    """Reads a DataFrame as up to two tensors: its numbers (n, …) in float64, NaN where one is missing, and the numbers
    of its categories' levels (n, …). `order`: all columns as they came."""

    order: tuple[str, ...]
    numbers: tuple[str, ...]
    categories: tuple[Category, ...]

    @classmethod
    def learn(cls, frame: Any, index: NDArray[Any]) -> TableReader:
        """Which columns are numbers and which have levels, from the rows of `index`."""
        found = [_category(str(name), frame[name], index) for name in frame.columns]
        names = tuple(str(name) for name in frame.columns)
        plain = tuple(name for name, category in zip(names, found, strict=True) if category is None)
        return cls(names, plain, tuple(c for c in found if c is not None))

    def bind(self, X: Any) -> Take:
        """See Reader."""
        if not is_table(X):
            raise InvalidInput(
                f"the network was trained on a DataFrame, this is a {type(X).__name__}",
                remedy=f"Give a DataFrame with: {', '.join(self.order)}.",
            )
        columns = numbers(X, self.numbers)
        codes = [_codes(_column(X, c.name), c) for c in self.categories]

        def take(index: Any) -> Tensors:
            parts = [_tensor(gather(columns, index), torch.float64)] if columns else []
            return (*parts, _tensor(gather(codes, index), torch.int64)) if codes else tuple(parts)

        return take


def _category(name: str, series: Any, index: NDArray[Any]) -> Category | None:
    """The column as one with levels; None: it holds numbers. InvalidInput for dates and other things."""
    import pandas as pd

    types = pd.api.types
    if isinstance(series.dtype, pd.CategoricalDtype):
        levels = series.dtype.categories
        text = not types.is_numeric_dtype(levels.dtype) or types.is_bool_dtype(levels.dtype)
        return Category(name, tuple(str(v) if text else float(v) for v in levels), text)
    if types.is_bool_dtype(series.dtype):
        return Category(name, ("False", "True"), True)
    if types.is_numeric_dtype(series.dtype):
        return None
    inferred = types.infer_dtype(series, skipna=True)
    if inferred in ("string", "boolean", "empty"):
        return Category(name, tuple(sorted({str(v) for v in series.iloc[index].dropna().unique()})), True)
    raise InvalidInput(
        f"column {name!r} holds {inferred} values (dtype {series.dtype}), which a network does not take",
        remedy="Make numbers, text or booleans of them.",
    )


def _codes(series: Any, category: Category) -> NDArray[np.int32]:
    import pandas as pd

    if category.text:
        levels, values = pd.Index(category.levels, dtype=object), series.astype(object).map(str, na_action="ignore")
        found = levels.get_indexer(pd.Index(values, dtype=object))
    else:
        found = pd.Index(category.levels, dtype="float64").get_indexer(series.astype("float64").to_numpy())
    return np.asarray(found + 1, dtype=np.int32)


def _column(frame: Any, name: str) -> Any:
    if name not in frame.columns:
        raise InvalidInput(f"missing column: {name}", remedy="Give the columns that the module was trained on.")
    return frame[name]


def numbers(frame: Any, names: Sequence[str]) -> list[NDArray[Any]]:
    """The columns as arrays, without a copy where they are plain; NaN where a nullable one is missing."""
    found = []
    for name in names:
        series = _column(frame, name)
        if getattr(series.dtype, "kind", "O") not in "iufb" or hasattr(series.dtype, "categories"):
            raise InvalidInput(
                f"column {name!r} has dtype {series.dtype}, not numbers",
                remedy="Encode it before, or train yard.networks.table(), which embeds categories.",
            )
        plain = isinstance(series.dtype, np.dtype)
        found.append(series.to_numpy() if plain else series.to_numpy(dtype="float64", na_value=np.nan))
    return found


def gather(columns: list[NDArray[Any]], index: Any) -> NDArray[Any]:
    """The rows of `index`, columns side by side."""
    return np.stack([rows_of(column, index) for column in columns], axis=1)


def rows_of(array: NDArray[Any], index: Any) -> NDArray[Any]:
    """The rows of `index`: a view for a slice, else gathered by `take`, which is faster than indexing."""
    return array[index] if isinstance(index, slice) else array.take(index, axis=0)


def _tensor(rows: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    names = {torch.float64: "float64", torch.int64: "int64"}
    return torch.from_numpy(np.require(rows, names.get(dtype, "float32"), ["C", "W"])).to(dtype)
