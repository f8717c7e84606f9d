"""`yard.record`: results of a run, by name."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidInput

RECORDS = "MODELYARD_RECORDS"
"""File of what a run's notebook records, one JSON document a line."""


def record(name: str, value: Any) -> None:
    """Keep `value` (a number, text, list or dict) as the result `name` of this run: `run.results`, and an input of runs
    that need this one. The last one of a name counts. Outside of a run it only says so.

    InvalidInput for a value that is no JSON."""
    if not name or not isinstance(name, str):
        raise InvalidInput(f"{name!r} is no name of a result")
    line = json.dumps([name, _plain(name, value)])
    path = os.environ.get(RECORDS)
    if not path:
        print(f"{name} = {value} (not kept: this is no run)")  # noqa: T201
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(path: Path) -> dict[str, Any]:
    """All that was recorded so far."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError:
        return {}
    # What follows the last end of a line is still being written.
    return dict(json.loads(line) for line in lines[:-1])


def _plain(name: str, value: Any) -> Any:
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", 1) == 1:
        value = item()  # a number of NumPy's or PyTorch's
    elif callable(tolist := getattr(value, "tolist", None)):
        value = tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"the result {name!r} cannot be kept: {error}", remedy="Give a number, a text, or lists and dicts of them."
        ) from None
    return value
