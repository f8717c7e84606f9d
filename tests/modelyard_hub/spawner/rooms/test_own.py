"""One's own quota."""

from __future__ import annotations

import pytest

from modelyard_api.choices import Sizes
from modelyard_api.errors import InvalidChoice
from modelyard_api.profiles import Quota
from modelyard_hub.spawner.queueing.turns import Limits, State, Ticket, admit, own_rooms, why
from modelyard_hub.spawner.rooms.own import check, most, rooms, takes
from modelyard_hub.spawner.rooms.surroundings import Room

GiB = 2**30
QUOTA = Quota(servers=2, cpu=4, memory=8 * GiB, gpus=0)


def sizes(cpu: float = 1, memory: int = GiB, gpus: int = 0) -> Sizes:
    return Sizes(profile="small", cpu=cpu, cpu_sure=cpu, memory=memory, shm=0, gpus=gpus)


def ticket(key: str, user: str, asked: Sizes, quota: Quota | None = QUOTA) -> Ticket:
    return Ticket(key, user=user, own=takes(asked), most=most(quota))


def test_what_is_left_beside_ones_other_servers() -> None:
    others = [takes(sizes(cpu=3, memory=10 * GiB)), takes(None)]
    assert rooms(most(QUOTA), others) == (
        Room("servers", 0, 2, "your quota"),
        Room("cpu", 1, 4, "your quota"),
        Room("memory", 0, 8 * GiB, "your quota"),
        Room("gpus", 0, 0, "your quota"),
    )
    assert rooms(most(Quota(cpu=4)), others) == (Room("cpu", 1, 4, "your quota"),)
    assert rooms(most(None), others) == ()


def test_one_server_that_is_more_than_the_quota_is_refused() -> None:
    check(QUOTA, sizes(cpu=4, memory=8 * GiB))
    check(None, sizes(cpu=400))
    with pytest.raises(InvalidChoice, match=r"cpu: 5 CPUs is more than your quota. Your servers may have 4 CPUs") as no:
        check(QUOTA, sizes(cpu=5))
    assert no.value.extra["field"] == "cpu"
    with pytest.raises(InvalidChoice, match=r"gpus: 1 GPU is more than your quota. Your servers may have 0 GPUs"):
        check(QUOTA, sizes(gpus=1))


def test_who_has_used_it_up_waits_and_nobody_else_does() -> None:
    running = [ticket("ada/", "ada", sizes(cpu=3)), ticket("bob/", "bob", sizes(cpu=1))]
    waiting = [ticket(f"{user}/b", user, sizes(cpu=2)) for user in ("ada", "bob")]
    waiting.append(ticket("eve/", "eve", sizes(cpu=400), quota=None))
    state = State(active=2, rooms=own_rooms(waiting, running))
    assert [one.key for one in admit(waiting, state, Limits())] == ["bob/b", "eve/"]
    reason = why(waiting[0], state, Limits())
    assert isinstance(reason, Room)
    assert (reason.need, reason.free, reason.of, reason.resource) == ("cpu", 1, "your quota", "ada")


def test_those_who_were_just_let_in_count_once() -> None:
    first, second = (ticket(f"ada/{name}", "ada", sizes(cpu=2)) for name in "xy")
    third = ticket("ada/z", "ada", sizes(cpu=0.5))
    state = State(rooms=own_rooms([third], counted=[first]), unseen=[second])
    assert state.free()["cpu", "ada"] == 0
    assert admit([third], state, Limits()) == []
    reason = why(third, state, Limits())
    assert isinstance(reason, Room)
    assert reason.free == 0, "what it is told is what is left"
