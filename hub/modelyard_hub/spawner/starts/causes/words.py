"""Amounts as people say them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SUFFIXES = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)")


def number(quantity: object) -> float:
    """A quantity of Kubernetes, such as 500m or 2Gi; ValueError where it is none."""
    found = _QUANTITY.fullmatch(str(quantity).strip())
    if not found or found[2] not in _SUFFIXES:
        raise ValueError(f"{quantity!r} is no quantity")
    return float(found[1]) * _SUFFIXES[found[2]]


def size(count: float) -> str:
    """Bytes: 512 MiB, 1.5 GiB."""
    for unit, name in ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB")):
        if count >= unit:
            return f"{_plain(count / unit)} {name}"
    return f"{_plain(count)} bytes"


def amount(resource: str, count: float) -> str:
    """How much of a resource: 8 CPUs, 64 GiB of memory, 1 GPU. Takes a quota's names too, such as limits.memory."""
    name = resource.removeprefix("requests.").removeprefix("limits.")
    if name == "cpu":
        return f"{_plain(count)} CPU{'' if count == 1 else 's'}"
    if name in ("memory", "storage", "ephemeral-storage"):
        kind = {"memory": "memory", "storage": "storage", "ephemeral-storage": "local disk"}[name]
        return f"{size(count)} of {kind}"
    if name == "gpu":
        return f"{_plain(count)} GPU{'' if count == 1 else 's'}"
    if name.endswith("/gpu") or "gpu" in name.rpartition("/")[2]:
        return f"{_plain(count)} GPU{'' if count == 1 else 's'} ({name})"
    word = {"persistentvolumeclaims": "volume", "pods": "server"}.get(name)
    return f"{_plain(count)} {word}{'' if count == 1 else 's'}" if word else f"{_plain(count)} {name}"


def bare(resource: str, count: float) -> str:
    """How much, where the resource is named beside it: 1.4, 21.3 GiB."""
    name = resource.removeprefix("requests.").removeprefix("limits.")
    return size(count) if name in ("memory", "storage", "ephemeral-storage") else _plain(count)


def duration(seconds: float) -> str:
    """8 s, 2 min 5 s, 1 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def joined(parts: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = list(parts)
    return f"{', '.join(first)} and {last}" if first else last


def _plain(count: float) -> str:
    return f"{count:.1f}".removesuffix(".0") if abs(count) < 100 else f"{count:.0f}"
