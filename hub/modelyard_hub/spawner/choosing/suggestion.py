"""Which size would have done for a server's last sessions. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_api.bounds import Bound, show
from modelyard_api.profiles import Profile
from modelyard_hub.spawner.choosing.used import Session

ROOM = 1.3
"""How much more than what was used is asked for."""
FULL = 0.9
"""Part of a size from which on it was nearly full."""
WORTH = 0.7
"""Part of the size there was: what is smaller than that is worth saying."""
SHORT = 64 << 20
"""Bytes below which a session has not done anything to judge by."""
_GiB = 1 << 30


@dataclass(frozen=True)
class Suggestion:
    """`text` for people; `choice`: the profile and the amounts of it that are to be chosen."""

    text: str
    profile: str
    choice: Mapping[str, float]


def suggest(profiles: Sequence[Profile], sessions: Sequence[Session]) -> Suggestion | None:
    """The smallest of these profiles that has room for what the sessions used; None where the last one's size fits."""
    judged = [one for one in sessions if one.peaks.memory >= SHORT]
    if not judged:
        return None
    last = judged[-1]
    peak = {name: max(getattr(one.peaks, name) for one in judged) for name in ("cpu", "memory", "shm")}
    full = [name for name in ("memory", "shm") if peak[name] >= FULL * getattr(last, name) > 0]
    found = [fit for profile in profiles if (fit := _fit(profile, _needs(last, peak, full), last))]
    if not found:
        return None
    best = min(found, key=lambda fit: _cost(fit[1]["cpu"], fit[1]["memory"]))
    profile, amounts = best
    smaller = _cost(amounts["cpu"], amounts["memory"]) <= WORTH * _cost(last.cpu, last.memory)
    if not full and not smaller:
        return None
    choice = {name: amount for name, amount in amounts.items() if not _bound(profile, name).fixed}
    return Suggestion(_text(judged, peak, full, profile, amounts), profile.name, choice)


def _needs(last: Session, peak: Mapping[str, float], full: Sequence[str]) -> dict[str, float]:
    """What was at its limit may have wanted more than that; CPUs are slow only, and most work takes all there are."""
    needs = {name: (2 * getattr(last, name) if name in full else ROOM * peak[name]) for name in ("memory", "shm")}
    return {**needs, "cpu": ROOM * peak["cpu"] if peak["cpu"] < last.cpu / 2 else last.cpu}


def _fit(profile: Profile, needs: Mapping[str, float], last: Session) -> tuple[Profile, dict[str, float]] | None:
    if not profile.gpus.min <= last.gpus <= profile.gpus.max:
        return None
    amounts = {name: _least(_bound(profile, name), need) for name, need in needs.items()}
    if any(amount is None for amount in amounts.values()):
        return None
    fit = {name: amount for name, amount in amounts.items() if amount is not None}
    if fit["shm"] > fit["memory"]:
        return None
    return profile, fit


def _bound(profile: Profile, name: str) -> Bound[Any]:
    found = profile.bound(name)
    assert found is not None  # only a volume may be nobody's to say
    return found


def _least(bound: Bound[Any], need: float) -> float | None:
    """The smallest amount that may be chosen and is enough."""
    if need > bound.max:
        return None
    steps = max(0, math.ceil((need - bound.min) / bound.step - 1e-6))
    return float(bound.min + steps * bound.step)


def _cost(cpu: float, memory: float) -> float:
    return max(cpu, memory / (4 * _GiB))


def _text(
    judged: Sequence[Session],
    peak: Mapping[str, float],
    full: Sequence[str],
    profile: Profile,
    amounts: Mapping[str, float],
) -> str:
    last = judged[-1]
    when = "Last time" if len(judged) == 1 else f"The last {len(judged)} times at most"
    used = f"{_of('memory', peak, last)} of memory, {_of('cpu', peak, last)}"
    if "shm" in full:
        used += f", {_of('shm', peak, last)} of shared memory"
    short = ": nearly full" if full else ""
    sizes = f"{show('cpu', amounts['cpu'])} and {show('memory', amounts['memory'])}"
    if "shm" in full:
        sizes += f", of which {show('shm', amounts['shm'])} shared"
    return f"{when}: {used}{short}. {profile.called} with {sizes} {'has room' if full else 'would do'}."


def _of(name: str, peak: Mapping[str, float], last: Session) -> str:
    """Such as `3.1 of 8 GiB`."""
    used, had = show(name, _rounded(name, peak[name])), show(name, getattr(last, name))
    number, unit = used.split()
    return f"{number if had.split()[1].rstrip('s') == unit.rstrip('s') else used} of {had}"


def _rounded(name: str, amount: float) -> float:
    """To two digits: more would mean nothing."""
    if name == "cpu":
        return round(amount, 1)
    unit = next(1 << shift for shift in (40, 30, 20, 10, 0) if amount >= 1 << shift or shift == 0)
    return round(amount / unit, 1) * unit
