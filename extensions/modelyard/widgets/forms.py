"""Fields of a form from an estimator: its signature, what its parameters may be, what its docstring says. Pure.

scikit-learn's estimators say what their parameters may be (`_parameter_constraints`); others bring fields of their own.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from modelyard.errors import InvalidInput

Kind = Literal["number", "integer", "choice", "bool", "text"]
_ELSEWHERE = {"random_state", "verbose", "n_jobs", "warm_start", "class_weight", "probability", "copy_X", "copy"}
"""Parameters that the form asks for elsewhere, or that change nothing about the model."""
_HELP = 180


@dataclass(frozen=True)
class Field:
    """A parameter: `options` to choose from (of a text: proposals), `low` and `high` inclusive, `optional`: may be
    None, which an empty field means. `main`: shown at once."""

    name: str
    kind: Kind
    default: Any = None
    options: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = False
    help: str = ""
    main: bool = True

    def plain(self) -> dict[str, Any]:
        """As JSON; what is not said is left out."""
        found = asdict(self) | {"options": list(self.options), "default": shown(self, self.default)}
        return {
            name: value for name, value in found.items() if value or (name in ("default", "low", "high") and value == 0)
        }


def shown(field: Field, value: Any) -> Any:
    """A value as the field shows it: None is empty, what is no JSON is Python."""
    if value is None:
        return ""
    if field.kind == "text" and not isinstance(value, str):
        return repr(value)
    return value


def fields_of(estimator: type[Any], main: Sequence[str] = ()) -> list[Field]:
    """Those parameters of a scikit-learn class that a form can ask for, `main` ones first."""
    constraints: Mapping[str, Any] = getattr(estimator, "_parameter_constraints", {})
    helps = _helps(inspect.getdoc(estimator) or "")
    found = []
    for name, parameter in inspect.signature(estimator).parameters.items():
        allowed = constraints.get(name)
        if name in _ELSEWHERE or not isinstance(allowed, list):
            continue
        field = _field(name, parameter.default, allowed, helps.get(name, ""), name in main)
        if field is not None:
            found.append(field)
    place = {name: i for i, name in enumerate(main)}
    return sorted(found, key=lambda f: place.get(f.name, len(place)))


def _field(name: str, default: Any, allowed: Sequence[Any], help_: str, main: bool) -> Field | None:
    from sklearn.utils._param_validation import Interval, Options

    if default is inspect.Parameter.empty or default in ("deprecated", "warn"):
        return None
    optional = None in allowed
    # Hidden ones are allowed, but not for people.
    known = [a for a in allowed if a is not None and type(a).__name__ != "Hidden"]
    choices = [sorted(map(str, a.options)) for a in known if isinstance(a, Options)]
    intervals = [a for a in known if isinstance(a, Interval)]
    flags = any(isinstance(a, str) and a == "boolean" for a in known)
    options = tuple(option for some in choices for option in some)
    said: dict[str, Any] = {"default": default, "optional": optional, "help": help_, "main": main}
    if isinstance(default, (tuple, list)):
        return Field(name, "text", **said)
    if intervals and not choices and not flags:
        return _number(name, intervals, said)
    if choices and not intervals and not flags:
        return Field(name, "choice", options=options, **said)
    if flags and not intervals and not choices:
        return Field(name, "bool", **said)
    if intervals or choices or flags:
        words = options + (("True", "False") if flags else ())
        return Field(name, "text", options=words, **said)
    return None


def _number(name: str, intervals: Sequence[Any], said: dict[str, Any]) -> Field:
    from numbers import Integral

    whole = all(i.type is Integral for i in intervals)
    lows = [i.left for i in intervals if i.left is not None]
    highs = [i.right for i in intervals if i.right is not None]
    low = min(lows) if len(lows) == len(intervals) else None
    high = max(highs) if len(highs) == len(intervals) else None
    return Field(name, "integer" if whole else "number", low=low, high=high, **said)


def _helps(doc: str) -> dict[str, str]:
    """The first sentence on each parameter, by numpydoc's rules."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-{3,}\n|\Z)", doc, re.S | re.M)
    if section is None:
        return {}
    parts = re.split(r"^(\w+) ?:[^\n]*\n", section[1], flags=re.M)
    return {name: _sentence(text) for name, text in zip(parts[1::2], parts[2::2], strict=False)}


def _sentence(text: str) -> str:
    line = " ".join(re.split(r"\n\s*\n|\n\s*- |\n\s*\.\. ", text)[0].split())
    line = re.sub(r":\w+:`~?([^`<]+)(?: <[^`]*)?`", r"\1", line).replace("``", "").replace("`", "")
    first = re.split(r"(?<=[a-z)])\. (?=[A-Z])", line)[0].rstrip(":")
    return first if len(first) <= _HELP else first[: _HELP - 1] + "…"


def value_of(field: Field, given: Any) -> Any:
    """What was put into a field, as Python's value; InvalidInput says what would be right."""
    if given is None or (isinstance(given, str) and not given.strip()):
        if field.optional:
            return None
        raise InvalidInput(f"it is empty; by default {shown(field, field.default)}")
    if field.kind == "bool":
        return bool(given)
    if field.kind == "choice":
        if given not in field.options:
            raise InvalidInput(f"{given!r} is none of {', '.join(field.options)}")
        return given
    if field.kind == "text":
        return _literal(str(given).strip(), field)
    return _measure(field, given)


def _literal(text: str, field: Field) -> Any:
    if text in field.options and text not in ("True", "False"):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _measure(field: Field, given: Any) -> float | int:
    what = "whole number" if field.kind == "integer" else "number"
    try:
        number = float(given)
    except (TypeError, ValueError):
        raise InvalidInput(f"{given!r} is no {what}") from None
    if not math.isfinite(number) or (field.kind == "integer" and number != int(number)):
        raise InvalidInput(f"{given} is no {what}")
    if (field.low is not None and number < field.low) or (field.high is not None and number > field.high):
        raise InvalidInput(f"{given} is not {_range(field)}")
    # A whole number stays one: 1 row per leaf is no share of 1.0.
    return int(number) if field.kind == "integer" or re.fullmatch(r"[-+]?\d+", str(given).strip()) else number


def _range(field: Field) -> str:
    if field.high is None:
        return f"from {field.low:g} on"
    return f"at most {field.high:g}" if field.low is None else f"from {field.low:g} to {field.high:g}"


def values_of(
    estimator: type[Any], fields: Sequence[Field], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Parameters that differ from their defaults, and what is wrong by field."""
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in fields:
        if field.name not in given:
            continue
        try:
            value = value_of(field, given[field.name])
            _refused(estimator, field.name, value)
        except InvalidInput as error:
            wrong[field.name] = str(error)
        else:
            if value != field.default or isinstance(value, bool) is not isinstance(field.default, bool):
                values[field.name] = value
    return values, wrong


def _refused(estimator: type[Any], name: str, value: Any) -> None:
    """InvalidInput in scikit-learn's own words, where it knows the parameter."""
    constraints = getattr(estimator, "_parameter_constraints", {})
    if not isinstance(constraints.get(name), list):
        return
    from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

    try:
        validate_parameter_constraints({name: constraints[name]}, {name: value}, estimator.__name__)
    except InvalidParameterError as error:
        raise InvalidInput(str(error)) from error
