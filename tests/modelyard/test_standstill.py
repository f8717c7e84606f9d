"""What a publish says while it waits, and when it stops waiting."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from harness.specs import spec
from modelyard.errors import Unavailable
from modelyard.standstill import Hope, Steps, failed
from modelyard_api.endpoints import Endpoint, EndpointStatus, RevisionStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time under control."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_waited_for_is_said_once_for_each_reason_and_step() -> None:
    said: list[tuple[str, str]] = []
    steps = Steps(lambda step, detail: said.append((step, detail)))
    steps("upload", "to MLflow")
    for _ in range(3):
        steps.waiting(Unavailable("the store is away"))
    steps("register", "ada.churn")
    steps.waiting(Unavailable("the store is away"))
    assert said[1:] == [
        ("upload", "waiting: the store is away"),
        ("register", "ada.churn"),
        ("register", "waiting: the store is away"),
    ]


@pytest.mark.parametrize(("cause", "seconds"), [("ErrImageNeverPull", 0), ("QuotaExceeded", 10), ("Exited", 25)])
def test_a_cause_that_waiting_does_not_put_right_ends_the_hope(cause: str, seconds: int) -> None:
    clock = Clock()
    hope = Hope(clock)
    assert hope.is_gone(cause) is (seconds == 0)
    clock.now = seconds
    assert hope.is_gone(cause)


def test_one_that_goes_by_in_between_begins_anew() -> None:
    clock = Clock()
    hope = Hope(clock)
    hope.is_gone("QuotaExceeded")
    clock.now = 9.0
    assert not hope.is_gone("")
    clock.now = 18.0
    assert not hope.is_gone("QuotaExceeded")
    assert not hope.is_gone("FetchFailed")
    clock.now = 1000.0
    assert not hope.is_gone("Unschedulable")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("OutOfMemory", "memory=2048 (MiB)"),
        ("ImagePullBackOff", "administrator"),
        ("QuotaExceeded", "ask for a larger quota"),
        ("Exited", "last log lines"),
    ],
)
def test_the_error_says_what_to_do(cause: str, words: str) -> None:
    observed = RevisionStatus(number=1, cause=cause, log_tail=("Traceback", "ValueError: no"))
    endpoint = Endpoint(
        owner="ada",
        name="churn",
        created_at=NOW,
        updated_at=NOW,
        spec=spec(),
        status=EndpointStatus(revisions=(observed,)),
    )
    error = failed(endpoint, 1, f"Backoff: {cause}: because")
    assert words in error.remedy
    assert error.detail.startswith(f"revision 1 of ada/churn does not start: Backoff: {cause}: because\nTraceback")
