"""Whose turn it is: in which order servers start that have to wait, and which may begin now. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from modelyard_hub.spawner.rooms import own
from modelyard_hub.spawner.rooms.surroundings import Room

Need = tuple[str, str]
"""What a quota counts: `Room.need` and `Room.resource`."""
Why = Literal["starting", "active", "restart"] | Room
"""Why one waits: too many start, too many run, the hub has just started again, or there is too little room."""
REST = ""
"""The line of all whose groups have no share of their own."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Ticket:
    """A server that is to start, or has been let in. `groups`: those of its user's that have a share, else `REST`.

    `cost`: what it weighs against others'. `since`: when it was asked for, in seconds of the epoch.
    `needs`: what a quota counts of it. `user`: whose it is; `own` and `most`: what the user's own quota counts of it,
    and how much that is, by `Room.need`.
    """

    key: str
    groups: frozenset[str] = frozenset({REST})
    cost: float = 1.0
    since: float = 0.0
    needs: Mapping[Need, float] = field(default_factory=dict)
    user: str = ""
    own: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)

    def asks(self) -> dict[Need, float]:
        """Of all quotas."""
        return {**self.needs, **{(need, self.user): self.own.get(need, 0.0) for need in self.most}}


@dataclass(frozen=True)
class Limits:
    """`starting`: servers that may start at once; `active`: that may start or run. 0: any number.

    `shares`: how much of the whole is a group's, against 1 of `REST`.
    """

    starting: int = 0
    active: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)

    def line(self, groups: Iterable[str]) -> frozenset[str]:
        """A ticket's groups, from a user's."""
        return frozenset(group for group in groups if group in self.shares) or frozenset({REST})


@dataclass(frozen=True)
class State:
    """`starting` and `active`: how many there are. `rooms`: what is free. `unseen`: those who were let in and whose
    needs `rooms` does not count yet."""

    starting: int = 0
    active: int = 0
    rooms: Sequence[Room] = ()  # those of users' own quotas have the user's name as `resource`
    unseen: Sequence[Ticket] = ()

    def free(self) -> dict[Need, float]:
        """By need, less what is promised."""
        found = {(room.need, room.resource): room.free for room in self.rooms}
        for ticket in self.unseen:
            _take(found, ticket)
        return found


@dataclass(frozen=True)
class Place:
    """`number`, from 1, of `of` who wait. `limit`: how many may at once of what `why` says. `asked`: of what lacks.
    `seconds`: until its turn, where that is known."""

    number: int
    of: int
    why: Why
    limit: int = 0
    asked: float = 0.0
    seconds: float | None = None


def in_order(waiting: Iterable[Ticket], held: Iterable[Ticket], shares: Mapping[str, float]) -> list[Ticket]:
    """Those who wait, as they will be let in: next is always one of the group that has the least for its share, and in
    it who has waited longest. `held`: what starts or runs. Each is returned with the one group that it counts for."""
    used: dict[str, float] = {}
    for ticket in held:
        group = _poorest(ticket.groups, used)
        used[group] = used.get(group, 0.0) + ticket.cost / shares.get(group, 1.0)
    lines: dict[frozenset[str], deque[Ticket]] = {}
    for ticket in sorted(waiting, key=_age):
        lines.setdefault(ticket.groups, deque()).append(ticket)
    ordered = []
    while lines:
        line = min(lines, key=lambda groups: (used.get(_poorest(groups, used), 0.0), *_age(lines[groups][0])))
        ticket, group = lines[line].popleft(), _poorest(line, used)
        used[group] = used.get(group, 0.0) + ticket.cost / shares.get(group, 1.0)
        ordered.append(replace(ticket, groups=frozenset({group})))
        if not lines[line]:
            del lines[line]
    return ordered


def own_rooms(waiting: Iterable[Ticket], counted: Iterable[Ticket]) -> list[Room]:
    """What is left of the quotas of users who have a server that waits. `counted`: of all that starts or runs."""
    limits = {ticket.user: ticket.most for ticket in waiting if ticket.most}
    theirs: dict[str, list[Mapping[str, float]]] = {user: [] for user in limits}
    for ticket in counted:
        if ticket.user in theirs:
            theirs[ticket.user].append(ticket.own)
    return [room for user, most in limits.items() for room in own.rooms(most, theirs[user], user)]


def admit(ordered: Sequence[Ticket], state: State, limits: Limits) -> list[Ticket]:
    """Who may begin now. One that lacks room keeps those behind it from taking what it lacks, and from nothing else."""
    free, closed = state.free(), set[Need]()
    admitted: list[Ticket] = []
    for ticket in ordered:
        starting, active = state.starting + len(admitted), state.active + len(admitted)
        if _full(starting, limits.starting) or _full(active, limits.active):
            break
        lacking = {need for need, count in ticket.asks().items() if need in free and count > free[need] + _ROUNDING}
        if lacking or closed & ticket.asks().keys():
            closed |= lacking
            continue
        _take(free, ticket)
        admitted.append(ticket)
    return admitted


def why(ticket: Ticket, state: State, limits: Limits) -> Why:
    """What keeps one back who was not admitted."""
    if _full(state.active, limits.active):
        return "active"
    if _full(state.starting, limits.starting):
        return "starting"
    free = state.free()
    short = [room for room in state.rooms if (room.need, room.resource) in ticket.asks()]
    short.sort(key=lambda room: free[room.need, room.resource] - ticket.asks()[room.need, room.resource])
    # Whoever was just let in has it, even where nobody counts it yet.
    return replace(short[0], free=max(0.0, free[short[0].need, short[0].resource])) if short else "starting"


def hopeless(ticket: Ticket, rooms: Iterable[Room]) -> bool:
    """Whether it asks for more than the whole of a quota: waiting would not help."""
    return any(ticket.asks().get((room.need, room.resource), 0.0) > room.total + _ROUNDING for room in rooms)


def wait(place: int, starting: int, took: float | None) -> float | None:
    """Seconds until the turn of who is at this place (from 1) comes, where `starting` start at once and each took so
    long; None where that is not known."""
    return None if took is None or not starting else place * took / starting


def _age(ticket: Ticket) -> tuple[float, str]:
    return ticket.since, ticket.key


def _poorest(groups: Iterable[str], used: Mapping[str, float]) -> str:
    return min(groups, key=lambda group: (used.get(group, 0.0), group))


def _full(count: int, limit: int) -> bool:
    return bool(limit) and count >= limit


def _take(free: dict[Need, float], ticket: Ticket) -> None:
    for need, count in ticket.asks().items():
        if need in free:
            free[need] -= count
