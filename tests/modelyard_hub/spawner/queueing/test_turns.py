"""Whose turn it is: order, room, and what is said of a place."""

# ruff: noqa: E501  # sentences as they are said, in one piece each

from __future__ import annotations

import random
from typing import Any

import pytest

from modelyard_hub.spawner.queueing.turns import Limits, Place, State, Ticket, admit, hopeless, in_order, wait, why
from modelyard_hub.spawner.rooms.surroundings import Room
from modelyard_hub.spawner.starts.causes.turn import ordinal, turn

CPU, GPU = ("cpu", ""), ("gpus", "nvidia.com/gpu")
GiB = 2.0**30


def ticket(key: str, since: float = 0.0, group: str = "", cost: float = 1.0, **needs: float) -> Ticket:
    named = {"cpu": CPU, "gpus": GPU}
    return Ticket(key, frozenset({group}), cost, since, {named[name]: count for name, count in needs.items()})


def room(need: str, free: float, total: float = 8.0) -> Room:
    return Room(need, free, total, "the quota team", "nvidia.com/gpu" if need == "gpus" else "")


def keys(tickets: list[Ticket]) -> str:
    return " ".join(ticket.key for ticket in tickets)


A, B = {"group": "a"}, {"group": "b"}
ORDERS: dict[str, tuple[list[Ticket], list[Ticket], dict[str, float], str]] = {
    "by age": ([ticket("x", 3), ticket("y", 1), ticket("z", 2)], [], {}, "y z x"),
    "by name at the same age": ([ticket("b"), ticket("a"), ticket("c")], [], {}, "a b c"),
    "groups take turns": (
        [ticket(f"a{n}", n, **A) for n in range(3)] + [ticket(f"b{n}", 9 + n, **B) for n in range(2)],
        [], {"a": 1, "b": 1}, "a0 b0 a1 b1 a2"),
    "who has more for its share comes later": (
        [ticket("a0", 0, **A), ticket("b0", 9, **B)], [ticket("r", cost=2, **A)], {"a": 1, "b": 1}, "b0 a0"),
    "twice the share, twice the servers": (
        [ticket(f"a{n}", n, **A) for n in range(4)] + [ticket(f"b{n}", n, **B) for n in range(2)],
        [], {"a": 2, "b": 1}, "a0 b0 a1 b1 a2 a3"),
    "what weighs more counts more": (
        [ticket("a0", 0, cost=8, **A), ticket("a1", 1, **A)] + [ticket(f"b{n}", 2 + n, **B) for n in range(3)],
        [], {"a": 1, "b": 1}, "a0 b0 b1 b2 a1"),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_the_order(case: str) -> None:
    waiting, held, shares, expected = ORDERS[case]
    assert keys(in_order(waiting, held, shares)) == expected


def test_a_user_of_two_groups_counts_for_the_one_that_has_less() -> None:
    both = Ticket("both", frozenset({"a", "b"}), since=5.0)
    ordered = in_order([ticket("a0", 0, **A), both], [ticket("r", **A)], {"a": 1, "b": 1})
    assert keys(ordered) == "both a0"
    assert ordered[0].groups == {"b"}


def test_only_groups_with_a_share_have_a_line_of_their_own() -> None:
    limits = Limits(shares={"research": 2.0})
    assert limits.line(["team", "research"]) == {"research"}
    assert limits.line(["team"]) == limits.line([]) == {""}


ADMITTED: dict[str, tuple[list[Ticket], State, Limits, str]] = {
    "without limits all": ([ticket("a"), ticket("b")], State(), Limits(), "a b"),
    "as many as may start": ([ticket("a"), ticket("b"), ticket("c")], State(starting=1), Limits(starting=3), "a b"),
    "none beyond": ([ticket("a")], State(starting=3), Limits(starting=3), ""),
    "as many as may run": ([ticket("a"), ticket("b")], State(active=9), Limits(active=10), "a"),
    "as many as there is room for": (
        [ticket("a", cpu=2), ticket("b", cpu=2), ticket("c", cpu=2)], State(rooms=[room("cpu", 5)]), Limits(), "a b"),
    "what was promised is not free": (
        [ticket("a", cpu=2)], State(rooms=[room("cpu", 3)], unseen=[ticket("x", cpu=2)]), Limits(), ""),
    "a small one does not pass a large one that waits for the same": (
        [ticket("large", cpu=4), ticket("small", cpu=1)], State(rooms=[room("cpu", 2)]), Limits(), ""),
    "it passes one that waits for something else": (
        [ticket("large", cpu=1, gpus=1), ticket("small", cpu=1)],
        State(rooms=[room("cpu", 2), room("gpus", 0)]), Limits(), "small"),
    "what no quota counts does not matter": ([ticket("a", gpus=4)], State(rooms=[room("cpu", 0)]), Limits(), "a"),
}  # fmt: skip


@pytest.mark.parametrize("case", ADMITTED)
def test_who_may_begin(case: str) -> None:
    ordered, state, limits, expected = ADMITTED[case]
    assert keys(admit(ordered, state, limits)) == expected


def test_more_than_the_whole_quota_is_not_worth_waiting_for() -> None:
    rooms = [room("cpu", 0, total=8)]
    assert hopeless(ticket("a", cpu=9), rooms)
    assert not hopeless(ticket("a", cpu=8), rooms)
    assert not hopeless(ticket("a", gpus=9), rooms)


def test_any_queue_is_let_in_whole_in_order_and_within_its_limits() -> None:
    """Many at random: nobody is lost or starved, no limit is broken, and of a line the older comes first."""
    for seed in range(200):
        chance = random.Random(seed)
        shares = {group: chance.choice([0.5, 1, 3]) for group in "abc"}
        limits = Limits(chance.choice([0, 1, 5]), chance.choice([0, 7]), shares)
        waiting = [
            ticket(
                f"{n:03}", chance.random(), chance.choice("abc"), chance.choice([1, 2, 8]), cpu=chance.choice([1, 4])
            )
            for n in range(60)
        ]
        check(waiting, limits, chance, total=8.0)


def check(waiting: list[Ticket], limits: Limits, chance: random.Random, total: float) -> None:
    left, running, started = {t.key: t for t in waiting}, dict[str, Ticket](), list[Ticket]()
    for _ in range(1000):
        used = sum(t.needs[CPU] for t in running.values())
        state = State(len(running), len(running), [room("cpu", total - used, total)])
        ordered = in_order(left.values(), running.values(), limits.shares)
        assert sorted(keys(ordered).split()) == sorted(left)
        for one in admit(ordered, state, limits):
            running[one.key] = left.pop(one.key)
            started.append(running[one.key])
        assert sum(t.needs[CPU] for t in running.values()) <= total
        assert all(not limit or len(running) <= limit for limit in (limits.starting, limits.active))
        if not left:
            break
        assert running, "somebody who fits is let in where nobody is"
        del running[chance.choice(sorted(running))]
    assert not left
    for group in "abc":
        line = [t.since for t in started if t.groups == {group}]
        assert line == sorted(line), "of the same group who waited longer is first"


def test_what_keeps_one_back() -> None:
    rooms = [room("cpu", 1), room("gpus", 0)]
    assert why(ticket("a"), State(starting=2, active=5), Limits(2, 5)) == "active"
    assert why(ticket("a"), State(starting=2), Limits(2)) == "starting"
    assert why(ticket("a", cpu=1, gpus=1), State(rooms=rooms), Limits()) == rooms[1]


def test_how_long_it_takes() -> None:
    assert wait(10, 5, 20.0) == 40.0
    assert wait(10, 5, None) is None
    assert wait(10, 0, 20.0) is None


KEPT = "You may close this page: your place is kept."
SAID: dict[str, tuple[Place, str, dict[str, Any]]] = {
    "starting": (
        Place(3, 12, "starting", 64), f"You are 3rd of 12 in the queue: 64 servers may start at once. {KEPT}",
        {"reason": "turn", "wrong": False, "capacity": False}),
    "one": (
        Place(1, 1, "starting", 1), f"You are 1st of 1 in the queue: 1 server may start at once. {KEPT}", {}),
    "active": (
        Place(2, 2, "active", 40),
        f"You are 2nd of 2 in the queue: 40 servers may run at once, and so many do. It starts when a server stops. {KEPT}",
        {"reason": "full", "capacity": True}),
    "cpu": (
        Place(1, 4, room("cpu", 0.5), asked=2.0),
        "You are 1st of 4 in the queue: the quota team has 0.5 of 8 CPUs free, this asks for 2. It starts when a server "
        f"stops. {KEPT}", {"reason": "quota", "capacity": True}),
    "memory": (
        Place(1, 4, Room("memory", 0.0, 8 * GiB, "the quota team"), asked=2 * GiB),
        "You are 1st of 4 in the queue: the quota team has 0 bytes of 8 GiB of memory free, this asks for 2 GiB. "
        f"It starts when a server stops. {KEPT}", {}),
    "behind": (
        Place(2, 4, room("cpu", 1), asked=1.0),
        "You are 2nd of 4 in the queue: what the quota team has free of its 8 CPUs is for those before you. "
        f"It starts when a server stops. {KEPT}", {}),
    "restart": (
        Place(2, 4, "restart"),
        f"You are 2nd of 4 in the queue, which is put in order again: JupyterHub has just started anew. {KEPT}", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_a_place_in_words(case: str) -> None:
    place, text, facts = SAID[case]
    found = turn(place)
    assert found.text == text
    assert (found.phase, found.final) == ("queue", False)
    assert {name: getattr(found, name) for name in facts} == facts


def test_ordinals() -> None:
    said = "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 101st 111th 112th"
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111, 112)] == said.split()
