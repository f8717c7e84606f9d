"""The profiles of this installation: those of the file that the settings name, else built-in ones."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from pydantic import ValidationError

from modelyard_api.bounds import Amount, Cores, Count
from modelyard_api.errors import InvalidInput
from modelyard_api.profiles import Catalogue, Image, Profile
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.rooms.machine import Machine, fitting, whole


def catalogue(settings: Settings) -> Catalogue:
    """All profiles; InvalidInput names the file and the place in it that is wrong."""
    try:
        usual = built_in(settings)
        return read(settings.profiles, usual) if settings.profiles else Catalogue(profiles=usual)
    except ValidationError as error:
        raise InvalidInput(f"the sizes of notebook servers in the settings: {_said(error)}", remedy="") from None


def offered(settings: Settings) -> Catalogue:
    """What there is to choose from. On one machine: what fits onto it, or all of it where none are declared."""
    if settings.runtime == "kubernetes":
        return catalogue(settings)
    machine = Machine.observe()
    return fitting(catalogue(settings), machine) if settings.profiles else whole(machine)


def read(path: Path, usual: tuple[Profile, ...] = ()) -> Catalogue:
    """From a TOML file, or JSON where its name ends so. `usual`: the profiles where it has quotas alone."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return Catalogue.model_validate(raw if raw.get("profiles") or not usual else {**raw, "profiles": usual})
    except OSError as error:
        raise InvalidInput(f"the profiles cannot be read: {error}", remedy="See MODELYARD_PROFILES.") from None
    except ValidationError as error:
        raise InvalidInput(f"{path}: {_said(error)}", remedy="docs/profiles.md says what a profile is.") from None
    except ValueError as error:
        raise InvalidInput(f"{path}: {error}", remedy="docs/profiles.md says what a profile is.") from None


def _said(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)[:5])


def built_in(settings: Settings) -> tuple[Profile, ...]:
    """Small, which is what the settings say of a notebook server, twice as much, and four times; one with a GPU where
    there is an image for it. All are adjustable."""
    small, medium, large = (
        _sized(settings, factor, name, description)
        for factor, name, description in (
            (1, "small", "To look around, write code and try things out."),
            (2, "medium", "For data that fits into a few gigabytes."),
            (4, "large", "For training on all of it."),
        )
    )
    if not settings.notebook_gpu_image:
        return small, medium, large
    image = Image(name="gpu", image=settings.notebook_gpu_image)
    gpus = Count(min=1, default=1, max=4, step=1)
    changed = {"name": "gpu", "title": "GPU", "description": "For networks.", "images": (image,), "gpus": gpus,
               "gpu_resource": settings.gpu_resource}  # fmt: skip
    return small, medium, large, large.model_copy(update=changed)


def _sized(settings: Settings, factor: int, name: str, description: str) -> Profile:
    cpu, memory, shm = factor * settings.notebook_cpu_limit, factor * settings.notebook_memory, settings.notebook_shm
    return Profile(
        name=name,
        title=name.capitalize(),
        description=description,
        cpu=Cores(min=cpu / 2, default=cpu, max=cpu, step=cpu / 4),
        cpu_share=min(1.0, max(settings.notebook_cpu, 0.001) / settings.notebook_cpu_limit),
        memory=Amount(min=memory, default=memory, max=2 * memory, step=memory // 2),
        shm=Amount(min=shm, default=factor * shm, max=max(factor * shm, memory // shm * shm), step=shm),
    )
