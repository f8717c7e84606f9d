"""Rows on which a conversion must answer as the original does: the example, training rows, and rows made from them.

A few example rows hardly tell two models apart. So values are combined anew, numbers are put halfway between neighbours
(where a tree has its thresholds), and rows with a missing value or a category that nobody saw are added where the
signature lets them in. Made rows may be refused by the original; then the conversion has to refuse them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.packaging.signature import is_table
from modelyard_api.models import ColumnKind, TensorSpec

MOST_ROWS = 400
MADE_ROWS = 60
UNSEEN = "modelyard-unseen"


@dataclass(frozen=True)
class Probe:
    """`rows` as the original takes them. `made`: by us, not given; `one_by_one`: each may be refused on its own."""

    name: str
    rows: Any
    made: bool = True
    one_by_one: bool = False


def probes(example: Any, training: Any, inputs: tuple[TensorSpec, ...]) -> list[Probe]:
    """What to ask, the example first."""
    found = [Probe("the example", _head(example), made=False)]
    source = example
    if training is not None and is_table(training) == is_table(example) and len(training) > 0:
        source = _spread(training[list(example.columns)] if is_table(example) else np.asarray(training))
        found.append(Probe("training rows", source, made=False))
    if not is_table(example):
        return [*found, *_array_probes(np.asarray(source))]
    found.append(Probe("values combined anew", _shuffled(source)))
    between = _between(source, inputs)
    if between is not None:
        found.append(Probe("numbers in between", between))
    missing, unseen = _missing(source, inputs), _unseen(source, inputs)
    if missing is not None:
        found.append(Probe("a missing value", missing, one_by_one=True))
    if unseen is not None:
        found.append(Probe("an unseen category", unseen, one_by_one=True))
    return found


def _head(rows: Any) -> Any:
    return rows.iloc[:MOST_ROWS] if is_table(rows) else rows[:MOST_ROWS]


def _spread(rows: Any) -> Any:
    """At most MOST_ROWS, evenly over the whole."""
    picked = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int))
    return rows.iloc[picked] if is_table(rows) else rows[picked]


def _shuffled(frame: Any) -> Any:
    rng = np.random.default_rng(0)
    made = frame.iloc[rng.integers(len(frame), size=MADE_ROWS)].reset_index(drop=True)
    for name in made.columns:
        made[name] = frame[name].iloc[rng.integers(len(frame), size=MADE_ROWS)].array
    return made


def _midpoints(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    known = np.unique(values[np.isfinite(values)])
    return (known[:-1] + known[1:]) / 2 if len(known) > 1 else None


def _between(frame: Any, inputs: tuple[TensorSpec, ...]) -> Any:
    made = _shuffled(frame)
    changed = False
    for i, spec in enumerate(inputs):
        if spec.kind is not ColumnKind.number or spec.categories is not None or made[spec.name].dtype.kind != "f":
            continue
        middle = _midpoints(frame[spec.name].to_numpy(dtype="float64", na_value=np.nan))
        if middle is not None:
            made[spec.name] = np.resize(np.roll(middle, i), len(made)).astype(made[spec.name].to_numpy().dtype)
            changed = True
    return made if changed else None


def _array_probes(array: np.ndarray[Any, Any]) -> list[Probe]:
    if array.dtype.kind not in "fiu":
        return []
    rng = np.random.default_rng(0)
    flat = array.reshape(len(array), -1)
    picks = rng.integers(len(array), size=(MADE_ROWS, flat.shape[1]))
    mixed = np.take_along_axis(flat, picks, axis=0)
    found = [
        Probe("values combined anew", mixed.reshape(MADE_ROWS, *array.shape[1:])),
        Probe("a single row", array[:1], made=False),
    ]
    if array.dtype.kind == "f" and array.ndim == 2:
        between = mixed.copy()
        for i in range(array.shape[1]):
            middle = _midpoints(array[:, i])
            if middle is not None:
                between[:, i] = np.resize(np.roll(middle, i), len(mixed))
        found.append(Probe("numbers in between", between))
    return found


def _missing(frame: Any, inputs: tuple[TensorSpec, ...]) -> Any:
    names = [spec.name for spec in inputs if not spec.required]
    if not names:
        return None
    made = frame.iloc[np.arange(len(names)) % len(frame)].reset_index(drop=True)
    absent = {spec.name: None if spec.dtype == "object" else np.nan for spec in inputs}
    for i, name in enumerate(names):
        if made[name].dtype.kind in "iub":  # the example has none here, only the training rows do
            made[name] = made[name].astype("float64" if made[name].dtype.kind != "b" else object)
        made.loc[i, name] = absent[name]
    return made


def _unseen(frame: Any, inputs: tuple[TensorSpec, ...]) -> Any:
    names = [spec.name for spec in inputs if spec.kind is ColumnKind.string and spec.categories is None]
    if not names:
        return None
    made = frame.iloc[np.arange(2 * len(names)) % len(frame)].reset_index(drop=True)
    for i, name in enumerate(names):
        made.loc[2 * i, name] = UNSEEN
        made.loc[2 * i + 1, name] = ""
    return made
