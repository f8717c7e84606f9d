"""The steps of a publish as PublishPanel shows them, in at most 3 KB. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelyard.widgets.endpoint_view import cut

TITLES = {
    "package": "Package",
    "trial": "Try in a fresh process",
    "upload": "Upload",
    "register": "Register",
    "endpoint": "Write the endpoint",
    "ready": "Start, until it answers",
}
_LINES, _WIDTH = 3, 140


@dataclass
class _Step:
    lines: list[str] = field(default_factory=list)
    began: float | None = None
    ended: float | None = None


class StepLog:
    """What a publish has told, step by step; times in seconds of any clock."""

    def __init__(self) -> None:
        self._steps = {name: _Step() for name in TITLES}
        self._now = ""
        self.ended: float | None = None
        self.failed = False

    def told(self, step: str, detail: str, at: float) -> None:
        """A step begins, or has something to tell."""
        head, _, rest = detail.partition(": ")
        if step == "package" and head == "trial":
            step, detail = "trial", rest
        elif step == "package" and self._now == "trial":
            step = "trial"  # what the package became, after it was tried
        if step != self._now:
            self._end(at)
            self._now = step
            self._steps[step].began = at
        self._steps[step].lines.append(cut(detail.strip(), _WIDTH))

    def end(self, at: float, failed: bool = False) -> None:
        """It is over."""
        self._end(at)
        self.ended, self.failed = at, failed

    @property
    def written(self) -> bool:
        """Whether the endpoint was written already, so that it stays where the rest is given up."""
        return self._steps["ready"].began is not None

    def rows(self, now: float) -> list[dict[str, Any]]:
        """Each step: its title, its state (waiting, busy, done, failed), seconds, its last lines; all of why a flavor
        was refused."""
        return [self._row(name, step, now) for name, step in self._steps.items()]

    def _row(self, name: str, step: _Step, now: float) -> dict[str, Any]:
        refused = [line for line in step.lines[:-_LINES] if line.startswith("convert: not ")]
        seconds = None if step.began is None else round((step.ended or now) - step.began, 1)
        last = name == self._now
        state = "waiting" if step.began is None else "done"
        if last and self.ended is None:
            state = "busy"
        elif last and self.failed:
            state = "failed"
        return {
            "title": TITLES[name],
            "state": state,
            "seconds": seconds,
            "lines": [*refused[-2:], *step.lines[-_LINES:]],
        }

    def _end(self, at: float) -> None:
        if self._now:
            self._steps[self._now].ended = at
