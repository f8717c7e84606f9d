"""What is wrong with rows, targets and options, found before a process is started: InvalidInput names the column.

Only what can be told without a doubt is refused: what an estimator of the user's own, a transformer of columns or a
function would make of the rows is left to them. Pure; reads the rows, changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from modelyard.errors import InvalidInput
from modelyard.training import data, weights
from modelyard.training.scores import task

_LOOKED_AT = 50_000_000
"""Values up to which rows are searched for what is missing or infinite; beyond, that costs more than the start."""
_CHUNK, _SAMPLE, _NAMED = 1 << 18, 1_000, 5
_OPEN = ("ColumnTransformer", "FunctionTransformer", "FeatureUnion", "TableVectorizer")
_SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")


def check(model: Any, X: Any, y: Any, *, test_size: float = 0.0, options: Any = None) -> list[str]:
    """Warnings about training `model` on these rows. `test_size`: the share that is held out by drawing, 0 for none;
    `options`: the trainer's, such as `cv` and `class_weight`."""
    rows = data.check(X, y)
    _rows(rows, test_size)
    _names(X)
    y = data.column(y)
    kind = task(model)
    _missing_targets(y)
    _targets(kind, model, y)
    found = _classes(y, test_size, getattr(options, "cv", 0)) if kind == "classification" else []
    if getattr(options, "class_weight", None) is not None:
        if kind != "classification":
            raise InvalidInput("class_weight is given, but the model is no classifier", remedy="Leave it out.")
        weights.way(model)
    _text(model, X)
    return found + _values(model, X)


# --------------------------------------------------------------------------------------------------- shapes


def _rows(rows: int, test_size: float) -> None:
    held = math.ceil(rows * test_size)
    if rows - held < 1:
        raise InvalidInput(
            f"of {rows} row{'s' * (rows > 1)} test_size={test_size:g} leaves none to train on",
            remedy="Give more rows, or test_size=0.",
        )


def _names(X: Any) -> None:
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) > 1 and shape[1] == 0:
        raise InvalidInput("X has no columns")
    if not hasattr(X, "columns"):
        return
    twice = [str(name) for name in X.columns[X.columns.duplicated()].unique()]
    if twice:
        raise InvalidInput(
            f"X has more than one column named {_some(twice)}",
            remedy="Rename them, or keep the first of each: X.loc[:, ~X.columns.duplicated()].",
        )
    texts = sum(isinstance(name, str) for name in X.columns)
    if 0 < texts < len(X.columns):
        other = next(name for name in X.columns if not isinstance(name, str))
        raise InvalidInput(
            f"some column names of X are text, others are not, such as {other!r}",
            remedy="Make them all text: X.columns = X.columns.astype(str).",
        )


# -------------------------------------------------------------------------------------------------- targets


def _missing_targets(y: Any) -> None:
    import numpy as np

    missing = _is_missing(y)
    if missing is None or not missing.any():
        return
    where = np.flatnonzero(missing if missing.ndim == 1 else missing.any(axis=1))
    first = ", ".join(str(i) for i in where[:_NAMED])
    more = ", …" if len(where) > _NAMED else ""
    raise InvalidInput(
        f"y is missing in {len(where)} of {data.count(y)} rows: number {first}{more}",
        remedy="Leave these rows out: keep = y.notna(); X[keep], y[keep].",
    )


def _is_missing(values: Any) -> Any:
    """Where values are missing, as an array; None where that makes no sense."""
    import numpy as np

    if hasattr(values, "isna"):
        return values.isna().to_numpy()
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return np.isnan(array)
    if array.dtype.kind == "O":
        return np.frompyfunc(lambda v: v is None or v != v, 1, 1)(array).astype(bool)
    return None


