"""A command at a terminal, as people run it: it sees one on all of its standard streams."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

ASKED = b"[y/N]:"


def in_terminal(
    command: Sequence[str], environment: Mapping[str, str], *, columns: int = 80, answer: str = ""
) -> tuple[int, str]:
    """The exit code, and what the terminal showed. `answer` is typed once it asks."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(command, env=kept, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while some := _read(ours):
            shown += some
            if answer and ASKED in shown:
                os.write(ours, answer.encode())
                answer = ""
    finally:
        os.close(ours)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # nobody has the other end any more
        return b""
