"""What a check is, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from modelyard_hub.admin import Admin
from modelyard_hub.settings import Settings


@dataclass(frozen=True)
class Finding:
    """Something broken: what it is about, what was seen, why, and what to do."""

    subject: str
    evidence: str
    cause: str
    remedy: str

    def row(self) -> dict[str, str]:
        """For a table."""
        return asdict(self)


@dataclass(frozen=True)
class Patient:
    """What the checks look at; `admin` is None where nothing was ever started."""

    settings: Settings
    admin: Admin | None


Check = Callable[[Patient], Iterable[Finding]]


def examine(patient: Patient, checks: Sequence[Check]) -> list[Finding]:
    """The findings of all checks, in their order."""
    return [finding for check in checks for finding in check(patient)]
