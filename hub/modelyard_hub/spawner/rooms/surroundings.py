"""What the spawn page says beside a choice: how much room there is, what is there already. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """How much of something is free. `need`: the number of a choice that it is for, one of cpu, cpu_sure, memory, gpus;
    `resource`: what the cluster calls these GPUs; `of`: whose it is, in words; `profile`: for servers of it alone."""

    need: str
    free: float
    total: float
    of: str
    resource: str = ""
    profile: str = ""


@dataclass(frozen=True)
class Surroundings:
    """`hidden`: fields of profiles that are not for choosing here; `notes`: sentences that say why; `warnings`: what is
    in the way of a start, whatever is chosen."""

    rooms: tuple[Room, ...] = ()
    hidden: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
