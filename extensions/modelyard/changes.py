"""Changes to an endpoint's desired state, and what its observed state says of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modelyard.errors import InvalidInput, InvalidTraffic, StaleWrite
from modelyard_api.conditions import Condition, ConditionStatus, find
from modelyard_api.endpoints import Endpoint, EndpointSpec, RevisionSpec, RevisionStatus, TrafficTarget

KEPT_REVISIONS = 50
M = TypeVar("M", bound=BaseModel)


def checked(kind: type[M], **fields: Any) -> M:
    """`kind(**fields)`, with InvalidInput in place of pydantic's error."""
    try:
        return kind(**fields)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
        )
        raise InvalidInput(said.removeprefix(": ")) from error


def stable(spec: EndpointSpec) -> int:
    """The revision with most of the traffic; of equals, the oldest."""
    return min(spec.traffic, key=lambda t: (-t.percent, t.revision)).revision


def traffic(spec: EndpointSpec) -> dict[int, int]:
    """Percent of the calls by revision number, of those that get some."""
    return {t.revision: t.percent for t in spec.traffic if t.percent > 0}


def candidate(spec: EndpointSpec) -> int:
    """The newest revision that has not all the traffic. InvalidInput when there is none."""
    newest = max(r.number for r in spec.revisions)
    if spec.percent(newest) == 100:
        raise InvalidInput(
            f"revision {newest}, the newest one, has all the traffic already",
            remedy="Publish a further version, or name one: promote(version).",
        )
    return newest


def of_version(spec: EndpointSpec, version: int | str) -> int | None:
    """The newest revision of that model version, or None."""
    return max((r.number for r in spec.revisions if r.version == str(version)), default=None)


def next_revision(spec: EndpointSpec, **fields: Any) -> RevisionSpec:
    """The revision after the newest one: like it, but for `fields`."""
    newest = max(spec.revisions, key=lambda r: r.number)
    like = {"model": newest.model, "resources": newest.resources, "environment": newest.environment}
    return checked(RevisionSpec, **{**like, **fields, "number": newest.number + 1})


def added(spec: EndpointSpec, revision: RevisionSpec) -> EndpointSpec:
    """`spec` with a further revision and no traffic for it. Of the oldest that run nothing, those past
    KEPT_REVISIONS leave."""
    if any(
        (r.model, r.version) == (revision.model, revision.version) and r.number >= revision.number
        for r in spec.revisions
    ):
        return spec
    idle = [r for r in spec.revisions if not r.active and not spec.percent(r.number)]
    excess = max(0, len(spec.revisions) + 1 - KEPT_REVISIONS)
    leaving = {r.number for r in sorted(idle, key=lambda r: r.number)[:excess]}
    kept = tuple(r for r in spec.revisions if r.number not in leaving)
    return spec.model_copy(update={"revisions": (*kept, revision)})


def removed(spec: EndpointSpec, number: int) -> EndpointSpec:
    """`spec` without a revision that has no traffic; unchanged when it has some, or is the only one."""
    kept = tuple(r for r in spec.revisions if r.number != number)
    return spec if spec.percent(number) or not kept else spec.model_copy(update={"revisions": kept})


def split(spec: EndpointSpec, revision: int, percent: int) -> EndpointSpec:
    """`percent` of the traffic to `revision`, the rest to the one that has most of it now."""
    _check_percent(percent)
    if percent == 100:
        return promoted(spec, revision)
    others = [t for t in spec.traffic if t.revision != revision and t.percent > 0]
    if not others:
        raise InvalidTraffic(
            f"revision {revision} has all the traffic, and no other had any that could get the rest",
            remedy="Promote another revision first, or roll back.",
        )
    rest = min(others, key=lambda t: (-t.percent, t.revision)).revision
    shares = {rest: 100 - percent, revision: percent}
    return _with(spec, {n: p for n, p in shares.items() if p}, revision)


def shared(spec: EndpointSpec, shares: Mapping[int, int], expected: Mapping[int, int] | None = None) -> EndpointSpec:
    """The traffic as `shares` says, percent by revision. StaleWrite when it is not `expected` any more, InvalidTraffic
    when the shares do not sum to 100."""
    now = traffic(spec)
    if expected is not None and now != {n: p for n, p in expected.items() if p}:
        said = ", ".join(f"{p} % to revision {n}" for n, p in sorted(now.items()))
        raise StaleWrite(
            f"somebody changed the traffic meanwhile: it is {said} now", remedy="Look at it, and apply yours again."
        )
    wanted = {n: p for n, p in shares.items() if p}
    unknown = [n for n in wanted if spec.revision(n) is None]
    if unknown:
        known = ", ".join(str(r.number) for r in spec.revisions)
        raise InvalidTraffic(f"there is no revision {unknown[0]}", remedy=f"There are: {known}.")
    for share in wanted.values():
        _check_percent(share)
    if sum(wanted.values()) != 100:
        raise InvalidTraffic(f"the shares sum to {sum(wanted.values())} %, not to 100 %")
    targets = tuple(TrafficTarget(revision=n, percent=p) for n, p in sorted(wanted.items()))
    active = tuple(r.model_copy(update={"active": True}) if r.number in wanted else r for r in spec.revisions)
    return spec if wanted == now else spec.model_copy(update={"traffic": targets, "revisions": active})


def promoted(spec: EndpointSpec, revision: int) -> EndpointSpec:
    """All traffic to `revision`."""
    return _with(spec, {revision: 100}, revision)


def _check_percent(percent: int) -> None:
    if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
        raise InvalidTraffic(f"percent={percent!r} is not a whole number from 0 to 100")


def _with(spec: EndpointSpec, shares: dict[int, int], revision: int) -> EndpointSpec:
    traffic = tuple(TrafficTarget(revision=n, percent=p) for n, p in shares.items())
    revisions = tuple(r.model_copy(update={"active": True}) if r.number == revision else r for r in spec.revisions)
    return spec.model_copy(update={"traffic": traffic, "revisions": revisions})


def revision_condition(endpoint: Endpoint, number: int) -> Condition | None:
    """The condition Ready of a revision, of the present desired state; None when it is not observed yet."""
    if endpoint.status.observed_generation < endpoint.generation:
        return None
    return find(observed(endpoint, number).conditions, "Ready")


def observed(endpoint: Endpoint, number: int) -> RevisionStatus:
    """What is observed of a revision; an empty status when nothing is."""
    return next((r for r in endpoint.status.revisions if r.number == number), RevisionStatus(number=number))


def revision_ready(endpoint: Endpoint, number: int) -> bool:
    """Whether a revision has its replicas and the router knows it."""
    own, routed = revision_condition(endpoint, number), find(endpoint.status.conditions, "Routed")
    return all(c is not None and c.status is ConditionStatus.true for c in (own, routed))


def reasons(endpoint: Endpoint) -> str:
    """What does not hold, in one line: "Ready: Starting (0 of 1 replicas are ready.)"."""
    if endpoint.status.observed_generation < endpoint.generation:
        return "The hub service has not looked at it yet."
    conditions = [(c.type, c) for c in endpoint.status.conditions]
    conditions += [(f"revision {r.number}", c) for r in endpoint.status.revisions for c in r.conditions]
    said = [
        f"{who}: {c.reason} ({c.message})" if c.message else f"{who}: {c.reason}" for who, c in conditions if _bad(c)
    ]
    return "; ".join(dict.fromkeys(said))


def _bad(condition: Condition) -> bool:
    return condition.status is not ConditionStatus.true and condition.reason not in ("Inactive", "NotSupported")
