"""The queue of one JupyterHub, with servers that only wait and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from harness.wait import eventually_async
from modelyard_hub.spawner.queueing.queue import Queue
from modelyard_hub.spawner.queueing.turns import Limits, Ticket
from modelyard_hub.spawner.rooms.surroundings import Room

CPU = ("cpu", "")


class Starts:
    """Servers that stand in a queue; `begun`: those whose turn has come, in order."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.begun = queue, list[str]()
        self.rooms: list[Room] | Exception = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def ask(self, key: str, since: float = 0.0, cpu: float = 0.0) -> None:
        needs = {CPU: cpu} if cpu else {}
        self._tasks[key] = asyncio.create_task(self._start(Ticket(key, since=since, needs=needs)), name=key)

    async def cancel(self, key: str) -> None:
        self._tasks[key].cancel()
        await asyncio.wait({self._tasks[key]})

    async def has_begun(self, *keys: str) -> None:
        async def begun() -> bool:
            return self.begun == list(keys)

        await eventually_async(begun, timeout=5, interval=0.01, what=f"{keys}, not {self.begun}")

    async def end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _start(self, ticket: Ticket) -> None:
        with self.queue.line(ticket, self._look if ticket.needs else None) as turn:
            await turn
        self.begun.append(ticket.key)

    async def _look(self) -> list[Room]:
        if isinstance(self.rooms, Exception):
            raise self.rooms
        return self.rooms


@pytest.fixture
async def one() -> AsyncIterator[Starts]:
    """A queue that lets in one at a time."""
    starts = Starts(Queue(Limits(starting=1)))
    yield starts
    await starts.end()


async def test_one_after_the_other(one: Starts) -> None:
    for number, key in enumerate("abc"):
        one.ask(key, since=number)
    await one.has_begun("a")
    place = one.queue.place("c")
    assert place is not None
    assert (place.number, place.of, place.why, place.limit) == (2, 2, "starting", 1)
    assert one.queue.place("a") is None
    one.queue.over("a")
    await one.has_begun("a", "b")
    one.queue.over("b")
    await one.has_begun("a", "b", "c")


async def test_who_gives_up_is_not_waited_for(one: Starts) -> None:
    for number, key in enumerate("abc"):
        one.ask(key, since=number)
    await one.has_begun("a")
    await one.cancel("b")
    assert one.queue.place("b") is None
    one.queue.over("a")
    await one.has_begun("a", "c")


async def test_who_gives_up_as_the_turn_comes_takes_no_place(one: Starts) -> None:
    one.ask("a", 0)
    one.ask("b", 1)
    one.ask("c", 2)
    await one.has_begun("a")
    one.queue.over("a")
    await one.cancel("b")  # within the same pass of the loop
    await one.has_begun("a", "c")


async def test_who_steps_aside_makes_room(one: Starts) -> None:
    one.ask("a", 0)
    one.ask("b", 1)
    await one.has_begun("a")
    one.queue.step_aside("a")
    await one.has_begun("a", "b")


async def test_running_servers_count_until_they_are_gone() -> None:
    starts = Starts(Queue(Limits(active=2)))
    starts.queue.running(Ticket("before"))
    starts.ask("a", 0)
    starts.ask("b", 1)
    await starts.has_begun("a")
    starts.queue.over("a")  # it runs now
    place = starts.queue.place("b")
    assert place is not None
    assert (place.why, place.limit, place.seconds) == ("active", 2, None)
    starts.queue.gone("before")
    await starts.has_begun("a", "b")
    await starts.end()


async def test_room_is_asked_for_again_until_there_is_some() -> None:
    starts = Starts(Queue(Limits()))
    starts.rooms = [Room("cpu", 1.0, 8.0, "the quota team")]
    starts.ask("a", cpu=2.0)
    await eventually_async(lambda: _why(starts, "a"), timeout=5, what="it waits for room")
    starts.rooms = [Room("cpu", 2.0, 8.0, "the quota team")]
    await starts.has_begun("a")
    await starts.end()


async def _why(starts: Starts, key: str) -> bool:
    place = starts.queue.place(key)
    return place is not None and isinstance(place.why, Room)


async def test_what_a_quota_does_not_count_yet_is_kept_for_who_was_let_in() -> None:
    starts = Starts(Queue(Limits()))
    starts.rooms = [Room("cpu", 2.0, 8.0, "the quota team")]
    starts.ask("a", 0, cpu=2.0)
    starts.ask("b", 1, cpu=2.0)
    await starts.has_begun("a")
    await eventually_async(lambda: _why(starts, "b"), timeout=5, what="it waits for room")
    starts.queue.gone("a")  # it failed before its pod was made
    await starts.has_begun("a", "b")
    await starts.end()


async def test_more_than_all_of_it_is_let_in_to_be_refused_with_the_cause(one: Starts) -> None:
    one.rooms = [Room("cpu", 0.0, 8.0, "the quota team")]
    one.ask("a", 0)
    await one.has_begun("a")
    one.ask("greedy", 1, cpu=9.0)
    one.ask("b", 2, cpu=1.0)
    await one.has_begun("a", "greedy")


async def test_a_cluster_that_says_nothing_keeps_nobody_waiting() -> None:
    starts = Starts(Queue(Limits()))
    starts.rooms = OSError("no route to host")
    starts.ask("a", cpu=2.0)
    await starts.has_begun("a")
    await starts.end()


async def test_after_a_restart_those_who_waited_before_come_first(one: Starts) -> None:
    one.queue.expect(["old/", "older/", "running/"])
    one.ask("new", since=100)
    one.ask("old/", since=2)
    one.queue.forget("running/")
    await eventually_async(lambda: _restarts(one), timeout=5, what="they are held back")
    assert one.begun == []
    one.ask("older/", since=1)
    await one.has_begun("older/")
    one.queue.over("older/")
    await one.has_begun("older/", "old/")


async def _restarts(starts: Starts) -> bool:
    place = starts.queue.place("new")
    return place is not None and place.why == "restart"


async def test_a_mark_stays_until_the_start_is_over(one: Starts) -> None:
    """What is told of a server's end while it does not wait here is of the time before the restart."""
    since = one.queue.mark("a")
    one.queue.gone("a")
    assert one.queue.mark("a") == since
    one.ask("a", since)
    await one.has_begun("a")
    one.queue.gone("a")
    assert "a" not in one.queue.marks


async def test_what_was_just_let_in_counts_once_of_its_users_own_quota() -> None:
    queue = Queue(Limits())

    async def start(name: str) -> None:
        ticket = Ticket(f"ada/{name}", user="ada", own={"servers": 1.0}, most={"servers": 2.0})
        with queue.line(ticket) as turn:
            await asyncio.wait_for(turn, 5)

    await start("one")
    await start("two")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(start("three"), 0.3)
