"""This machine, and what of the profiles fits onto it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from modelyard_api.bounds import Amount, Bound, Cores, Count
from modelyard_api.profiles import Catalogue, Profile
from modelyard_api.quantities import show_bytes
from modelyard_api.resources import MiB
from modelyard_hub.spawner.rooms.surroundings import Room, Surroundings

WHOLE = "machine"
"""Name of the profile of an installation that declares none."""
_GPUS = Path("/proc/driver/nvidia/gpus")
_SHM = "/dev/shm"


@dataclass(frozen=True)
class Machine:
    """What there is: `memory`, `free_memory` and `shm` in bytes, `busy` in cores."""

    cores: int
    memory: int
    free_memory: int
    shm: int
    gpus: int
    busy: float

    @classmethod
    def observe(cls) -> Machine:
        """As it is now."""
        memory = psutil.virtual_memory()
        return cls(
            cores=len(cores()) or os.cpu_count() or 1,
            memory=memory.total,
            free_memory=memory.available,
            shm=_size(_SHM),
            gpus=len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0,
            busy=os.getloadavg()[0],
        )


def cores() -> list[int]:
    """The cores that this process may run on; empty where a system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def share(all_cores: list[int], cpu: float, who: str) -> list[int]:
    """The cores of a server that may use `cpu` of them: neighbours, beginning where its owner's name says, so that
    servers spread over the machine. Empty: all of them."""
    count = math.ceil(cpu)
    if count >= len(all_cores):
        return []
    first = sum(who.encode())
    return sorted(all_cores[(first + i) % len(all_cores)] for i in range(count))


def whole(machine: Machine) -> Catalogue:
    """The one profile of an installation that declares none: all of the machine, nothing to choose."""
    title, said = "This machine", "All of it, shared by everybody."
    cpu, memory = float(machine.cores), max(machine.memory, 64 * MiB)
    sizes: dict[str, Any] = {"cpu": cpu, "memory": memory, "shm": min(machine.shm, memory), "gpus": machine.gpus}
    return Catalogue(profiles=(Profile(name=WHOLE, title=title, description=said, **sizes),))


def fitting(catalogue: Catalogue, machine: Machine) -> Catalogue:
    """The profiles that fit, with their bounds cut to what is there; where none does, the machine as it is."""
    fits = tuple(found for profile in catalogue.profiles if (found := _fit(profile, machine)))
    offer = Catalogue(profiles=fits) if fits else whole(machine)
    return offer.model_copy(update={"quotas": catalogue.quotas})


def _fit(profile: Profile, machine: Machine) -> Profile | None:
    limits = {"cpu": machine.cores, "memory": machine.memory, "gpus": machine.gpus}
    kinds: dict[str, type[Bound[Any]]] = {"cpu": Cores, "memory": Amount, "gpus": Count, "shm": Amount}
    cut: dict[str, Any] = {"volume": None, "cpu_share": 1.0}
    for field, limit in limits.items():
        bound = profile.bound(field)
        if bound is None or bound.min > limit:
            return None
        cut[field] = _cut(kinds[field], bound, limit)
    cut["shm"] = _cut(Amount, profile.shm, cut["memory"].default)
    return profile.model_copy(update=cut)


def _cut(kind: type[Bound[Any]], bound: Bound[Any], limit: float) -> Bound[Any]:
    low, step = bound.min, bound.step
    return kind(min=low, default=bound.at_most(min(bound.default, limit)), max=bound.at_most(limit), step=step)


def surroundings(machine: Machine) -> Surroundings:
    """What is free on this machine, and what it does not keep apart."""
    of = "this machine"
    rooms = [
        Room("cpu", max(0.0, round(machine.cores - machine.busy, 1)), machine.cores, of),
        Room("memory", machine.free_memory, machine.memory, of),
    ]
    shm = (
        f"Shared memory is this machine's: {show_bytes(machine.shm)} at /dev/shm, for everybody." if machine.shm else ""
    )
    kept = "A server stays on as many cores as it has CPUs; others may use them too. " if cores() else ""
    kept += "Its libraries are told its memory, which nothing enforces here."
    return Surroundings(tuple(rooms), frozenset({"shm", "volume"}), tuple(note for note in (shm, kept) if note))


def _size(folder: str) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize
