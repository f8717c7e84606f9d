"""What happened to one request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Record:
    """`begun`: nanoseconds since 1970. Other points in time are on the clock of `time.perf_counter`, 0 for never;
    `version`: the one that answered; `batch`: rows of the model's run that this request was in; `address`: whence it
    came, as far as is known; `reason`: why it was not answered as asked, with no value of a row in it."""

    id: str
    begun: int
    started: float
    method: str
    path: str
    traceparent: str = ""
    address: str = ""
    caller: str | None = None
    reason: str = ""
    version: str = ""
    rows: int = 0
    batch: int = 0
    waited_from: float = 0.0
    run_from: float = 0.0
    run_to: float = 0.0

    def ran(self, since: float, start: float, end: float, batch: int) -> None:
        """The model ran from `start` to `end`; the request waited for it from `since` on."""
        self.waited_from, self.run_from, self.run_to, self.batch = since, start, end, batch
