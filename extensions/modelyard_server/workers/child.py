"""The process that has the model: load, warm up, answer one batch after the other, end with the server.

It ends when the server closes the socket, and at once when the server is gone, whatever it is doing then. Exit codes:
0 the server is done with it, 3 the package cannot be loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, cast

from modelyard_api.errors import ModelFailed
from modelyard_server.dataplane import DataPlane, load
from modelyard_server.device import Device
from modelyard_server.flavors.base import Columns, Wanted
from modelyard_server.pace import warm
from modelyard_server.workers import wire

EXIT_PACKAGE = 3
READY = "ready"
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_LIBC = ctypes.CDLL(None, use_errno=True)
_SOONER = 200
"""Of a thousand. Where memory ends, the system shall take this process and not the server that can say so."""


def main(arguments: list[str]) -> int:
    """`arguments`: the socket's descriptor, the server's process, the package's folder, threads, device."""
    descriptor, parent, package, threads, device = arguments
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)
    _tie(int(parent))
    # A terminal's Ctrl-C and a runtime's SIGTERM may come here too: the server says when what has begun is done.
    # Processes that the model starts are to end by them, such as those of a pool.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    os.register_at_fork(after_in_child=_as_usual)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        plane = load(Path(package), int(threads), cast(Device, device))
    except Exception:
        traceback.print_exc()
        return EXIT_PACKAGE
    warm(plane)
    with contextlib.suppress(wire.Closed):
        wire.send(end, f"{READY} {plane.device}")
        while True:
            wire.send(end, _answer(plane, *wire.receive(end)))
    return 0


def _as_usual() -> None:
    """In a process that the model forked: signals end it, and so does the end of this one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _die_with_parent()


def _answer(plane: DataPlane, columns: Columns, wanted: Wanted) -> Any:
    """Outputs; or why there are none: detail, remedy, and the traceback for the log."""
    try:
        return wire.plain(plane.run(columns, wanted))
    except ModelFailed as error:
        return error.detail, error.remedy, "".join(traceback.format_exception(error.__cause__ or error))


def _tie(parent: int) -> None:
    """End with the server, also where it is killed while the model is at work."""
    with contextlib.suppress(OSError):
        path = Path("/proc/self/oom_score_adj")
        path.write_text(str(min(1000, int(path.read_text()) + _SOONER)))
    if sys.platform == "linux":
        _die_with_parent()
        if os.getppid() != parent:  # it was gone before that was said
            os._exit(0)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
