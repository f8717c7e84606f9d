"""What to say of an endpoint: conditions of it and of its revisions, from what is observed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from modelyard_api.conditions import Condition, ConditionStatus, merge
from modelyard_api.endpoints import EndpointStatus, RevisionSpec, RevisionStatus
from modelyard_hub.reconcile.names import workload_name
from modelyard_hub.reconcile.state import DesiredEndpoint, Failure
from modelyard_hub.routing.document import EndpointRoute
from modelyard_hub.runtimes.base import ObservedServer, Phase, Replica

_WORST_FIRST = (Phase.crash_loop, Phase.backoff, Phase.stopping, Phase.starting)
_REASONS = {Phase.crash_loop: "CrashLoop", Phase.backoff: "Backoff", Phase.stopping: "Stopping"}


@dataclass(frozen=True)
class Situation:
    """All that a status is made from."""

    desired: DesiredEndpoint
    observed: Mapping[str, ObservedServer]
    route: EndpointRoute | None
    confirmed: bool
    failures: Mapping[str, Failure]
    now: datetime


def describe(situation: Situation) -> EndpointStatus:
    """The status to write. `since` of a condition stays where its status and reason did."""
    desired = situation.desired
    revisions = tuple(
        _revision(situation, spec)
        for spec in desired.spec.revisions
        if spec.active or _observed(situation, spec.number) is not None
    )
    conditions = [_ready(situation, revisions), _routed(situation), _traffic_applied(situation, revisions)]
    if desired.spec.scaling.max > desired.spec.scaling.min:
        conditions.append(_autoscaling(situation))
    for server in situation.observed.values():
        if server.unseen_since is not None:
            since = f"{server.unseen_since:%Y-%m-%d %H:%M:%S} UTC"
            text = f"All this was seen last at {since}; since then: {server.unseen_because}"
            conditions.append(_condition(situation, "Observed", False, "ClusterAway", text))
            break
    return EndpointStatus(
        observed_generation=desired.generation,
        url=desired.url,
        revisions=revisions,
        conditions=merge(desired.status.conditions, conditions),
    )


def _observed(situation: Situation, number: int) -> ObservedServer | None:
    return situation.observed.get(workload_name(situation.desired.owner, situation.desired.name, number))


def _percent(situation: Situation, number: int) -> int:
    return 0 if situation.route is None else situation.route.weights.get(number, 0)


def _revision(situation: Situation, spec: RevisionSpec) -> RevisionStatus:
    desired, server = situation.desired, _observed(situation, spec.number)
    package = desired.packages.get(spec.number)
    replicas = () if server is None else server.replicas
    worst = _worst(replicas)
    percent = _percent(situation, spec.number)
    before = next((r.conditions for r in desired.status.revisions if r.number == spec.number), ())
    return RevisionStatus(
        number=spec.number,
        ready_replicas=sum(r.phase is Phase.ready for r in replicas),
        desired_replicas=_wanted(situation, server) if not desired.deleting and (spec.active or percent) else 0,
        percent=percent,
        flavor=None if package is None else package.flavor,
        restarts=sum(r.restarts for r in replicas),
        cause=_cause(situation, spec, worst),
        conditions=merge(before, [_revision_ready(situation, spec, replicas)]),
        log_tail=worst.log_tail if worst is not None else (),
    )


def _cause(situation: Situation, spec: RevisionSpec, worst: Replica | None) -> str:
    failure = situation.failures.get(workload_name(situation.desired.owner, situation.desired.name, spec.number))
    if worst is not None and worst.reason:
        return worst.reason
    return "" if failure is None else failure.reason


def _wanted(situation: Situation, server: ObservedServer | None) -> int:
    """Replicas that a revision should have now."""
    if server is not None and server.scaled_to is not None:
        return server.scaled_to
    return situation.desired.spec.scaling.min


def _autoscaling(situation: Situation) -> Condition:
    """Autoscaling: whether the runtime follows the load between min and max."""
    scaling = situation.desired.spec.scaling
    if not situation.observed:
        return _condition(situation, "Autoscaling", False, "Starting", "Nothing runs yet.")
    if all(o.scaled_to is None for o in situation.observed.values()):
        return _condition(situation, "Autoscaling", False, "NotSupported", "This runtime keeps min replicas.")
    text = f"From {scaling.min} to {scaling.max} replicas, by CPU."
    return _condition(situation, "Autoscaling", True, "ByLoad", text)


def _revision_ready(situation: Situation, spec: RevisionSpec, replicas: tuple[Replica, ...]) -> Condition:
    """Ready when it has all its replicas; else why the worst one is not."""

    def say(holds: bool, reason: str, message: str = "") -> Condition:
        return _condition(situation, "Ready", holds, reason, message)

    desired = situation.desired
    wanted, worst = desired.spec.scaling.min, _worst(replicas)
    ready = sum(r.phase is Phase.ready for r in replicas)
    failure = situation.failures.get(workload_name(desired.owner, desired.name, spec.number))
    if desired.deleting:
        return say(False, "Deleting", f"{len(replicas)} replicas are being stopped.")
    if not spec.active and not _percent(situation, spec.number):
        return say(False, "Inactive", "It is kept for rollback and its replicas are being stopped.")
    if ready >= wanted:
        return say(True, "Ready", f"{ready} of {wanted} replicas are ready.{_beside(replicas)}")
    if failure is not None:
        return say(False, failure.reason, failure.message)
    if spec.number not in desired.packages:
        return say(False, "NoPackage", f"The files of {spec.model} version {spec.version} are not known.")
    if worst is not None and worst.phase in _REASONS:
        cause = f"{worst.reason}: {worst.message}" if worst.reason else worst.message
        return say(False, _REASONS[worst.phase], cause)
    cause = f" {worst.reason}: {worst.message}" if worst is not None and worst.reason and worst.message else ""
    return say(False, "Starting", f"{ready} of {wanted} replicas are ready.{cause}")


def _beside(replicas: tuple[Replica, ...]) -> str:
    """What is to be known of a revision that has its replicas: a further one that does not start, or one that ended."""
    worst = _worst(replicas)
    if worst is not None and worst.reason and worst.phase is not Phase.stopping:
        return f" A further one is not: {worst.reason}: {worst.message}"
    ended = next((r.ended for r in replicas if r.ended), "")
    return f" One was started again: {ended}" if ended else ""


def _worst(replicas: tuple[Replica, ...]) -> Replica | None:
    """The replica that is furthest from ready; None when all are."""
    troubled = [r for r in replicas if r.phase is not Phase.ready]
    return min(troubled, key=lambda r: (_WORST_FIRST.index(r.phase), r.index), default=None)


def _ready(situation: Situation, revisions: tuple[RevisionStatus, ...]) -> Condition:
    """Ready: calls are answered, at least by what was applied last."""
    route, serving = situation.route, [r for r in revisions if r.percent > 0]

    def say(holds: bool, reason: str, message: str = "") -> Condition:
        return _condition(situation, "Ready", holds, reason, message)

    if situation.desired.deleting or route is None:
        return say(False, "Deleting", "Calls are refused; its replicas are being stopped.")
    if serving and all(r.ready_replicas > 0 for r in serving):
        if situation.confirmed:
            return say(True, "Ready")
        # Calls are answered by the earlier route meanwhile, if they were before.
        before = next((c for c in situation.desired.status.conditions if c.type == "Ready"), None)
        if before is not None and before.status is ConditionStatus.true:
            return say(True, "Ready")
        return say(False, "WaitingForRoute", "The router has not reported the route yet.")
    for revision in serving:
        own = next((c for c in revision.conditions if c.type == "Ready"), None)
        if own is not None and own.status is not ConditionStatus.true:
            return say(False, own.reason, f"Revision {revision.number}: {own.message}")
    return say(False, "NoReplica", "No revision has a replica.")


def _routed(situation: Situation) -> Condition:
    if situation.confirmed:
        text = "The router reports no route." if situation.route is None else "The router reports the route."
        return _condition(situation, "Routed", situation.route is not None, "Confirmed", text)
    return _condition(situation, "Routed", False, "WaitingForRoute", "The router has not reported the route yet.")


def _traffic_applied(situation: Situation, revisions: tuple[RevisionStatus, ...]) -> Condition:
    """TrafficApplied: the router does what the spec says, on ready replicas."""

    def say(holds: bool, reason: str, message: str = "") -> Condition:
        return _condition(situation, "TrafficApplied", holds, reason, message)

    if situation.desired.deleting or situation.route is None:
        return say(False, "Deleting")
    wanted = {t.revision: t.percent for t in situation.desired.spec.traffic if t.percent > 0}
    ready = {r.number for r in revisions if r.ready_replicas > 0}
    if missing := sorted(set(wanted) - ready):
        names = ", ".join(map(str, missing))
        return say(False, "WaitingForRevision", f"Revision {names} is not ready; the last traffic stays meanwhile.")
    if dict(situation.route.weights) != wanted or not situation.confirmed:
        return say(False, "WaitingForRoute", "The router has not reported the route yet.")
    return say(True, "Applied")


def _condition(situation: Situation, kind: str, holds: bool, reason: str, message: str = "") -> Condition:
    status = ConditionStatus.true if holds else ConditionStatus.false
    return Condition(type=kind, status=status, reason=reason, message=message, since=situation.now)
