"""Conditions: what is observed of a resource, one statement each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class ConditionStatus(StrEnum):
    true = "True"
    false = "False"
    unknown = "Unknown"


class Condition(BaseModel):
    """One observed statement: `type` (such as Ready), its status, a CamelCase reason, a sentence, since when (UTC)."""

    model_config = ConfigDict(frozen=True)

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    since: datetime


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((c for c in conditions if c.type == kind), None)


def merge(before: Iterable[Condition], now: Iterable[Condition]) -> tuple[Condition, ...]:
    """`now`, keeping the `since` of each condition whose status and reason did not change."""
    known = {c.type: c for c in before}

    def keep_since(condition: Condition) -> Condition:
        old = known.get(condition.type)
        if old is not None and (old.status, old.reason) == (condition.status, condition.reason):
            return condition.model_copy(update={"since": old.since})
        return condition

    return tuple(keep_since(c) for c in now)
