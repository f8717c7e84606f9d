"""Planning: single steps, and whole histories whose every step is checked against the invariants."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.specs import packages, spec
from modelyard_api.conditions import Condition, find
from modelyard_api.endpoints import EndpointSpec
from modelyard_hub.reconcile.names import REVISION, workload_labels, workload_name
from modelyard_hub.reconcile.plan import Apply, Delete, Forget, Plan, plan
from modelyard_hub.reconcile.state import DesiredEndpoint, Failure, RoutedState
from modelyard_hub.routing.document import EndpointRoute
from modelyard_hub.runtimes.base import ObservedServer, Phase, Replica

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def desired(written: EndpointSpec, **changes: object) -> DesiredEndpoint:
    made = DesiredEndpoint(
        "ada", "churn", 1, written, packages=packages(*(r.number for r in written.revisions)), access='{"owner":"ada"}'
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def address(number: int, index: int = 0) -> str:
    return f"http://127.0.0.1:{10_000 + 100 * number + index}"


def says(condition: Condition | None) -> tuple[str, str]:
    assert condition is not None
    return str(condition.status), condition.reason


@dataclass
class World:
    """A runtime and a router that do what a plan says, as slowly as a test wants."""

    wanted: DesiredEndpoint
    observed: dict[str, ObservedServer] = field(default_factory=dict)
    routed: RoutedState = field(default_factory=lambda: RoutedState(None, confirmed=True))
    applied: EndpointRoute | None = None
    now: datetime = NOW
    forgotten: bool = False

    def step(self) -> Plan:
        """Plan, check the invariants, carry out; nothing gets ready and no route is confirmed by that."""
        self.now += timedelta(seconds=1)
        made = plan(self.wanted, self.observed, self.routed, self.now)
        check(self, made)
        if made.route != self.routed.route:
            self.routed = RoutedState(made.route, confirmed=made.route == self.applied)
        for action in made.actions:
            match action:
                case Apply(server):
                    old = self.observed.get(server.name)
                    kept = () if old is None else old.replicas[: server.replicas]
                    new = tuple(Replica(i, Phase.starting) for i in range(len(kept), server.replicas))
                    self.observed[server.name] = ObservedServer(server.name, server.digest(), kept + new, server.labels)
                case Delete(name):
                    del self.observed[name]
                case Forget():
                    self.forgotten = True
        self.wanted = replace(self.wanted, status=made.status)
        return made

    def confirm(self) -> None:
        """The router applies what is published."""
        self.applied = self.routed.route
        self.routed = replace(self.routed, confirmed=True)

    def set_phase(self, number: int, phase: Phase, reason: str = "") -> None:
        """All replicas of a revision are in that phase now."""
        name = workload_name("ada", "churn", number)
        server = self.observed[name]
        replicas = tuple(
            replace(
                r, phase=phase, address=address(number, r.index), reason=reason, log_tail=("boom",) if reason else ()
            )
            for r in server.replicas
        )
        self.observed[name] = replace(server, replicas=replicas)

    def settle(self) -> Plan:
        """Everything starts, and every route is applied, until nothing more happens."""
        for _ in range(20):
            made = self.step()
            for server in self.observed.values():
                self.set_phase(int(server.labels[REVISION]), Phase.ready)
            self.confirm()
            if made.settled and self.step().settled:
                return self.step()
        raise AssertionError("never settles")


def check(world: World, made: Plan) -> None:
    """What must hold of every plan, whatever the world."""
    last = {} if world.routed.route is None else world.routed.route.servers
    for number, named in ({} if made.route is None else made.route.servers).items():
        replicas = world.observed[workload_name("ada", "churn", number)].replicas if named else ()
        live = {r.address for r in replicas if r.phase is Phase.ready}
        doubtful = {r.address for r in replicas if r.phase is Phase.starting} & set(last.get(number, ()))
        assert set(named) <= (live or doubtful), "a route names ready replicas, or the last ones that run"
    if made.route is not None:
        assert sum(made.route.weights.values()) == 100
        serving = {n for n, w in made.route.weights.items() if w > 0}
        routable = {n for n in serving if made.route.servers.get(n)}
        may_serve = {t.revision for t in world.wanted.spec.traffic if t.percent} | set(world.wanted.stable_history)
        ready = {
            int(s.labels[REVISION]) for s in world.observed.values() if any(r.phase is Phase.ready for r in s.replicas)
        }
        if may_serve & ready:
            assert routable == serving, "never weights on nothing ready while something is"
    deleted = {a.name for a in made.actions if isinstance(a, Delete)}
    for name in deleted:
        number = int(world.observed[name].labels[REVISION])
        assert world.routed.confirmed, "deleting waits for the router"
        assert world.routed.route is None or not world.routed.route.servers.get(number)
        assert world.applied is None or not world.applied.servers.get(number), "the router still sends calls there"
    applied = {a.server.name for a in made.actions if isinstance(a, Apply)}
    assert not applied & deleted
    if any(isinstance(a, Forget) for a in made.actions):
        assert world.wanted.deleting
        assert not world.observed
        assert world.applied is None
    condition = find(made.status.conditions, "Ready")
    assert condition is not None
    if made.status.ready:
        assert all(r.ready_replicas > 0 for r in made.status.revisions if r.percent > 0)
    assert made.status.observed_generation == world.wanted.generation


def test_a_new_endpoint_is_ready_only_once_routed() -> None:
    world = World(desired(spec()))
    first = world.step()
    assert [type(a) for a in first.actions] == [Apply]
    assert not first.settled
    world.confirm()
    starting = world.step()
    assert says(find(starting.status.conditions, "Ready")) == ("False", "Starting")
    world.set_phase(1, Phase.ready)
    waiting = world.step()
    assert says(find(waiting.status.conditions, "Ready")) == ("False", "WaitingForRoute")
    assert waiting.route == EndpointRoute("ada", "churn", {1: 100}, {1: (address(1),)})
    world.confirm()
    done = world.step()
    assert done.settled
    assert done.actions == ()
    assert says(find(done.status.conditions, "Ready")) == ("True", "Ready")
    assert says(find(done.status.conditions, "TrafficApplied")) == ("True", "Applied")
    assert done.status.revisions[0].percent == 100


def test_a_split_waits_for_its_revision_and_promotion_drains_the_old_one_last() -> None:
    world = World(desired(spec(), stable_history=(1,)))
    world.settle()
    world.wanted = desired(spec({1: 90, 2: 10}), stable_history=(1,), generation=2, status=world.wanted.status)
    waiting = world.step()
    assert waiting.route is not None
    assert waiting.route.weights == {1: 100}
    assert waiting.status.ready
    assert says(find(waiting.status.conditions, "TrafficApplied")) == ("False", "WaitingForRevision")
    world.set_phase(2, Phase.ready)
    split = world.settle()
    assert split.route is not None
    assert split.route.weights == {1: 90, 2: 10}

    promoted = spec({2: 100}, 1, 2).model_copy(
        update={
            "revisions": tuple(r.model_copy(update={"active": r.number == 2}) for r in spec({2: 100}, 1, 2).revisions)
        }
    )
    world.wanted = desired(promoted, stable_history=(1, 2), generation=3, status=world.wanted.status)
    away = world.step()
    assert away.route is not None
    assert set(away.route.servers) == {2}
    assert away.actions == ()
    assert world.step().actions == (), "the router has not let go of it yet"
    world.confirm()
    assert world.step().actions == (Delete(workload_name("ada", "churn", 1)),)
    assert [r.number for r in world.settle().status.revisions] == [2]


def test_deleting_takes_the_route_first_the_workload_next_the_row_last() -> None:
    world = World(desired(spec()))
    world.settle()
    world.wanted = replace(world.wanted, deleting=True)
    first = world.step()
    assert first.route is None
    assert first.actions == ()
    world.confirm()
    assert [type(a) for a in world.step().actions] == [Delete]
    assert [type(a) for a in world.step().actions] == [Forget]
    assert world.forgotten


def test_a_dead_canary_loses_its_share_and_gets_it_back() -> None:
    world = World(desired(spec({1: 90, 2: 10}), stable_history=(1,)))
    world.settle()
    world.set_phase(2, Phase.crash_loop, "Exited")
    down = world.step()
    assert down.route is not None
    assert down.route.weights == {1: 100}
    canary = next(r for r in down.status.revisions if r.number == 2)
    assert says(find(canary.conditions, "Ready")) == ("False", "CrashLoop")
    assert canary.log_tail == ("boom",)
    assert down.status.ready
    world.set_phase(2, Phase.ready)
    up = world.step()
    assert up.route is not None
    assert up.route.weights == {1: 90, 2: 10}


def test_a_candidate_never_gets_traffic_unasked() -> None:
    world = World(desired(spec({1: 100}, 1, 2)))
    world.settle()
    world.set_phase(1, Phase.backoff, "Exited")
    down = world.step()
    assert down.route is not None
    assert down.route.weights == {1: 100}
    assert down.route.servers == {1: (), 2: (address(2),)}
    assert says(find(down.status.conditions, "Ready")) == ("False", "Backoff")


def test_replicas_of_machines_that_say_nothing_are_called_while_no_other_is_ready() -> None:
    world = World(desired(spec(scaling={"min": 2, "max": 2})))
    world.settle()
    (name,) = world.observed
    first, second = world.observed[name].replicas

    def routed(*replicas: Replica) -> tuple[str, ...]:
        world.observed[name] = replace(world.observed[name], replicas=replicas)
        route = plan(world.wanted, world.observed, world.routed, NOW).route
        assert route is not None
        return route.servers[1]

    lost = [replace(r, phase=Phase.backoff, reason="NodeLost") for r in (first, second)]
    assert routed(*lost) == (address(1, 0), address(1, 1))
    assert routed(lost[0], second) == (address(1, 1),)
    assert routed(replace(lost[0], phase=Phase.stopping), replace(lost[1], reason="Exited")) == ()


def test_the_last_replicas_are_called_while_none_is_said_to_be_ready() -> None:
    world = World(desired(spec(scaling={"min": 2, "max": 2})))
    world.settle()
    (name,) = world.observed
    ready = world.observed[name].replicas

    def routed(**changes: Any) -> tuple[str, ...]:
        world.observed[name] = replace(world.observed[name], replicas=tuple(replace(r, **changes) for r in ready))
        made = world.step()
        assert made.route is not None
        return made.route.servers[1]

    assert routed(phase=Phase.starting) == (address(1, 0), address(1, 1))
    assert not world.wanted.status.ready, "which the status says all the same"
    world.observed[name] = replace(world.observed[name], replicas=(ready[0], replace(ready[1], phase=Phase.starting)))
    made = world.step()
    assert made.route is not None
    assert made.route.servers[1] == (address(1, 0),)
    assert routed(phase=Phase.starting) == (address(1, 0),), "of another it is not known that it ever answered"
    assert routed(phase=Phase.starting, reason="OutOfMemory", restarts=1) == (), "another process, at the same address"


def test_a_removed_revision_that_still_serves_stays() -> None:
    world = World(desired(spec(), stable_history=(1,)))
    world.settle()
    world.wanted = desired(spec({2: 100}, 2), stable_history=(2,), generation=2, status=world.wanted.status)
    for _ in range(3):
        made = world.step()
        world.confirm()
        assert not [a for a in made.actions if isinstance(a, Delete)]
    assert made.route is not None
    assert made.route.weights == {1: 100}
    world.settle()
    assert set(world.observed) == {workload_name("ada", "churn", 2)}


def test_new_access_rules_and_replicas_are_applied_once() -> None:
    world = World(desired(spec()))
    world.settle()
    world.wanted = replace(world.wanted, access='{"owner":"grace"}')
    (action,) = world.step().actions
    assert isinstance(action, Apply)
    assert action.server.files == {"access.json": '{"owner":"grace"}'}
    assert world.step().actions == ()


def test_what_could_not_be_done_is_said() -> None:
    name = workload_name("ada", "churn", 1)
    failed = plan(desired(spec()), {}, RoutedState(), NOW, {name: Failure("StorageFull", "no space left")})
    assert says(find(failed.status.conditions, "Ready")) == ("False", "StorageFull")
    missing = plan(desired(spec(), packages={}), {}, RoutedState(), NOW)
    assert missing.actions == ()
    assert says(find(missing.status.conditions, "Ready")) == ("False", "NoPackage")


def test_scaling_is_as_the_runtime_does_it() -> None:
    wanted = desired(spec(scaling={"min": 2, "max": 5}))
    made = plan(wanted, {}, RoutedState(), NOW)
    (action,) = made.actions
    assert isinstance(action, Apply)
    assert (action.server.replicas, action.server.max_replicas) == (2, 5)
    assert says(find(made.status.conditions, "Autoscaling")) == ("False", "Starting")
    fixed = ObservedServer(action.server.name, action.server.digest(), labels=action.server.labels)
    kept = plan(wanted, {fixed.name: fixed}, RoutedState(), NOW).status
    assert says(find(kept.conditions, "Autoscaling")) == ("False", "NotSupported")
    assert kept.revisions[0].desired_replicas == 2
    grown = plan(wanted, {fixed.name: replace(fixed, scaled_to=4)}, RoutedState(), NOW).status
    assert says(find(grown.conditions, "Autoscaling")) == ("True", "ByLoad")
    assert grown.revisions[0].desired_replicas == 4


def test_why_a_replica_does_not_start_is_said() -> None:
    wanted = desired(spec())
    pending = Replica(0, Phase.starting, reason="Unschedulable", message="0/1 nodes are available.")
    name = workload_name("ada", "churn", 1)
    seen = ObservedServer(name, "", (pending,), workload_labels("ada", "churn", 1))
    status = plan(wanted, {name: seen}, RoutedState(), NOW).status
    found = find(status.revisions[0].conditions, "Ready")
    assert found is not None
    assert found.reason == "Starting"
    assert "Unschedulable: 0/1 nodes are available." in found.message


def test_the_cause_is_said_in_a_word() -> None:
    world = World(desired(spec()))
    world.settle()
    world.set_phase(1, Phase.backoff, "OutOfMemory")
    assert world.step().status.revisions[0].cause == "OutOfMemory"
    world.set_phase(1, Phase.ready)
    assert world.step().status.revisions[0].cause == ""
    name = workload_name("ada", "churn", 1)
    refused = plan(desired(spec()), {}, RoutedState(), NOW, {name: Failure("QuotaExceeded", "the quota is used up")})
    assert refused.status.revisions[0].cause == "QuotaExceeded"


def test_a_ready_revision_tells_of_a_further_replica_that_does_not_start_and_of_one_that_ended() -> None:
    name = workload_name("ada", "churn", 1)
    good = Replica(0, Phase.ready, address(1))
    bad = Replica(1, Phase.backoff, reason="ErrImagePull", message="Its image cannot be had.")

    def said(*replicas: Replica) -> str:
        seen = ObservedServer(name, "", replicas, workload_labels("ada", "churn", 1))
        found = find(plan(desired(spec()), {name: seen}, RoutedState(), NOW).status.revisions[0].conditions, "Ready")
        assert says(found) == ("True", "Ready")
        assert found is not None
        return found.message

    assert said(good) == "1 of 1 replicas are ready."
    assert said(good, bad).endswith("A further one is not: ErrImagePull: Its image cannot be had.")
    assert said(replace(good, ended="OutOfMemory: too much.")).endswith("One was started again: OutOfMemory: too much.")
    assert said(good, Replica(1, Phase.stopping, reason="Evicted", message="No room.")) == "1 of 1 replicas are ready."


def test_what_was_not_seen_lately_is_said_to_be_so() -> None:
    name = workload_name("ada", "churn", 1)
    seen = ObservedServer(name, "", (), workload_labels("ada", "churn", 1), unseen_since=NOW)
    status = plan(desired(spec()), {name: seen}, RoutedState(), NOW).status
    assert says(find(status.conditions, "Observed")) == ("False", "ClusterAway")


def test_since_stays_while_nothing_changes() -> None:
    world = World(desired(spec()))
    done = world.settle()
    again = world.step()
    assert again.status == done.status


@pytest.mark.parametrize("seed", range(40))
def test_any_history_keeps_the_invariants_and_settles(seed: int) -> None:
    chance = random.Random(seed)
    world = World(desired(spec(), stable_history=(1,)))
    newest, history = 1, [1]
    for _ in range(40):
        match chance.choice(["step", "step", "confirm", "ready", "die", "doubt", "restart", "write"]):
            case "step":
                world.step()
            case "confirm":
                world.confirm()
            case "ready" | "die" | "doubt" as what if world.observed:
                number = int(chance.choice(sorted(world.observed.values(), key=lambda s: s.name)).labels[REVISION])
                phase = {"ready": Phase.ready, "die": Phase.backoff, "doubt": Phase.starting}[what]
                world.set_phase(number, phase, "Exited" if what == "die" else "")
            case "restart":  # the service forgets what it knew of the router's state until it asks
                world.routed = replace(world.routed, confirmed=world.routed.route == world.applied)
            case "write":
                newest += 1
                traffic = chance.choice([{newest: 100}, {newest: 10, newest - 1: 90}])
                if newest in traffic and traffic[newest] == 100:
                    history.append(newest)
                written = spec(traffic, *range(max(1, newest - 2), newest + 1))
                world.wanted = desired(
                    written, stable_history=tuple(history), generation=newest, status=world.wanted.status
                )
    done = world.settle()
    assert done.route is not None
    assert dict(done.route.weights) == {t.revision: t.percent for t in world.wanted.spec.traffic}
    world.wanted = replace(world.wanted, deleting=True)
    for _ in range(4):
        world.step()
        world.confirm()
    assert world.forgotten


def test_workload_names_are_labels_and_tell_owners_apart() -> None:
    assert workload_name("a-b", "c", 1) != workload_name("a", "b-c", 1)
    longest = workload_name("a" * 63, "b" * 63, 10**6)
    assert len(longest) <= 63
    assert longest != workload_name("a" * 63, "b" * 62, 10**6)
