"""The run log: what a training run tells of itself, one JSON object per line, only ever appended.

Whoever reads it from the start knows the whole run, whichever process wrote it and whether that still lives. This
module writes lines and reads them as they grow; what they mean is in `progress.py`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

FILE = "run.jsonl"


def append(folder: Path, event: str, **fields: Any) -> None:
    """Add an event to the log in `folder`. One write per line, so that several processes may."""
    line = json.dumps({"at": time.time(), "event": event, **fields}, default=str) + "\n"
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class Tail:
    """Reads a log as it grows."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """The events since the last call. A last line that is not whole yet is left for later."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                content = log.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        events = []
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # cut off by a full disk or a kill; what follows still counts
                continue
            if isinstance(event, dict):
                events.append(event)
        return events
