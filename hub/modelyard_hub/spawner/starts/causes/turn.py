"""It is not its turn yet: others start, the quota is used up. Pure."""

from __future__ import annotations

from modelyard_hub.spawner.queueing.turns import Place
from modelyard_hub.spawner.rooms import own
from modelyard_hub.spawner.rooms.surroundings import Room
from modelyard_hub.spawner.starts.causes.base import Diagnosis
from modelyard_hub.spawner.starts.causes.words import amount, bare

_RESOURCE = {"cpu": "cpu", "cpu_sure": "cpu", "memory": "memory", "pods": "pods", "servers": "pods"}
_KEPT = "You may close this page: your place is kept."
_STOP = "It starts when a server stops. " + _KEPT


def turn(place: Place) -> Diagnosis:
    """What one waits for that stands in the queue."""
    where = f"You are {ordinal(place.number)} of {place.of} in the queue"
    if isinstance(place.why, Room):
        cause = f"{where}: {_room(place.why, place.asked)}"
        return Diagnosis("queue", "quota", cause, remedy=_STOP, capacity=True)
    if place.why == "active":
        cause = f"{where}: {_servers(place.limit)} at once, and so many do."
        return Diagnosis("queue", "full", cause, remedy=_STOP, capacity=True)
    if place.why == "restart":
        cause = f"{where}, which is put in order again: JupyterHub has just started anew."
        return Diagnosis("queue", "turn", cause, remedy=_KEPT, wrong=False)
    start = f": {_servers(place.limit, 'start')} at once" if place.limit else ""
    return Diagnosis("queue", "turn", f"{where}{start}.", remedy=_KEPT, wrong=False)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    last = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"


def _servers(count: int, verb: str = "run") -> str:
    return f"{count} server{'' if count == 1 else 's'} may {verb}"


def _room(room: Room, asked: float) -> str:
    resource = _RESOURCE.get(room.need, "gpu" if room.of == own.OF else room.resource)
    if asked <= room.free:  # kept for one in front
        return f"what {room.of} has free of its {amount(resource, room.total)} is for those before you."
    free, all_of_it = bare(resource, room.free), amount(resource, room.total)
    return f"{room.of} has {free} of {all_of_it} free, this asks for {bare(resource, asked)}."
