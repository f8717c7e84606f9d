"""What somebody filled into the form that submits a notebook, as it was typed, and what it means. Pure."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelyard.errors import InvalidInput, InvalidParameter, ModelyardError
from modelyard.timetable import Times, label
from modelyard.unattended import Submission, file_of
from modelyard_api.parameters import expected
from modelyard_api.runs import Declared

_FIELD = re.compile(
    r"(?:spec\.)?(?:run\.)?(name|profile|timeout|retries|priority|environment|secrets|cron|time_zone|on_files)\b[^:]*: "
    r"(?:env: )?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Chosen(BaseModel):
    """A secret, and how the run reads it: by its name with `yard.secret`, as the library does where no more is said;
    from `variable`; or from a file whose path that variable has."""

    model_config = ConfigDict(extra="forbid")

    secret: str
    how: Literal["name", "variable", "path"] = "name"
    variable: str = ""


class Filled(BaseModel):
    """The form, filled in: texts as they were typed. `timeout` in minutes, `environment` as lines NAME=value; `cron`
    and `on_files`, a folder or bucket that new files start it in, None: a run now."""

    model_config = ConfigDict(extra="forbid")

    path: str
    parameters: dict[str, str | bool] = {}
    profile: str = ""
    name: str = ""
    timeout: str = ""
    retries: str = ""
    priority: str = ""
    environment: str = ""
    secrets: tuple[Chosen, ...] = ()
    cron: str | None = None
    time_zone: str = "UTC"
    on_files: str | None = None


def submission(filled: Filled, declared: tuple[Declared, ...]) -> Submission:
    """What is to be run. InvalidInput names the field that means nothing."""
    minutes = _number(filled.timeout, "timeout", (1 / 60, 366 * 24 * 60))
    return Submission(
        parameters=values(declared, filled.parameters),
        profile=filled.profile,
        name=filled.name,
        timeout=None if minutes is None else minutes * 60,
        retries=int(_number(filled.retries, "retries", (0, 20), whole=True) or 0),
        priority=int(_number(filled.priority, "priority", (-100, 100), whole=True) or 0),
        environment=variables(filled.environment),
        secrets=given(filled.secrets),
    )


def times(filled: Filled) -> Times:
    """When."""
    if filled.on_files is not None and not filled.on_files.strip():
        raise InvalidInput("which folder or bucket is watched?", remedy="Such as s3://lake/incoming.", field="on_files")
    if filled.on_files is None and not (filled.cron or "").strip():
        raise InvalidInput("there is no cron line", remedy="Such as 30 2 * * MON-FRI.", field="cron")
    if not filled.name.strip():
        raise InvalidInput("a schedule needs a name", remedy="", field="name")
    where = None if filled.on_files is None else filled.on_files.strip()
    return Times(filled.cron, time_zone=filled.time_zone.strip(), name=label(filled.name), on_files=where)


def variables(text: str) -> dict[str, str]:
    """Of lines NAME=value."""
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not _VARIABLE.fullmatch(name.strip()):
            raise InvalidInput(f"{line!r} is no variable", remedy="Write NAME=value, a line each.", field="environment")
        found[name.strip()] = value
    return found


def given(chosen: tuple[Chosen, ...]) -> list[str | dict[str, str]]:
    """The secrets, as `yard.submit` takes them."""
    found: list[str | dict[str, str]] = []
    taken: dict[str, str] = {}
    for one in chosen:
        if one.how == "name":
            found.append(one.secret)
            continue
        variable, field = one.variable.strip(), f"secrets.{one.secret}"
        if not _VARIABLE.fullmatch(variable):
            raise InvalidInput(f"{variable!r} is no variable", remedy="Such as DB_URL.", field=field)
        if variable in taken:
            raise InvalidInput(f"{variable} has {taken[variable]} already", remedy="Choose another one.", field=field)
        taken[variable] = one.secret
        file = {"file": file_of(one.secret)} if one.how == "path" else {}
        found.append({"secret": one.secret, "env": variable, **file})
    return found


def place_of(error: ModelyardError) -> tuple[str, str]:
    """The field of the form that an error is about, or none, and what it says there."""
    known = _FIELD.match(error.detail)
    field = str(error.extra.get("field") or (known[1] if known else ""))
    said = error.detail[known.end() :] if known else error.detail
    return (f"parameters.{field}" if isinstance(error, InvalidParameter) else field), said


def _number(text: str, field: str, between: tuple[float, float], whole: bool = False) -> float | None:
    """None for nothing."""
    if not text.strip():
        return None
    low, high = between
    try:
        found = int(text) if whole else float(text)
    except ValueError:
        found = high + 1
    if low <= found <= high:
        return found
    what = f"a whole number from {low:g} to {high:g}" if whole else "a number above 0"
    raise InvalidInput(f"{text.strip()!r} is not {what}", remedy="", field=field)


def shown(one: Declared) -> str | bool:
    """A default as a form has it: a text without its quotes, yes or no, else as it is written in the cell."""
    kind = expected(one)
    if kind in ("str", "bool"):
        try:
            value = ast.literal_eval(one.default)
        except (ValueError, SyntaxError):
            return one.default
        if isinstance(value, str | bool):
            return value
    return one.default


def values(declared: tuple[Declared, ...], filled: Mapping[str, str | bool]) -> dict[str, Any]:
    """The parameters that somebody changed; the others have the defaults of the notebook as it is.

    InvalidParameter names the one that means nothing, and what it should be.
    """
    known = {one.name: one for one in declared}
    changed = {name: text for name, text in filled.items() if name not in known or text != shown(known[name])}
    return {name: _value(known.get(name), name, text) for name, text in changed.items()}


def _value(one: Declared | None, name: str, text: str | bool) -> Any:
    kind = "" if one is None else expected(one)
    if isinstance(text, bool) or kind == "str":
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return list(found) if isinstance(found, tuple) else found
    if not kind:
        return text  # any value will do
    raise InvalidParameter(
        f"parameter {name!r} must be of type {kind}, {text!r} is none",
        remedy=f"Its default is {one.default}." if one else "",
        field=name,
    )
