"""A spawner whose servers wait for their turn, in a queue that outlives the hub's process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jupyterhub.utils import maybe_future, url_path_join
from sqlalchemy.orm import object_session
from traitlets import Any as AnyTrait
from traitlets import HasTraits

from modelyard_hub.spawner.queueing.queue import Queue
from modelyard_hub.spawner.queueing.turns import Need, Place, Ticket
from modelyard_hub.spawner.rooms.surroundings import Room
from modelyard_hub.spawner.starts.causes.turn import turn
from modelyard_hub.spawner.starts.phases import HISTORY
from modelyard_hub.spawner.starts.telling import REPEAT, event

STATE = "turn"
"""What a spawner's state calls it: `groups`, `cost`, `own`, and `since` while its start is not over."""
_GiB = 2**30


class Queued(HasTraits):  # type: ignore[misc]  # traitlets is untyped
    """Before one of JupyterHub's in a class's bases, and after what tells its `needs`.

    A start waits in the last hook before `start`, when its sizes are known and no timeout of JupyterHub's runs yet. It
    counts as starting until JupyterHub's task for it ends: then the server answers and is routed, or has failed.
    """

    queue: Queue | None = AnyTrait(None, allow_none=True, config=True, help="One for all spawners.")
    waited = 0.0
    """Seconds that the present start has waited for its turn."""
    _may_start = False
    _followed = False
    """Whether there is a task of JupyterHub's whose end is the start's."""

    async def run_pre_spawn_hook(self) -> None:
        """Wait for its turn, then what JupyterHub does here."""
        self.waited, self._may_start = 0.0, False
        if self.queue is not None:
            await self._wait(self.queue)
        self._may_start = True
        await maybe_future(super().run_pre_spawn_hook())

    async def start(self) -> Any:
        """Start it. From here on its state tells the next process of the hub that it runs, not that it waits."""
        started = await super().start()
        if self.queue is not None:
            self.queue.forget(self.key)
            if not self._followed:
                self.queue.over(self.key)
        return started

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Its place while it waits, then as the spawner's."""
        async for told in self.places():
            yield told
        async for told in super().progress():
            yield told

    @property
    def key(self) -> str:
        """Of the server, among all of this hub."""
        return f"{self.user.name}/{self.name}"

    def needs(self) -> Mapping[Need, float]:
        """What a quota counts of it; nothing where there are no quotas."""
        return {}

    async def free(self) -> Sequence[Room]:
        """What is free of the quotas."""
        return ()

    def own(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """What it takes of its user's own quota, and how much that is; nothing where there is none."""
        return {}, {}

    def size_changed(self) -> None:
        """It runs with other sizes from now on: these are what quotas and shares count."""
        if self.queue is not None and (ticket := self.queue.ticket(self.key)):
            self.queue.running(replace(ticket, cost=self._cost(), own=self.own()[0]))

    def taken(self) -> None:
        """The cluster has it now."""
        if self.queue is not None:
            self.queue.made(self.key)

    def step_aside(self) -> None:
        """It waits for something else than its start: that is no other's."""
        if self.queue is not None:
            self.queue.step_aside(self.key)

    def asked_again(self) -> bool:
        """Whether the queue asks for it again, now that the hub was restarted."""
        return self.queue is not None and self.key in self.queue.marks

    def goes_on(self) -> None:
        """A start of before the hub's restart goes on: it counts as one, and is not asked for again."""
        self._may_start = True
        if self.queue is not None:
            self.queue.go_on(self.key)
            self._write_down()

    def went_on(self) -> None:
        """It has ended, however."""
        if self.queue is not None:
            self.queue.over(self.key)

    def get_state(self) -> dict[str, Any]:
        """As the spawner's, with what the next process of the hub needs to go on."""
        state: dict[str, Any] = super().get_state()
        ticket = self.queue.ticket(self.key) if self.queue else None
        told: dict[str, Any] = {}
        if ticket:
            told = {"groups": sorted(ticket.groups), "cost": ticket.cost, "own": dict(ticket.own)}
        if self.queue and self.key in self.queue.marks:
            told["since"] = self.queue.marks[self.key]
        return {**state, STATE: told} if told else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take it up again: one that ran counts, one that waited keeps its place."""
        super().load_state(state)
        if self.queue is None or not (told := state.get(STATE)):
            return
        if "since" in told:
            self.queue.marks.setdefault(self.key, float(told["since"]))
        if "cost" in told:
            mine = {"user": self.user.name, "own": told.get("own") or {}}
            self.queue.running(Ticket(self.key, frozenset(told["groups"]), float(told["cost"]), **mine))

    def clear_state(self) -> None:
        """Forget it with the server."""
        super().clear_state()
        if self.queue is not None:
            self.queue.gone(self.key)

    async def _wait(self, queue: Queue) -> None:
        began, key = time.monotonic(), self.key
        whole: asyncio.Future[Any] | None = self._spawn_future
        self._followed = whole is not None and not whole.done()
        if whole is not None and self._followed:
            whole.add_done_callback(lambda _: queue.over(key))
        needs = self.needs()
        groups = [group.name for group in self.user.groups] if queue.limits.shares else []
        takes, most = self.own()
        ticket = Ticket(
            key, queue.limits.line(groups), self._cost(), queue.mark(key), needs, self.user.name, takes, most
        )
        with queue.line(ticket, self.free if needs else None) as turn_comes:
            self._write_down()
            try:
                await turn_comes
            except asyncio.CancelledError:
                queue.forget(key)
                self.server = None  # else JupyterHub takes it for ready until it is stopped
                self._commit()
                raise
        self.waited = time.monotonic() - began

    def _write_down(self) -> None:
        self.orm_spawner.state = self.get_state()
        self._commit()

    def _commit(self) -> None:
        if session := object_session(self.orm_spawner):
            session.commit()

    def _cost(self) -> float:
        """Its CPUs, a CPU for 4 GiB of memory, or eight for a GPU: whichever is most."""
        sizes = getattr(self, "sizes", None)
        cpu = number(self.cpu_limit) or number(self.cpu_guarantee) or 1.0
        memory = number(self.mem_limit) or number(self.mem_guarantee)
        return max(cpu, memory / (4 * _GiB), 8.0 * (sizes.gpus if sizes else 0))

    async def places(self) -> AsyncIterator[dict[str, Any]]:
        """What is told while it waits for its turn: see `telling.event`; with `place` and `of`."""
        told, at, began = None, 0.0, time.monotonic()
        while not self._may_start:
            place = self.queue.place(self.key) if self.queue else None
            elapsed = time.monotonic() - began
            if place is not None:
                now = (place.number, place.of, place.why)
                if now != told or elapsed - at >= REPEAT:
                    told, at = now, elapsed
                    yield self._told(place, elapsed)
            await asyncio.sleep(1.0 if place else 0.1)

    def in_line(self) -> dict[str, Any]:
        """The same, as it is now; empty where it does not wait for its turn."""
        place = self.queue.place(self.key) if self.queue else None
        asked = self.queue.marks.get(self.key) if self.queue else None
        return {} if place is None else self._told(place, time.time() - asked if asked else 0.0)

    def _told(self, place: Place, elapsed: float) -> dict[str, Any]:
        took = HISTORY.whole()
        left = None if place.seconds is None or took is None else place.seconds + took
        told = event(turn(place), elapsed, left, url_path_join(self.hub.base_url, "home"))
        return {**told, "place": place.number, "of": place.of}


def number(value: Any) -> float:
    """Of a spawner's trait: an administrator may have set a function instead, which is not asked here."""
    return float(value) if isinstance(value, int | float) else 0.0
