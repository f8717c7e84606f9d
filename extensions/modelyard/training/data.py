"""The rows: what is held out, and the digest by which a data set is known again."""

from __future__ import annotations

import hashlib
from typing import Any

from modelyard.errors import InvalidInput


def check(X: Any, y: Any) -> int:
    """The number of rows; InvalidInput when X and y do not fit together."""
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
            column = frame.iloc[:, i]
            total.update(np.ascontiguousarray(pd.util.hash_pandas_object(column, index=False).to_numpy()))
        return
    if hasattr(part, "tocoo"):
        matrix = part.tocoo()
        for array in (np.asarray(matrix.shape), matrix.row, matrix.col, matrix.data):
            _add(total, np.asarray(array))
        return
    array = np.asarray(part)
    total.update(f"{array.dtype} {array.shape}".encode())
    total.update(repr(array.tolist()).encode() if array.dtype.kind == "O" else np.ascontiguousarray(array))


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
