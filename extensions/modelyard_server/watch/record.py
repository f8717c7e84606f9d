"""What happened to one request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Record:
    """`begun`: nanoseconds since 1970. Other points in time are on the clock of `time.perf_counter`, 0 for never;
    `batch`: rows of the model's run that this request was in."""

    id: str
    begun: int
    started: float
    method: str
    path: str
    traceparent: str = ""
    caller: str | None = None
    rows: int = 0
    batch: int = 0
    waited_from: float = 0.0
    run_from: float = 0.0
    run_to: float = 0.0

    def ran(self, since: float, start: float, end: float, batch: int) -> None:
        """The model ran from `start` to `end`; the request waited for it from `since` on."""
        self.waited_from, self.run_from, self.run_to, self.batch = since, start, end, batch
