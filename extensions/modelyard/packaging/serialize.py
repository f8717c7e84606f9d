"""Whether an object can be written down at all, and if not, which of its attributes is in the way."""

from __future__ import annotations

import io
from typing import Any

from modelyard_api.errors import InvalidInput

_DEPTH = 5


def check_picklable(model: Any) -> None:
    """Raise InvalidInput, naming the attribute, when cloudpickle cannot write `model`."""
    error = _refusal(model)
    if error is None:
        return
    path, culprit = _culprit(model, type(model).__name__, _DEPTH)
    raise InvalidInput(
        f"the model cannot be saved: {path} is a {type(culprit).__module__}.{type(culprit).__name__} ({error})",
        remedy="Open connections, locks and files inside predict, or drop them from the saved state with __getstate__.",
    ) from error


def _refusal(value: Any) -> Exception | None:
    import cloudpickle

    try:
        cloudpickle.Pickler(io.BytesIO()).dump(value)
    except Exception as error:  # any object may raise anything from __reduce__ or __getstate__
        return error
    return None


def _culprit(value: Any, path: str, depth: int) -> tuple[str, Any]:
    if depth:
        for name, child in _children(value):
            if _refusal(child) is not None:
                return _culprit(child, f"{path}{name}", depth - 1)
    return path, value


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", child) for key, child in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{i}]", child) for i, child in enumerate(value)]
    closure = getattr(value, "__closure__", None)
    if closure:
        return [
            (f" variable {name!r}", cell.cell_contents)
            for name, cell in zip(value.__code__.co_freevars, closure, strict=True)
        ]
    if hasattr(value, "__code__"):
        names = [n for n in value.__code__.co_names if n in value.__globals__]
        return [(f" global {n!r}", value.__globals__[n]) for n in names]
    state = getattr(value, "__dict__", None)
    return [(f".{name}", child) for name, child in state.items()] if isinstance(state, dict) else []
