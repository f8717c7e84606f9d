"""Points of a sweep: a grid or a list of parameters, named. Pure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.errors import InvalidInput
from modelyard_api.groups import LARGEST

_LONGEST = 63


def points(
    grid: Mapping[str, Sequence[Any]] | None, listed: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """Each combination of a grid's values, the last parameter changing first; or those that are listed.

    InvalidInput for both or neither, for a parameter without values, for too many."""
    if (grid is None) == (listed is None):
        raise InvalidInput(
            "a sweep needs a grid or a list of points",
            remedy='grid={"depth": [3, 5]}, or points=[{"depth": 3}, {"depth": 5}].',
        )
    found = [dict(point) for point in listed] if listed is not None else []
    if grid is not None:
        for name, values in grid.items():
            if isinstance(values, (str, bytes, Mapping)) or not _many(values):
                raise InvalidInput(f"grid: {name!r} needs a list of values, not {values!r}")
        columns = [list(values) for values in grid.values()]
        count = _product(columns)
        if count > LARGEST:
            raise _too_many(count)
        found = [dict(zip(grid, row, strict=True)) for row in itertools.product(*columns)]
    if not found or not all(found):
        raise InvalidInput("a sweep has at least one point, and a point at least one parameter")
    if len(found) > LARGEST:
        raise _too_many(len(found))
    return found


def labels(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each point, such as `depth=3, rate=0.1`; numbered where that is too long, or two are the same."""
    plain = [", ".join(f"{name}={_show(value)}" for name, value in point.items()) for point in found]
    if max(map(len, plain)) <= _LONGEST and len(set(plain)) == len(plain):
        return plain
    return [f"{place + 1}: {text}"[:_LONGEST] for place, text in enumerate(plain)]


def varied(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Parameters that differ between points, in the order in which they come."""
    names = dict.fromkeys(name for point in found for name in point)
    return [name for name in names if len({_show(point.get(name)) for point in found}) > 1]


def _show(value: Any) -> str:
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return str(value)


def _many(values: Any) -> bool:
    try:
        return len(values) > 0
    except TypeError:
        return False


def _product(columns: Sequence[Sequence[Any]]) -> int:
    count = 1
    for column in columns:
        count *= len(column)
    return count


def _too_many(count: int) -> InvalidInput:
    return InvalidInput(f"the sweep has {count} points, more than {LARGEST}", remedy="Take a coarser grid.")
