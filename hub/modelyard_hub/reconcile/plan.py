"""What to do for one endpoint, and what to say of it. Pure: everything it knows comes in, nothing else goes out.

The order that keeps calls answered follows from four rules, each looking only at what is:
1. a revision runs while it is active, or still gets calls;
2. calls go to ready replicas only, by the wanted weights as soon as all their revisions are ready;
3. a workload is deleted only when the router has confirmed a route that does not name it;
4. a deleted endpoint is forgotten only when the router has confirmed that its route is gone, and nothing runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelyard_api.endpoints import EndpointStatus, RevisionSpec
from modelyard_hub.reconcile.names import REVISION, workload_labels, workload_name
from modelyard_hub.reconcile.state import DesiredEndpoint, Failure, RoutedState
from modelyard_hub.reconcile.status import Situation, describe
from modelyard_hub.routing.document import EndpointRoute
from modelyard_hub.routing.weights import effective
from modelyard_hub.runtimes.base import UNHEARD, ObservedServer, Package, Phase, Replica, Server
from modelyard_hub.runtimes.environment import ACCESS_FILE


@dataclass(frozen=True)
class Apply:
    """Make the runtime run this."""

    server: Server


@dataclass(frozen=True)
class Delete:
    """Make the runtime stop and forget a workload."""

    name: str


@dataclass(frozen=True)
class Forget:
    """Nothing is left of the endpoint: remove it from the store."""


Action = Apply | Delete | Forget


@dataclass(frozen=True)
class Plan:
    """`route` is to be published before the actions are carried out. `settled`: nothing more is expected to happen
    by itself; otherwise look again soon, also when no change is reported."""

    actions: tuple[Action, ...]
    route: EndpointRoute | None
    status: EndpointStatus
    settled: bool


def plan(
    desired: DesiredEndpoint,
    observed: Mapping[str, ObservedServer],
    routed: RoutedState,
    now: datetime,
    failures: Mapping[str, Failure] | None = None,
) -> Plan:
    """The next step. `observed` holds the endpoint's own workloads; `failures` those of the last step, by workload."""
    route = _route(desired, observed, routed)
    confirmed = routed.confirmed and routed.route == route
    serving = set() if route is None else {n for n, percent in route.weights.items() if percent > 0}
    wanted = _wanted(desired, serving)
    actions: list[Action] = []
    for number, server in wanted.items():
        existing = observed.get(server.name)
        if number in desired.packages and (existing is None or existing.digest != server.digest()):
            actions.append(Apply(server))
    keep = {workload_name(desired.owner, desired.name, n) for n in _running(desired, serving)}
    doomed = sorted(set(observed) - keep)
    if confirmed:
        actions.extend(Delete(name) for name in doomed)
    if desired.deleting and confirmed and not observed:
        actions.append(Forget())
    situation = Situation(
        desired=desired, observed=observed, route=route, confirmed=confirmed, failures=failures or {}, now=now
    )
    return Plan(tuple(actions), route, describe(situation), settled=confirmed and not doomed and not actions)


def _running(desired: DesiredEndpoint, serving: set[int]) -> set[int]:
    """Numbers of the revisions that should run; one that gets calls may have left the spec already."""
    if desired.deleting:
        return set()
    return serving | {r.number for r in desired.spec.revisions if r.active}


def _wanted(desired: DesiredEndpoint, serving: set[int]) -> dict[int, Server]:
    running = _running(desired, serving)
    return {
        r.number: _server(desired, r, desired.packages[r.number])
        for r in desired.spec.revisions
        if r.number in running and r.number in desired.packages
    }


def _server(desired: DesiredEndpoint, revision: RevisionSpec, package: Package) -> Server:
    return Server(
        name=workload_name(desired.owner, desired.name, revision.number),
        endpoint=desired.name,
        package=package,
        resources=revision.resources,
        replicas=desired.spec.scaling.min,
        max_replicas=desired.spec.scaling.max,
        environment=revision.environment,
        files={ACCESS_FILE: desired.access},
        labels=workload_labels(desired.owner, desired.name, revision.number),
    )


def _route(
    desired: DesiredEndpoint, observed: Mapping[str, ObservedServer], routed: RoutedState
) -> EndpointRoute | None:
    """Where calls go from now on; None when the endpoint is to vanish."""
    if desired.deleting:
        return None
    servers = addresses(observed, {} if routed.route is None else routed.route.servers)
    # What an earlier process published counts too; where nothing is known of it, what was last written down.
    last = (
        {r.number: r.percent for r in desired.status.revisions} if routed.route is None else dict(routed.route.weights)
    )
    wanted = {t.revision: t.percent for t in desired.spec.traffic}
    weights = effective(wanted, last, servers, desired.stable_history)
    running = sorted(_running(desired, set(weights)))
    return EndpointRoute(desired.owner, desired.name, weights, {n: servers.get(n, ()) for n in running})


def addresses(
    observed: Mapping[str, ObservedServer], last: Mapping[int, Collection[str]]
) -> dict[int, tuple[str, ...]]:
    """URLs of ready replicas by revision; revisions without any are left out. `last`: where calls went until now.

    Where none is ready, of those that may well answer still: the router asks each one itself whether it is ready, and
    nothing is gained by taking away the only ones it could find well."""
    found: dict[int, tuple[str, ...]] = {}
    for server in observed.values():
        label = server.labels.get(REVISION, "")
        if not label.isdigit():
            continue
        before = last.get(int(label), ())
        ready = [r.address for r in server.replicas if r.phase is Phase.ready and r.address]
        doubtful = [r.address for r in server.replicas if r.address and _may_answer(r, r.address in before)]
        if chosen := ready or doubtful:
            found[int(label)] = tuple(sorted(chosen))
    return found


def _may_answer(replica: Replica, was_called: bool) -> bool:
    """Its machine says nothing; or it was ready, runs on, and is not said to be ready just now: a kubelet that is back
    asks all its pods anew, and a server under too much load answers the cluster's probe too late."""
    if replica.phase is Phase.backoff:
        return replica.reason == UNHEARD
    return was_called and replica.phase is Phase.starting and not replica.reason
