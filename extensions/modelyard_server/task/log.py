"""A command's log: everything it says, in a file of bounded size, and on our own output."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from modelyard_api.redact import Redactor
from modelyard_server.task.folder import last_lines

_BLOCK = 64 * 1024


class Log:
    """Written by one thread. Larger than `size` bytes, it becomes the older half; what was the older half is gone."""

    def __init__(self, path: Path, older: Path, size: int, *, tee: bool, redactor: Redactor | None = None) -> None:
        """`redactor` hides what nobody may read in it."""
        self._path, self._older, self._size, self._tee = path, older, size, tee
        self._redactor = redactor or Redactor(())
        self._file = self._open()
        self._recent = b""

    def recent(self) -> tuple[str, ...]:
        """The last lines, also those that a full disk did not take."""
        return last_lines(self._recent.decode(errors="replace").splitlines())

    def pump(self, pipe: int) -> None:
        """Take what comes out of a pipe until nobody holds its other end."""
        while data := os.read(pipe, _BLOCK):
            self._take(self._redactor.feed(data))
        self._take(self._redactor.flush())

    def _take(self, data: bytes) -> None:
        self._recent = (self._recent + data)[-_BLOCK:]
        # A full disk costs lines; the command must not wait for anybody to read what it says.
        with suppress(OSError):
            self._write(data)
        if self._tee:
            with suppress(OSError):
                _write_all(1, data)

    def _write(self, data: bytes) -> None:
        _write_all(self._file, data)
        if os.fstat(self._file).st_size > self._size:
            os.replace(self._path, self._older)
            os.close(self._file)
            self._file = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
