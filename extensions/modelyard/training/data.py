"""The rows: what is held out, and the digest by which a data set is known again."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from modelyard.errors import InvalidInput

EXAMPLE_ROWS = 5

_CHUNK = 1 << 18
"""Values that a digest looks at at a time."""


def check(X: Any, y: Any) -> int:
    """The number of rows; InvalidInput when X and y do not fit together. A PyTorch Dataset is both: y is None."""
    if is_dataset(X):
        return _items(X, y)
    rows, targets = _rows(X), _rows(y)
    if rows is None:
        raise InvalidInput(f"X is a {type(X).__name__}, not rows", remedy="Give a DataFrame or an array.")
    if targets is None:
        raise InvalidInput(f"y is a {type(y).__name__}, not one target per row", remedy="Give a column or an array.")
    if rows != targets:
        raise InvalidInput(f"X has {rows} rows, y has {targets} targets", remedy="Give one target per row.")
    if rows == 0:
        raise InvalidInput("there are no rows")
    return rows


def is_dataset(X: Any) -> bool:
    """Whether X is a PyTorch Dataset (without importing PyTorch)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(X, torch.utils.data.Dataset)


def _items(dataset: Any, y: Any) -> int:
    if y is not None:
        raise InvalidInput("a Dataset brings its targets", remedy="Leave y out: yard.train(module, dataset).")
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise InvalidInput(
            f"{type(dataset).__name__} has no length", remedy="Give a map-style Dataset: __len__ and __getitem__."
        )
    if len(dataset) == 0:
        raise InvalidInput("there are no rows")
    return len(dataset)


def _rows(values: Any) -> int | None:
    shape = getattr(values, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(values) if isinstance(values, (list, tuple)) else None


def digest(*parts: Any) -> str:
    """SHA-256 (hex) of the data's values, column names and types; the same for equal data in any process."""
    total = hashlib.sha256()
    for part in parts:
        _add(total, part)
    return total.hexdigest()


def _add(total: Any, part: Any) -> None:
    import numpy as np

    if hasattr(part, "iloc"):
        import pandas as pd

        frame = part.to_frame() if part.ndim == 1 else part
        total.update(repr([(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]).encode())
        for i in range(frame.shape[1]):
            for start in range(0, len(frame), _CHUNK):
                part = frame.iloc[start : start + _CHUNK, i]
                _add_column(total, part, pd)
        return
    if hasattr(part, "tocoo"):
        matrix = part.tocoo()
        for array in (np.asarray(matrix.shape), matrix.row, matrix.col, matrix.data):
            _add(total, np.asarray(array))
        return
    array = np.asarray(part)
    total.update(f"{array.dtype} {array.shape}".encode())
    if array.dtype.kind == "O":
        total.update(repr(array.tolist()).encode())
    elif array.flags.c_contiguous:
        total.update(array)
    else:
        step = max(1, _CHUNK * len(array) // max(1, array.size))
        for start in range(0, len(array), step):
            total.update(np.ascontiguousarray(array[start : start + step]))


def _add_column(total: Any, values: Any, pd: Any) -> None:
    """Plain numbers as they are, which takes no memory and a fifth of the time; else a hash per value."""
    import numpy as np

    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf":
        total.update(np.ascontiguousarray(values.to_numpy()))
    else:
        total.update(np.ascontiguousarray(pd.util.hash_pandas_object(values, index=False).to_numpy()))


def count(X: Any) -> int:
    """The number of rows."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def column(y: Any) -> Any:
    """Targets in one dimension, where they are a single column of two."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    if len(shape) != 2 or shape[1] != 1:
        return y
    return y.iloc[:, 0] if hasattr(y, "iloc") else y.ravel()


def columns(X: Any) -> list[str]:
    """The names of the columns: a frame's own, else column 0, column 1, …"""
    if hasattr(X, "columns"):
        return [str(name) for name in X.columns]
    width = X.shape[1] if hasattr(X, "shape") else len(X[0])
    return [f"column {i}" for i in range(width)]


def example(X: Any) -> Any:
    """A few rows by which a model is published: the first ones, and for each column whose missing values those do not
    show, a row that does, so that the endpoint takes gaps where the model was trained on some."""
    if getattr(X, "ndim", 0) != 2 or not hasattr(X, "iloc"):
        return X[:EXAMPLE_ROWS]
    shown = list(range(min(EXAMPLE_ROWS, len(X))))
    for i in range(X.shape[1]):
        gaps = X.iloc[:, i].isna().to_numpy()
        if gaps.any() and not gaps[shown].any():
            shown.append(int(gaps.argmax()))
    return X.iloc[shown]


def sample(X: Any, y: Any, most: int, seed: int) -> tuple[Any, Any]:
    """X and y, or `most` of their rows drawn with `seed`, in order."""
    import numpy as np
    from sklearn.utils import _safe_indexing as take

    rows = count(X)
    if rows <= most:
        return X, y
    chosen = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return take(X, chosen), take(y, chosen)


def split(X: Any, y: Any, test_size: float, seed: int, stratify: bool) -> tuple[Any, Any, Any, Any]:
    """X and y of the training part, then of the held-out part. A classifier's classes keep their proportions, where
    every class has rows for both parts."""
    from sklearn.model_selection import train_test_split

    if stratify:
        try:
            a, b, c, d = train_test_split(X, y, test_size=test_size, random_state=seed, stratify=y)
            return a, c, b, d
        except ValueError:  # a class too small for both parts, or a target that is no column of classes
            pass
    a, b, c, d = train_test_split(X, y, test_size=test_size, random_state=seed)
    return a, c, b, d
