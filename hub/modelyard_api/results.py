"""Questions about what runs recorded, such as `auc>0.9`. Light: only the standard library."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from modelyard_api.errors import InvalidInput

_QUESTION = re.compile(r'\s*([^<>=!"]*[^<>=!"\s])\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*', re.DOTALL)


@dataclass(frozen=True)
class ResultFilter:
    """Runs whose result `name` is, by `sign` (one of = != > >= < <=), as `value` says. A result of another kind, a text
    where a number is asked for, is none of them, and neither is a run without that result."""

    name: str
    sign: str
    value: float | str | bool


def parse_result(text: str) -> ResultFilter:
    """`auc>0.9`, `stage=final`, `passed=true`. InvalidInput for anything else."""
    found = _QUESTION.fullmatch(text)
    if found is None:
        raise InvalidInput(f"result: {text!r} is no question", remedy="Such as auc>0.9, stage=final or passed=true.")
    name, sign, said = found[1], found[2].replace("==", "="), found[3]
    try:
        value = json.loads(said)
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
    except (OverflowError, RecursionError) as error:
        raise InvalidInput(f"result: {said[:40]}… is no number, text, true or false") from error
    except ValueError:
        value = said
    if not isinstance(value, float | str | bool):
        raise InvalidInput(f"result: {said} is no number, text, true or false")
    if sign not in ("=", "!=") and not isinstance(value, float):
        raise InvalidInput(f"result: {said!r} is no number, so that {sign} has no meaning", remedy="Ask with = or !=.")
    return ResultFilter(name, sign, value)
