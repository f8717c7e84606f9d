"""The form of the spawn page as HTML: profiles in, text out. Pure; nothing is loaded from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelyard_api.bounds import FIELDS, Bound, allowed, show
from modelyard_api.errors import ModelyardError
from modelyard_api.profiles import Profile
from modelyard_api.quantities import parse_bytes
from modelyard_api.resources import MiB
from modelyard_hub.spawner.choosing.suggestion import Suggestion
from modelyard_hub.spawner.rooms.surroundings import Surroundings

TEMPLATES = Path(__file__).parents[1] / "templates"
STATIC = Path(__file__).parents[1] / "static"
"""What the package's build makes of extensions/frontend/src/spawn."""
_GiB = 1024 * MiB
_LABELS = {"cpu": "CPUs", "memory": "Memory", "shm": "Shared memory", "gpus": "GPUs", "volume": "Home volume"}
_HINTS = {
    "shm": "For data loaders with several workers, at /dev/shm. It is part of the memory, not on top of it.",
    "volume": "Your home is made with this size; it stays when the server stops.",
}


@dataclass(frozen=True)
class Shown:
    """What the form shows: the profiles, what is chosen, what was wrong with it, and what would fit."""

    profiles: tuple[Profile, ...]
    chosen: Mapping[str, Any]
    problem: ModelyardError | None = None
    fits: Suggestion | None = None


@dataclass(frozen=True)
class Row:
    """One amount of one profile. `value` is exact; `number`, `min`, `max` and `step` are in the unit that is shown."""

    field: str
    label: str
    hint: str
    unit: str
    factor: int
    value: float
    text: str
    number: str
    min: str
    max: str
    step: str
    fixed: bool
    allowed: str
    error: str


def render(shown: Shown, around: Surroundings) -> str:
    """The inside of the form."""
    names = [profile.name for profile in shown.profiles]
    wanted = shown.chosen.get("profile")
    selected = wanted if wanted in names else names[0]
    data = {
        "rooms": [asdict(room) for room in around.rooms],
        "profiles": {p.name: {"share": p.cpu_share, "resource": p.gpu_resource} for p in shown.profiles},
    }
    return str(
        _template().render(
            cards=[_card(profile, shown, around, profile.name == selected) for profile in shown.profiles],
            notes=around.notes,
            warnings=around.warnings,
            fits=shown.fits,
            fits_choice=json.dumps(dict(shown.fits.choice)) if shown.fits else "",
            data=json.dumps(data).replace("<", "\\u003c"),  # in a script element only `</` could end it
            profile_error=_error(shown.problem, "profile"),
            style=_asset("spawn.css"),
            script=_asset("spawn.js"),
        )
    )


def _card(profile: Profile, shown: Shown, around: Surroundings, selected: bool) -> dict[str, Any]:
    chosen = shown.chosen if selected else {}
    problem = shown.problem if selected else None
    there = [(field, bound) for field in FIELDS if (bound := profile.bound(field)) and field not in around.hidden]
    rows = [_row(field, bound, profile, chosen.get(field), problem) for field, bound in there if bound.max]
    brief = [_brief(field, bound) for field, bound in there if field in ("cpu", "memory", "gpus") and bound.max]
    return {
        "profile": profile,
        "selected": selected,
        "brief": brief,
        "rows": rows,
        "image": chosen.get("image"),
        "image_error": _error(problem, "image"),
    }


def _brief(field: str, bound: Bound[Any]) -> str:
    """Such as `1 to 2 CPUs`."""
    least, most = show(field, bound.min), show(field, bound.max)
    if bound.fixed:
        return most
    return f"{least.split()[0] if least.split()[1].rstrip('s') == most.split()[1].rstrip('s') else least} to {most}"


def _row(field: str, bound: Bound[Any], profile: Profile, chosen: Any, problem: ModelyardError | None) -> Row:
    unit, factor = _unit(field, bound)
    value = _value(chosen, bound)
    hint = _HINTS.get(field, "")
    if field == "cpu" and profile.cpu_share < 1:
        hint = f"{profile.cpu_share:.0%} of them are yours alone, the others while nobody else needs them."
    number, low, high, step = (_plain(amount / factor) for amount in (value, bound.min, bound.max, bound.step))
    return Row(
        field=field,
        label=_LABELS[field],
        hint=hint,
        unit=unit,
        factor=factor,
        value=value,
        text=show(field, value),
        number=number,
        min=low,
        max=high,
        step=step,
        fixed=bound.fixed,
        allowed=allowed(field, bound),
        error=_error(problem, field),
    )


def _error(problem: ModelyardError | None, field: str) -> str:
    """What is said beside a field."""
    return str(problem) if problem is not None and problem.extra.get("field") == field else ""


def _unit(field: str, bound: Bound[Any]) -> tuple[str, int]:
    if field in ("cpu", "gpus"):
        return "", 1
    whole = all(amount % (_GiB // 4) == 0 for amount in (bound.min, bound.step, bound.max))
    return ("GiB", _GiB) if whole else ("MiB", MiB)


def _value(chosen: Any, bound: Bound[Any]) -> float:
    """What was chosen, as far as it is an amount."""
    try:
        return float(parse_bytes(chosen))
    except (TypeError, ValueError):
        return float(bound.default)


def _plain(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


@cache
def _template() -> Any:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("profiles.html")


@cache
def _asset(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
