"""What MLflow is told of a run, by its process and by the hub service: tags, and what it takes as numbers and texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

TRACKED_RUN, TRACKED_ATTEMPT = "modelyard.run", "modelyard.attempt"
"""Tags of a run in MLflow: which run it is of, and which attempt."""


def numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """Those results that are finite numbers, and not beyond a float."""
    found = {}
    for name, value in results.items():
        with suppress(OverflowError):
            if isinstance(value, int | float) and math.isfinite(value):
                found[name] = float(value)
    return found


def text(value: Any) -> str:
    """In words that JSON and databases take."""
    return str(value).encode("utf-8", "replace").decode().replace("\0", "?")