def _targets(kind: str, model: Any, y: Any) -> None:
    import numpy as np

    array = np.asarray(y)
    if array.ndim != 1:
        return
    name = type(weights.last_of(model)).__name__
    numbers = array.dtype.kind in "biuf"
    if kind in ("classification", "regression") and (array == array[0]).all():
        raise InvalidInput(f"y is {array[0]!s} in every row: there is nothing to learn", remedy="Check the target.")
    if kind == "regression" and not numbers and _sample_is_text(array):
        raise InvalidInput(f"y is text, and {name} is a regressor", remedy="Give numbers, or take a classifier.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InvalidInput(f"y is infinite in row {first}", remedy="Leave such rows out, or give finite targets.")
    if kind == "classification" and array.dtype.kind == "f" and (array != np.floor(array)).any():
        example = array[array != np.floor(array)][0]
        raise InvalidInput(
            f"y has fractions, such as {example:g}, and {name} is a classifier",
            remedy="Take a regressor, or make classes of the numbers: pandas.cut(y, bins).",
        )


def _classes(y: Any, test_size: float, cv: int) -> list[str]:
    """Classes too small for the folds (an error) or for both parts of the split (a warning)."""
    import numpy as np

    array = np.asarray(y)
    if array.ndim != 1:
        return []
    labels, counts = np.unique(array.astype(str) if array.dtype.kind == "O" else array, return_counts=True)
    least = int(counts.argmin())
    label, count = labels[least], int(counts[least])
    rows = f"class {label!s} has {count} row{'s' * (count > 1)}"
    needed = math.ceil(cv / (1 - test_size))
    if count < needed:
        raise InvalidInput(
            f"{rows}; cv={cv} needs {needed} of each class",
            remedy="Give more rows of it, take fewer folds, or merge it with another class.",
        )
    if test_size and count == 1:
        return [f"{rows}: the held-out rows do not keep the proportions of the classes, and cannot tell about it"]
    return []


# ----------------------------------------------------------------------------------------------------- rows


def _text(model: Any, X: Any) -> None:
    """Refuse columns of text, dates or categories that reach an estimator which takes numbers."""
    columns = list(_texts(X))
    for step in _steps(model):
        refused = [name for name, kind in columns if not _takes(step, kind)]
        if not refused:
            continue
        known = dict(columns)
        kinds = {known[name] for name in refused}
        what = {"text": "text", "dates": "dates", "category": "categories"}
        said = " and ".join(what[kind] for kind in ("text", "category", "dates") if kind in kinds)
        s = "s" * (len(refused) > 1)
        raise InvalidInput(
            f"column{s} {_some(refused)} hold{'' if s else 's'} {said}, and {type(step).__name__} takes numbers",
            remedy=_encoders(refused, kinds),
        )


def _encoders(names: list[str], kinds: set[str]) -> str:
    if kinds == {"dates"}:
        return f"Make numbers of it, such as X[{names[0]!r}].dt.year."
    listed = ", ".join(repr(name) for name in names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return (
        "Put an encoder before it: make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown='ignore'), "
        f"[{listed}]), remainder='passthrough'), model)."
    )


def _texts(X: Any) -> Iterator[tuple[str, str]]:
    """Columns that are no numbers: name and kind (text, category, dates)."""
    import numpy as np

    if hasattr(X, "dtypes") and hasattr(X, "iloc") and X.ndim == 2:
        from pandas.api import types

        for i, name in enumerate(X.columns):
            dtype = X.dtypes.iloc[i]
            if types.is_numeric_dtype(dtype):
                continue
            if isinstance(dtype, types.CategoricalDtype):
                yield str(name), "category"
            elif types.is_datetime64_any_dtype(dtype):
                yield str(name), "dates"
            elif _sample_is_text(X.iloc[:_SAMPLE, i].dropna().to_numpy(dtype=object)):
                yield str(name), "text"
    elif isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OUS":
        for i, name in enumerate(data.columns(X)):
            if _sample_is_text(X[:_SAMPLE, i]):
                yield name, "text"


def _sample_is_text(values: Any) -> bool:
    """Whether there is text among the first values that is no number, which estimators would read as one."""
    return any(isinstance(v, (str, bytes)) and not _is_number(v) for v in values[:_SAMPLE])


def _is_number(text: str | bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _steps(model: Any) -> Iterator[Any]:
    """Estimators that get the columns as they are, one after the other, up to the first that may change what they are
    in a way which is not known here."""
    from sklearn.utils import get_tags

    steps = [step for _, step in model.steps] if type(model).__name__ == "Pipeline" else [model]
    for step in steps:
        if step is None or step == "passthrough":
            continue
        root, name = type(step).__module__.partition(".")[0], type(step).__name__
        if root == "sklearn" and name in _SEARCHES:
            yield from _steps(step.estimator)
            return
        if root == "sklearn" and name == "Pipeline":
            yield from _steps(step)
            return
        if root not in ("sklearn", "xgboost", "lightgbm") or name in _OPEN or _holds_others(step):
            return
        tags = get_tags(step).input_tags
        if tags.string or (tags.categorical and not name.startswith("Hist")) or not tags.two_d_array:
            return
        yield step
        if name.endswith(("Imputer", "Encoder", "Indicator")):
            return


def _holds_others(estimator: Any) -> bool:
    return any(hasattr(v, "fit") or isinstance(v, (list, tuple)) for v in estimator.get_params(deep=False).values())


def _takes(step: Any, kind: str) -> bool:
    """Whether an estimator takes columns of that kind."""
    root, name = type(step).__module__.partition(".")[0], type(step).__name__
    if root == "lightgbm":
        return kind == "category"
    if root == "xgboost":
        return kind == "category" and bool(step.get_params().get("enable_categorical"))
    if name.startswith("HistGradientBoosting"):
        asked = step.categorical_features
        return asked is not None and (kind == "category" or not isinstance(asked, str))
    return name == "SimpleImputer" and kind != "dates" and step.strategy not in ("mean", "median")


def _values(model: Any, X: Any) -> list[str]:
    """Refuse infinite values, and missing ones that reach an estimator which takes none; a column without any value is
    a warning where missing ones are taken."""
    from sklearn.utils import get_tags

    empty, missing, infinite = _odd(X)
    steps = list(_steps(model))
    if infinite and steps and type(steps[0]).__module__.partition(".")[0] == "sklearn":
        raise InvalidInput(
            f"column {infinite[0]} holds infinite values", remedy="Replace them: X.replace([inf, -inf], nan)."
        )
    refusing = next((step for step in steps if not get_tags(step).input_tags.allow_nan), None)
    if empty and refusing is not None:
        raise InvalidInput(f"column {_some(empty)} has no value at all", remedy="Leave it out: X.drop(columns=[…]).")
    if missing and refusing is not None:
        name, count = missing[0]
        raise InvalidInput(
            f"column {name} misses {count} value{'s' * (count > 1)}, and {type(refusing).__name__} takes none missing",
            remedy="Put SimpleImputer() before it, leave these rows out, or take HistGradientBoosting.",
        )
    return [f"column {name} has no value at all" for name in empty]


def _odd(X: Any) -> tuple[list[str], list[tuple[str, int]], list[str]]:
    """Columns of numbers without any value, with missing ones (and how many), with infinite ones."""
    empty: list[str] = []
    missing: list[tuple[str, int]] = []
    infinite: list[str] = []
    if math.prod(getattr(X, "shape", (0,))) > _LOOKED_AT:
        return empty, missing, infinite
    for name, values in _suspicious(X):
        import numpy as np

        lacking = int(np.isnan(values).sum())
        if lacking == len(values):
            empty.append(name)
        elif lacking:
            missing.append((name, lacking))
        if np.isinf(values).any():
            infinite.append(name)
    return empty, missing, infinite


def _suspicious(X: Any) -> Iterator[tuple[str, Any]]:
    """Columns of fractions that hold something that is not finite."""
    import numpy as np

    if hasattr(X, "dtypes") and hasattr(X, "iloc") and X.ndim == 2:
        for i, name in enumerate(X.columns):
            dtype = X.dtypes.iloc[i]
            if getattr(dtype, "kind", "") == "f" or str(dtype) in ("Int64", "Float64"):
                values = X.iloc[:, i].to_numpy(dtype=float, na_value=np.nan)
                if not np.isfinite(values).all():
                    yield str(name), values
    elif isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "f":
        step = max(1, _CHUNK // max(1, X.shape[1]))
        if not all(np.isfinite(X[start : start + step]).all() for start in range(0, len(X), step)):
            for i, name in enumerate(data.columns(X)):
                if not np.isfinite(X[:, i]).all():
                    yield name, X[:, i]


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
