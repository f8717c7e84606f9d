"""What is at work now, in words: kernels that compute, and terminals that run something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil

_COMPUTES = ("busy", "starting", "restarting")


def kernels(kernel_manager: Any, sessions: Any) -> Iterator[str]:
    """Kernels with a cell that has not ended: also one that sleeps, or waits for a network."""
    names = _names(sessions)
    for kernel_id in kernel_manager.list_kernel_ids():
        kernel = kernel_manager.get_kernel(kernel_id)
        if getattr(kernel, "execution_state", None) in _COMPUTES:
            yield f"{names.get(kernel_id, 'A kernel')} is computing"


def _names(sessions: Any) -> dict[str, str]:
    """Paths of notebooks by their kernels' ids."""
    try:
        rows = sessions.cursor.execute("SELECT kernel_id, path FROM session").fetchall()
        return {row[0]: row[1] for row in rows}
    except Exception:  # another session manager than Jupyter Server's: the names are for people only
        return {}


def terminals(manager: Any) -> Iterator[str]:
    """Terminals in which something runs beside the shell itself."""
    for name, terminal in getattr(manager, "terminals", {}).items():
        try:
            running = [child.name() for child in psutil.Process(terminal.ptyproc.pid).children()]
        except (psutil.Error, AttributeError):
            continue
        if running:
            yield f"Terminal {name} runs {running[0]}"
