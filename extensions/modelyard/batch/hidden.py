"""Values of secrets that a run was given, hidden in what it tells."""

from __future__ import annotations

import os
from functools import cache

from modelyard_api.redact import FILES, Redactor, values_of


@cache
def redactor() -> Redactor:
    """Of this process's own run."""
    return Redactor(values_of(os.environ, os.environ.get(FILES)))
