"""One's own quota: what the servers of one user may have together, as rooms. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelyard_api.bounds import show
from modelyard_api.choices import Sizes
from modelyard_api.errors import InvalidChoice
from modelyard_api.profiles import Quota
from modelyard_hub.spawner.rooms.surroundings import Room

OF = "your quota"
_FIELDS = ("cpu", "memory", "gpus")


def most(quota: Quota | None) -> dict[str, float]:
    """What is limited, by `Room.need`."""
    limits = {} if quota is None else {need: getattr(quota, need) for need in ("servers", *_FIELDS)}
    return {need: float(limit) for need, limit in limits.items() if limit is not None}


def takes(sizes: Sizes | None) -> dict[str, float]:
    """What a server has of it."""
    amounts = {} if sizes is None else {need: float(getattr(sizes, need)) for need in _FIELDS}
    return {"servers": 1.0, **amounts}


def rooms(limits: Mapping[str, float], others: Iterable[Mapping[str, float]], user: str = "") -> tuple[Room, ...]:
    """What is left beside one's `others`. `user`: whose it is, where rooms of several are together."""
    used: dict[str, float] = {}
    for other in others:
        for need, count in other.items():
            used[need] = used.get(need, 0.0) + count
    return tuple(Room(n, max(0.0, limit - used.get(n, 0.0)), limit, OF, user) for n, limit in limits.items())


def check(quota: Quota | None, sizes: Sizes) -> None:
    """InvalidChoice where a server alone is more than may be had."""
    limits, wanted = most(quota), takes(sizes)
    for field in _FIELDS:
        if field in limits and wanted[field] > limits[field]:
            raise InvalidChoice(
                f"{field}: {show(field, wanted[field])} is more than your quota.",
                remedy=f"Your servers may have {show(field, limits[field])} together.",
                field=field,
            )
