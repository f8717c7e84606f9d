"""Questions about results of runs, as conditions on their rows: JSON is asked differently by each database."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Float, and_, case, cast, func, select

from modelyard_api.results import ResultFilter
from modelyard_hub.store.tables import runs

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def holds(wanted: ResultFilter, dialect: str) -> ColumnElement[bool]:
    """The condition, for `sqlite` or `postgresql`."""
    kind, text = _sqlite(wanted.name) if dialect == "sqlite" else _postgresql(wanted.name)
    compare = _SIGNS[wanted.sign]
    if isinstance(wanted.value, bool):
        is_one = kind.in_(("true", "false", "boolean"))
        # SQLite gives 1 and 0.
        said = ("1" if wanted.value else "0") if dialect == "sqlite" else str(wanted.value).lower()
        return and_(is_one, compare(text, said))
    if isinstance(wanted.value, str):
        return and_(kind.in_(("text", "string")), compare(text, wanted.value))
    # Only a number is taken for one: the database may look at this condition before the other.
    number = cast(case((kind.in_(("integer", "real", "number")), text)), Float)
    return compare(number, wanted.value)  # type: ignore[no-any-return]


def _sqlite(name: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    # Not by a path: that is compared with names as they are written, which is `pr\u00e9cision` for `précision`.
    each = func.json_each(runs.c.status, "$.results").table_valued("key", "type", "atom")
    mine = each.c.key == name
    kind = select(each.c.type).where(mine).correlate(runs).scalar_subquery()
    return kind, cast(select(each.c.atom).where(mine).correlate(runs).scalar_subquery(), runs.c.id.type)


def _postgresql(name: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    path = ("results", name)
    return func.json_typeof(func.json_extract_path(runs.c.status, *path)), func.json_extract_path_text(
        runs.c.status, *path
    )
