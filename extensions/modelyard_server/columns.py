"""Inputs checked against the signature: every error names the column, what was wrong and what would be right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput
from modelyard_api.models import ColumnKind, Signature, TensorSpec


def check(signature: Signature, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Arrays in the signature's order and types. Values may be lists (None: missing) or arrays.

    A table of numbers may come as one array `input` too, with a column for each of them, in order."""
    columns = _side_by_side(signature, columns)
    names = [spec.name for spec in signature.inputs]
    missing = [n for n in names if n not in columns]
    extra = [n for n in columns if n not in names]
    if missing or extra:
        said = [f"missing column{'s' * (len(missing) > 1)}: {', '.join(missing)}"] if missing else []
        said += [f"unknown column{'s' * (len(extra) > 1)}: {', '.join(map(str, extra))}"] if extra else []
        rule = "missing" if missing else "unknown"
        raise InvalidInput(
            "; ".join(said)[:2000],
            remedy=f"Send exactly: {', '.join(names)}.",
            input=(missing or extra)[0],
            rule=rule,
        )
    if signature.layout == "tensor":
        return {spec.name: _tensor(spec, columns[spec.name]) for spec in signature.inputs}
    checked = {spec.name: _column(spec, columns[spec.name]) for spec in signature.inputs}
    lengths = {name: len(column) for name, column in checked.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInput(f"columns differ in length: {lengths}", remedy="Send as many values for each column.")
    if not next(iter(lengths.values())):
        raise InvalidInput("no rows", remedy="Send at least one row.")
    return checked


def _side_by_side(signature: Signature, columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Columns of the one array `input`, where that is what came."""
    if signature.layout != "table" or list(columns) != ["input"] or signature.inputs[0].name == "input":
        return columns
    array = columns["input"]
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != len(signature.inputs):
        return columns
    if any(spec.kind is not ColumnKind.number for spec in signature.inputs):
        return columns
    return {spec.name: array[:, i] for i, spec in enumerate(signature.inputs)}


def _tensor(spec: TensorSpec, values: Any) -> NDArray[Any]:
    try:
        array = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    except ValueError as error:
        raise InvalidInput(
            f"input {spec.name!r} is no array: {error}", remedy="All rows need the same shape."
        ) from error
    wanted = spec.shape
    fits = array.ndim == len(wanted) and all(w in (-1, n) for w, n in zip(wanted, array.shape, strict=True))
    if not fits or not array.shape[0]:
        raise InvalidInput(
            f"input {spec.name!r} has shape {list(array.shape)}",
            remedy=f"Send {list(wanted)}; -1 is any number ≥ 1.",
            input=spec.name,
            rule="shape",
        )
    checked = _typed(spec, array)
    return checked.astype(np.str_) if spec.kind is ColumnKind.string and None not in checked else checked


def _column(spec: TensorSpec, values: Any) -> NDArray[Any]:
    array = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InvalidInput(f"column {spec.name!r} has shape {list(array.shape)}", remedy="Send [n] or [n, 1].")
    return _typed(spec, array)


def _typed(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    """`array`, of any shape, with the type that the signature names."""
    if spec.kind is ColumnKind.number:
        return _numbers(spec, array)
    absent = _absent(array)
    if spec.required and absent.any():
        raise _has_missing(spec, absent)
    present = array[~absent]
    if spec.kind is ColumnKind.boolean:
        return _booleans(spec, array, present, absent)
    if spec.kind is ColumnKind.datetime:
        return _datetimes(spec, array, present, absent)
    if any(not isinstance(value, str) for value in present):
        if spec.categories is not None and not any(isinstance(c, str) for c in spec.categories):
            return array
        raise _wrong(
            spec, array, lambda v: not (isinstance(v, str) or _is_absent(v)), "not text", "Send strings (BYTES)."
        )
    return _with_none(array, absent)


def _with_none(array: NDArray[Any], absent: NDArray[np.bool_]) -> NDArray[Any]:
    """As an object array with None where a value is missing."""
    objects = array.astype(object)
    objects[absent] = None
    return objects


def _absent(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a value is missing: None, NaN or NaT."""
    if array.dtype.kind == "f":
        return np.asarray(np.isnan(array))
    if array.dtype.kind == "M":
        return np.asarray(np.isnat(array))
    if array.dtype.kind != "O":
        return np.zeros(array.shape, dtype=np.bool_)
    return np.array([v is None or _is_nan(v) for v in array.flat], dtype=np.bool_).reshape(array.shape)


def _numbers(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "O":
        array = _as_numbers(spec, array)
    elif array.dtype.kind not in "fiu":
        raise _wrong(spec, array.astype(object), lambda v: True, "not a number", f"Send {spec.dtype}.")
    _finite(spec, array)
    target = np.dtype(spec.dtype.lower())
    if target.kind == "f":
        with np.errstate(over="ignore"):
            narrowed = array.astype(target, copy=False)
        if np.isinf(narrowed).any():
            raise _too_large(spec)
        return narrowed
    return _whole(spec, array, target)


def _as_numbers(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    """Objects as numbers, NaN where one is missing."""
    if not set(map(type, array.flat)) <= {int, float, type(None)}:
        _refuse_no_number(spec, array)
    numbers = np.array([np.nan if v is None else v for v in array.flat]).reshape(array.shape)
    if numbers.dtype.kind != "O":
        return numbers
    if not spec.dtype.lower().startswith("float"):
        raise _too_large(spec)
    try:
        return numbers.astype(np.float64)  # whole numbers beyond 64 bits
    except OverflowError:
        raise _too_large(spec) from None


def _refuse_no_number(spec: TensorSpec, array: NDArray[Any]) -> None:
    if any(not (v is None or _is_number(v)) for v in array.flat):
        no_number = "not a number"
        raise _wrong(spec, array, lambda v: not (v is None or _is_number(v)), no_number, f"Send {spec.dtype}.")


def _whole(spec: TensorSpec, array: NDArray[Any], target: np.dtype[Any]) -> NDArray[Any]:
    """Whole numbers within the type's limits; floats where some are missing, as pandas has them."""
    present = array[~_absent(array)]
    if array.dtype.kind == "f" and (present != np.floor(present)).any():
        raise _wrong(spec, array, lambda v: v != np.floor(v) and v == v, "not a whole number", f"Send {spec.dtype}.")
    limits = np.iinfo(target)
    if present.size and (int(present.min()) < limits.min or int(present.max()) > limits.max):
        said = f"which exceeds {spec.dtype}"
        raise _wrong(
            spec,
            array,
            lambda v: v < limits.min or v > limits.max,
            said,
            f"{limits.min} to {limits.max}.",
            rule="range",
        )
    return array.astype(np.float64 if present.size < array.size else target)


def _is_nan(value: Any) -> bool:
    return isinstance(value, (float, np.floating, np.datetime64)) and bool(value != value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _finite(spec: TensorSpec, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f":
        return
    if np.isinf(array).any():
        row = int(np.argwhere(np.isinf(array))[0][0])
        raise InvalidInput(
            f"column {spec.name!r} holds infinity in row {row}",
            remedy="Send finite numbers.",
            **_at(spec, row, "finite"),
        )
    if spec.required:
        absent = np.isnan(array)
        if absent.any():
            raise _has_missing(spec, absent)


def _has_missing(spec: TensorSpec, absent: NDArray[np.bool_]) -> InvalidInput:
    row = int(np.argwhere(absent)[0][0])
    return InvalidInput(
        f"column {spec.name!r} has a missing value in row {row}",
        remedy="The model was published with an example that has none there; send a value.",
        **_at(spec, row, "required"),
    )


def _too_large(spec: TensorSpec) -> InvalidInput:
    return InvalidInput(
        f"column {spec.name!r} holds a number too large", remedy=f"Send {spec.dtype}.", input=spec.name, rule="range"
    )


def _at(spec: TensorSpec, row: int, rule: str) -> dict[str, Any]:
    return {"input": spec.name, "row": row, "rule": rule}


def _is_absent(value: Any) -> bool:
    return value is None or _is_nan(value)


def _wrong(
    spec: TensorSpec, array: NDArray[Any], bad: Callable[[Any], Any], said: str, remedy: str, *, rule: str = "type"
) -> InvalidInput:
    """The first value that is `bad`, and where it is."""
    flat = array.reshape(-1)
    at = next((i for i, value in enumerate(flat) if bad(value)), 0)
    value = flat[at].item() if isinstance(flat[at], np.generic) else flat[at]
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    row = at // max(1, math.prod(array.shape[1:]))
    text = f"column {spec.name!r} holds {shown}, {said} (row {row})"
    return InvalidInput(text, remedy=remedy, **_at(spec, row, rule))


def _booleans(spec: TensorSpec, array: NDArray[Any], present: NDArray[Any], absent: NDArray[np.bool_]) -> NDArray[Any]:
    if any(not isinstance(value, (bool, np.bool_)) for value in present):
        raise _wrong(
            spec,
            array,
            lambda v: not (isinstance(v, (bool, np.bool_)) or _is_absent(v)),
            "not true or false",
            "Send booleans (BOOL).",
        )
    return array.astype(np.bool_) if not absent.any() else _with_none(array, absent)


def _datetimes(spec: TensorSpec, array: NDArray[Any], present: NDArray[Any], absent: NDArray[np.bool_]) -> NDArray[Any]:
    if any(isinstance(value, (bool, int, float, np.number, np.bool_)) for value in present):
        numbers = (bool, int, float, np.number, np.bool_)
        raise _wrong(
            spec,
            array,
            lambda v: isinstance(v, numbers) and not _is_absent(v),
            "not a time",
            "Send ISO 8601 without a zone.",
        )
    try:
        return _with_none(array, absent).astype(f"datetime64[{_unit(spec.dtype)}]")
    except ValueError as error:
        raise InvalidInput(
            f"column {spec.name!r} holds a time that cannot be read: {error}", remedy="Send ISO 8601 without a zone."
        ) from error


def _unit(dtype: str) -> str:
    return dtype.partition("[")[2].rstrip("]") or "ns"
