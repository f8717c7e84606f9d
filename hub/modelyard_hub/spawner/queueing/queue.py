"""The queue of one JupyterHub: servers wait here until it is their turn. What is decided is in `turns`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client import Gauge

from modelyard_hub.spawner.queueing.turns import (
    Limits,
    Place,
    State,
    Ticket,
    Why,
    admit,
    hopeless,
    in_order,
    own_rooms,
    wait,
    why,
)
from modelyard_hub.spawner.rooms.surroundings import Room
from modelyard_hub.spawner.starts.phases import HISTORY

EVERY = 2.0
"""Seconds between two looks at what is free, while somebody waits."""
PATIENCE = 3.0
"""Seconds that the cluster has to say it."""
RESTART = 60.0
"""Seconds after a restart for which those who waited before it are awaited before anybody is let in."""
WAITING = Gauge("modelyard_spawn_queue_length", "Notebook servers that wait for their turn to start.")
STARTING = Gauge("modelyard_spawn_starting", "Notebook servers that start.")
Look = Callable[[], Awaitable[Sequence[Room]]]
log = logging.getLogger(__name__)


@dataclass
class _Waiter:
    ticket: Ticket
    turn: asyncio.Future[None]
    look: Look | None


class Queue:
    """`marks`: when servers were asked for whose start is not over, by key; kept in their spawners' state, so that the
    next process of the hub goes on with them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.marks: dict[str, float] = {}
        self.resuming: asyncio.Task[None] | None = None
        """What takes up those who waited before the hub's restart."""
        self._waiting: dict[str, _Waiter] = {}
        self._starting: set[str] = set()
        self._held: dict[str, Ticket] = {}
        self._unseen: dict[str, float | None] = {}
        self._rooms: tuple[Room, ...] = ()
        self._read_at = float("-inf")
        self._awaited: set[str] = set()
        self._awaited_until = 0.0
        self._ordered: dict[str, tuple[int, Ticket]] | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __deepcopy__(self, memo: Any) -> Queue:
        """Traitlets copies what it configures; this is one for all spawners."""
        return self

    @contextmanager
    def line(self, ticket: Ticket, look: Look | None = None) -> Iterator[asyncio.Future[None]]:
        """Stand in it; what is yielded is done when the turn comes. `look`: what is free of quotas. Who asks for more
        than all of it is not kept waiting."""
        waiter = _Waiter(ticket, asyncio.get_running_loop().create_future(), look)
        self._waiting[ticket.key] = waiter
        self._touch()
        try:
            yield waiter.turn
        finally:
            if self._waiting.get(ticket.key) is waiter:
                del self._waiting[ticket.key]
                self._touch()

    def mark(self, key: str) -> float:
        """When this server was asked for: now, or before the hub's restart."""
        return self.marks.setdefault(key, time.time())

    def running(self, ticket: Ticket) -> None:
        """One that was there before this process of the hub."""
        if ticket.key not in self._starting:
            self._held[ticket.key] = ticket
            self._touch()

    def made(self, key: str) -> None:
        """The cluster has taken it: quotas that are read from now on count it."""
        if key in self._unseen:
            self._unseen[key] = time.monotonic()

    def go_on(self, key: str) -> None:
        """A start that was there before this process of the hub."""
        self._starting.add(key)
        self.forget(key)

    def step_aside(self, key: str) -> None:
        """It does not count as starting any more."""
        if key in self._starting:
            self._starting.discard(key)
            self._touch()

    def over(self, key: str) -> None:
        """Its start has ended, however; and so has somebody's waiting who gave up."""
        self.marks.pop(key, None)
        self._starting.discard(key)
        self._touch()

    def gone(self, key: str) -> None:
        """There is no such server any more. What waited before the hub's restart still waits."""
        if self.has(key):
            self.marks.pop(key, None)
        self._starting.discard(key)
        self._unseen.pop(key, None)
        self._held.pop(key, None)
        self._touch()

    def has(self, key: str) -> bool:
        """Whether it waits or starts in this process of the hub."""
        return key in self._waiting or key in self._starting

    def ticket(self, key: str) -> Ticket | None:
        """Of one that waits, starts or runs."""
        waiter = self._waiting.get(key)
        return waiter.ticket if waiter else self._held.get(key)

    def expect(self, keys: Iterable[str]) -> None:
        """Let nobody in before these have come, for a while: they were in front."""
        self._awaited = set(keys)
        self._awaited_until = time.monotonic() + RESTART
        self._touch()

    def forget(self, key: str) -> None:
        """It does not come any more."""
        self.marks.pop(key, None)
        self._awaited.discard(key)
        self._touch()

    def place(self, key: str) -> Place | None:
        """Where it stands; None once it is its turn."""
        if key not in self._waiting:
            return None
        number, ticket = self._order()[key]
        state, took = self._state(), HISTORY.whole()
        reason: Why = "restart" if self._held_back() else why(ticket, state, self.limits)
        limit = {"starting": self.limits.starting, "active": self.limits.active}.get(str(reason), 0)
        asked = ticket.asks().get((reason.need, reason.resource), 0.0) if isinstance(reason, Room) else 0.0
        seconds = wait(number, limit, took) if reason == "starting" else None
        return Place(number, len(self._waiting), reason, limit, asked, seconds)

    def _touch(self) -> None:
        self._ordered = None
        self._changed.set()
        WAITING.set(len(self._waiting))
        STARTING.set(len(self._starting))
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run(), name="whose turn it is")

    async def _run(self) -> None:
        """While somebody waits. A mistake in here must not keep everybody waiting for ever: it is tried again."""
        while self._waiting:
            self._changed.clear()
            try:
                await self._read()
                self._admit()
            except Exception:
                log.exception("Deciding whose turn it is to start a server")
                await asyncio.sleep(EVERY)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), EVERY)

    async def _read(self) -> None:
        """What is free. Where nobody says, nobody waits for it: the cluster refuses what does not fit."""
        look = next((waiter.look for waiter in self._waiting.values() if waiter.look), None)
        began = time.monotonic()
        if look is None or began < self._read_at + EVERY:
            return
        try:
            self._rooms = tuple(await asyncio.wait_for(look(), PATIENCE))
        except Exception as error:
            log.warning("The cluster does not say what is free of its quotas: %r", error)
            self._rooms = ()
        self._read_at = began
        self._unseen = {key: made for key, made in self._unseen.items() if made is None or made >= began}

    def _admit(self) -> None:
        if self._held_back():
            return
        ordered = [ticket for _, ticket in self._order().values()]
        state = self._state()
        never = [ticket for ticket in ordered if hopeless(ticket, state.rooms)]
        possible = [ticket for ticket in ordered if ticket not in never] if never else ordered
        for ticket in (*never, *admit(possible, state, self.limits)):
            waiter = self._waiting.pop(ticket.key)
            if not waiter.turn.done():  # it may just have given up
                waiter.turn.set_result(None)
                self._starting.add(ticket.key)
                self._held[ticket.key] = ticket
                self._unseen[ticket.key] = None
            self._touch()

    def _held_back(self) -> bool:
        self._awaited -= self._waiting.keys() | self._starting
        return bool(self._awaited) and time.monotonic() < self._awaited_until

    def _order(self) -> dict[str, tuple[int, Ticket]]:
        """Place and ticket, by key."""
        if self._ordered is None:
            waiting = (waiter.ticket for waiter in self._waiting.values())
            ordered = in_order(waiting, self._held.values(), self.limits.shares)
            self._ordered = {ticket.key: (number, ticket) for number, ticket in enumerate(ordered, 1)}
        return self._ordered

    def _state(self) -> State:
        unseen = [self._held[key] for key in self._unseen if key in self._held]
        counted = (ticket for key, ticket in self._held.items() if key not in self._unseen)
        mine = own_rooms((waiter.ticket for waiter in self._waiting.values()), counted)
        return State(len(self._starting), len(self._held), (*self._rooms, *mine), unseen)
