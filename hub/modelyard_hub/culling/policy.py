"""Whether a notebook server is ended, from what it says of the work in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from modelyard_api.activity import Activity


@dataclass(frozen=True)
class Limits:
    """Seconds. A server without work for `idle` is told that it ends in `countdown`; its user may have it kept for
    `keep` at a time, all in all no longer than `keep_limit` after the last work."""

    idle: float
    countdown: float
    keep: float
    keep_limit: float


class Verdict(Enum):
    """`WAIT`: look again later. `TELL`: the countdown begins. `END`: stop it."""

    WAIT = "wait"
    TELL = "tell"
    END = "end"


@dataclass(frozen=True)
class Decision:
    """`after`: seconds until there is a point in looking again."""

    verdict: Verdict
    after: float


def decide(seen: Activity, limits: Limits, counted: float | None) -> Decision:
    """`counted`: seconds since its countdown began, None where none has."""
    if seen.busy:
        return Decision(Verdict.WAIT, limits.idle)
    kept = min(seen.keep_until, seen.last + limits.keep_limit)
    due = max(seen.last + limits.idle, kept) - seen.now
    if due > 0:
        return Decision(Verdict.WAIT, due)
    if counted is None:
        return Decision(Verdict.TELL, limits.countdown)
    if counted < limits.countdown:
        return Decision(Verdict.WAIT, limits.countdown - counted)
    return Decision(Verdict.END, 0.0)
