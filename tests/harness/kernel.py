"""A Python process in a user's notebook pod that keeps what it ran before, as a notebook's kernel does."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from harness.release import Release
from harness.wait import eventually

_END = "\x1e"
_LOOP = f"""
import json, sys
for line in sys.stdin:
    error = ""
    try:
        exec(compile(json.loads(line), "cell", "exec"), globals())
    except BaseException as raised:
        error = f"{{type(raised).__name__}}: {{raised}}"
    print({_END!r} + json.dumps(error), flush=True)
"""


@dataclass
class Cell:
    """Code that runs, or ran: the lines that it printed, and the error that it raised."""

    lines: list[str] = field(default_factory=list)
    error: str = ""
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def text(self) -> str:
        """All that it printed so far."""
        return "\n".join(self.lines)

    def says(self, words: str, timeout: float = 120) -> None:
        """Wait until it has printed that."""

        def said() -> bool:
            assert words in self.text or not self.done.is_set(), f"it ended: {self.text}\n{self.error}"
            return words in self.text

        eventually(said, timeout=timeout, what=f"{words!r} in {self.text!r}")

    def wait(self, timeout: float = 240) -> Self:
        """Itself, once it has ended."""
        assert self.done.wait(timeout), f"not within {timeout} s: {self.text}"
        return self


class Kernel:
    """One process; one cell at a time. Use as a context manager."""

    def __init__(self, release: Release, user: str) -> None:
        where = ("--namespace", release.namespace, "exec", "--stdin", release.notebook_pod(user), "--")
        self._process = subprocess.Popen(
            release.cluster.kubectl.command(*where, "python", "-u", "-c", _LOOP),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._cell = Cell()
        self._reader = threading.Thread(target=self._read, name=f"kernel of {user}", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._reader.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, code: str) -> Cell:
        """Begin to run some lines."""
        assert self._process.stdin is not None
        self._cell = Cell()
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        return self._cell

    def run(self, code: str, timeout: float = 240) -> str:
        """Run some lines; what they print. AssertionError with what they raise."""
        cell = self.start(code).wait(timeout)
        assert not cell.error, f"{cell.error}\n{cell.text}"
        return cell.text

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(_END):
                self._cell.error = json.loads(line[1:])
                self._cell.done.set()
            else:
                self._cell.lines.append(line.rstrip("\n"))
        self._cell.error = self._cell.error or "the kernel ended"
        self._cell.done.set()
