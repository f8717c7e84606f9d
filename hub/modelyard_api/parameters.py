"""Whether parameters fit what a notebook declares: checked before anything starts, since papermill lets all pass."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from modelyard_api.errors import InvalidParameter
from modelyard_api.runs import Declared

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "tuple": (list,),
}


def check(declared: tuple[Declared, ...], given: Mapping[str, Any], later: frozenset[str] = frozenset()) -> None:
    """Raise InvalidParameter for one that is not declared, or is of another type. `later`: names whose values come
    only when the run starts."""
    known = {one.name: one for one in declared}
    for name in [*given, *sorted(later)]:
        if name not in known:
            raise InvalidParameter(f"the notebook has no parameter {name!r}", remedy=_remedy(name, known), field=name)
    for name, value in given.items():
        wanted = expected(known[name])
        if wanted and not _fits(value, wanted):
            raise InvalidParameter(
                f"parameter {name!r} must be of type {wanted}, {value!r} is {type(value).__name__}",
                remedy=f"Its default is {known[name].default}.",
                field=name,
            )


def expected(one: Declared) -> str:
    """The type's name, by its annotation or its default; empty where any value will do, as with the default None."""
    declared = one.type.partition("[")[0].strip().lower()
    if declared in _KINDS:
        return declared
    if declared and declared != "none":
        return ""  # such as a class of its own, or a union
    try:
        value = ast.literal_eval(one.default)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    kind = type(value).__name__
    return kind if kind in _KINDS else ""


def _fits(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "bool"
    return isinstance(value, _KINDS[wanted])


def _remedy(name: str, known: Mapping[str, Declared]) -> str:
    if not known:
        return "It has no cell with the tag `parameters`, so it takes none."
    near = difflib.get_close_matches(name, known, 1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    return f"{meant}There are: {', '.join(sorted(known))}."
