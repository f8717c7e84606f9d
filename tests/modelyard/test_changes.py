"""Changes to an endpoint's spec, and how it is drawn."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelyard import changes, portrait
from modelyard.errors import InvalidInput, InvalidTraffic, StaleWrite
from modelyard_api.conditions import Condition, ConditionStatus
from modelyard_api.endpoints import (
    Endpoint,
    EndpointSpec,
    EndpointStatus,
    RevisionSpec,
    RevisionStatus,
    TrafficTarget,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def spec(*traffic: tuple[int, int], revisions: int = 2) -> EndpointSpec:
    return EndpointSpec(
        revisions=tuple(RevisionSpec(number=n, model="ada.churn", version=str(n)) for n in range(1, revisions + 1)),
        traffic=tuple(TrafficTarget(revision=n, percent=p) for n, p in traffic),
    )


def shares(changed: EndpointSpec) -> dict[int, int]:
    return {t.revision: t.percent for t in changed.traffic}


def test_a_split_takes_from_the_revision_that_has_most() -> None:
    assert shares(changes.split(spec((1, 100)), 2, 10)) == {1: 90, 2: 10}
    assert shares(changes.split(spec((1, 90), (2, 10)), 2, 25)) == {1: 75, 2: 25}
    assert shares(changes.split(spec((1, 90), (2, 10), revisions=3), 3, 5)) == {1: 95, 3: 5}
    assert shares(changes.split(spec((1, 90), (2, 10)), 2, 100)) == {2: 100}
    assert shares(changes.split(spec((1, 90), (2, 10)), 2, 0)) == {1: 100}


def test_shares_are_taken_as_they_are_unless_somebody_was_faster() -> None:
    before = spec((1, 90), (2, 10), revisions=3)
    assert shares(changes.shared(before, {1: 50, 3: 50, 2: 0})) == {1: 50, 3: 50}
    assert changes.shared(before, {2: 10, 1: 90}, expected={1: 90, 2: 10}) is before
    with pytest.raises(StaleWrite, match="10 % to revision 2"):
        changes.shared(before, {1: 50, 2: 50}, expected={1: 100, 2: 0})
    for wrong, said in (({1: 90}, "sum to 90"), ({9: 100}, "no revision 9"), ({1: 101, 2: -1}, "whole number")):
        with pytest.raises(InvalidTraffic, match=said):
            changes.shared(before, wrong)


@pytest.mark.parametrize("percent", [-1, 101, 10.5, True, "10"])
def test_percent_is_a_whole_number_up_to_100(percent: object) -> None:
    with pytest.raises(InvalidTraffic):
        changes.split(spec((1, 100)), 2, percent)  # type: ignore[arg-type]


def test_nobody_is_left_to_get_the_rest() -> None:
    with pytest.raises(InvalidTraffic, match="all the traffic"):
        changes.split(spec((2, 100)), 2, 10)


def test_the_candidate_is_the_newest_unless_it_has_everything() -> None:
    assert changes.candidate(spec((1, 90), (2, 10))) == 2
    with pytest.raises(InvalidInput, match="already"):
        changes.candidate(spec((2, 100)))


def test_a_revision_is_added_once_and_the_oldest_idle_ones_leave() -> None:
    full = spec((1, 100), revisions=changes.KEPT_REVISIONS)
    idle = tuple(r.model_copy(update={"active": r.number in (1, changes.KEPT_REVISIONS)}) for r in full.revisions)
    full = full.model_copy(update={"revisions": idle})
    revision = changes.next_revision(full, version="99")
    after = changes.added(full, revision)
    assert [r.number for r in after.revisions] == [1, *range(3, changes.KEPT_REVISIONS + 2)]
    assert changes.added(after, revision) == after
    assert changes.removed(after, revision.number).revision(revision.number) is None
    assert changes.removed(after, 1) == after  # it has traffic


def endpoint(reason: str, ready: bool) -> Endpoint:
    status = ConditionStatus.true if ready else ConditionStatus.false
    condition = Condition(type="Ready", status=status, reason=reason, message="<b>exit 3</b>", since=NOW)
    observed = RevisionStatus(number=1, percent=100, ready_replicas=1, desired_replicas=1, conditions=(condition,))
    return Endpoint(
        owner="ada",
        name="churn",
        created_at=NOW,
        updated_at=NOW,
        spec=spec((1, 90), (2, 10)),
        status=EndpointStatus(observed_generation=1, revisions=(observed,), conditions=(condition,)),
    )


def test_it_is_drawn_with_reasons_and_everything_escaped() -> None:
    failing = endpoint("CrashLoop", ready=False)
    html = portrait.as_html("ada", "churn", "http://h/serve/ada/churn", failing)
    assert "CrashLoop" in html
    assert "<b>exit 3</b>" not in html
    assert "100 % → 90 %" in html
    assert "CrashLoop" in changes.reasons(failing)
    text = portrait.as_text("ada", "churn", "http://h/serve/ada/churn", endpoint("Ready", ready=True))
    assert text.splitlines()[0] == "Endpoint ada/churn: Ready"
    assert "nothing answers" in portrait.as_html("ada", "churn", "http://h", None, "nothing answers")
