"""Lines for the person in front of the notebook or the terminal."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write one line at once, where `print` would."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
