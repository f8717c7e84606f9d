"""What somebody chose of the profiles, and the sizes that it comes to.

A choice becomes sizes here alone, so that a form, the REST API and the library are held to the same bounds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Self

from pydantic import Field, ValidationError

from modelyard_api.bounds import FIELDS, Strict, allowed, show
from modelyard_api.errors import InvalidChoice
from modelyard_api.profiles import Catalogue, Profile
from modelyard_api.quantities import Bytes
from modelyard_api.resources import Resources


class Choice(Strict):
    """What somebody chose; what is left out is the profile's default. Bytes as a number or such as `4Gi`."""

    profile: str = ""
    image: str | None = None
    cpu: float | None = None
    memory: Bytes | None = None
    shm: Bytes | None = None
    gpus: int | None = None
    volume: Bytes | None = None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """From a form or a request; InvalidChoice names the field that means nothing."""
        try:
            return cls.model_validate(dict(raw))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = str(first["loc"][0]) if first["loc"] else ""
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise InvalidChoice(
                    f"there is no option {field!r}.", remedy=f"Options are {known}.", field=""
                ) from None
            said = first["msg"].removeprefix("Value error, ")
            raise InvalidChoice(f"{field}: {said}.", remedy="", field=field) from None


class Sizes(Strict):
    """What a choice comes to. `cpu` may be used, `cpu_sure` is reserved; `shm` is part of `memory`; bytes."""

    profile: str
    image: str = ""
    cpu: float
    cpu_sure: float
    memory: int
    shm: int
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    volume: int | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    runtime_class: str = ""
    priority_class: str = ""

    @property
    def resources(self) -> Resources:
        """For a run, or a replica of an endpoint."""
        return Resources(cpu=self.cpu, memory=self.memory, gpu=self.gpus)


def choose(catalogue: Catalogue, choice: Choice, groups: Collection[str]) -> Sizes:
    """The sizes of a choice by a member of `groups`; InvalidChoice, Forbidden: what is wrong, in which field."""
    return resolve(catalogue.find(choice.profile, groups), choice)


def resolve(profile: Profile, choice: Choice) -> Sizes:
    """The sizes; InvalidChoice names the field and what is allowed.

    Shared memory that nobody chose gets smaller with the memory; one that was chosen above it is refused.
    """
    found = {field: _amount(profile, field, getattr(choice, field)) for field in FIELDS}
    if found["shm"] > found["memory"]:
        if choice.shm is not None:
            raise _refused(
                "shm", f"{show('shm', found['shm'])} are more than the memory, {show('memory', found['memory'])}",
                "Shared memory is part of the memory: choose less of it, or more memory.",
            )  # fmt: skip
        found["shm"] = profile.shm.at_most(found["memory"])
    return Sizes(
        profile=profile.name,
        image=_image(profile, choice.image),
        cpu_sure=round(found["cpu"] * profile.cpu_share, 3),
        gpu_resource=profile.gpu_resource,
        node_selector=profile.node_selector,
        tolerations=profile.tolerations,
        runtime_class=profile.runtime_class,
        priority_class=profile.priority_class,
        **found,
    )


def _amount(profile: Profile, field: str, chosen: float | None) -> Any:
    bound = profile.bound(field)
    if chosen is None:
        return None if bound is None else bound.default
    if bound is None:
        raise _refused(field, f"profile {profile.name!r} has none to choose", "Leave it out.")
    if not bound.min <= chosen <= bound.max or not bound.on_step(chosen):
        raise _refused(
            field,
            f"{show(field, chosen)} is not what profile {profile.name!r} allows",
            f"Choose {allowed(field, bound)}.",
        )
    return chosen


def _image(profile: Profile, chosen: str | None) -> str:
    if chosen is None:
        return profile.images[0].image if profile.images else ""
    names = {image.name: image.image for image in profile.images}
    if chosen not in names:
        there = f"Choose {' or '.join(names)}." if names else "Leave it out."
        raise _refused("image", f"profile {profile.name!r} has no image {chosen!r}", there)
    return names[chosen]


def _refused(field: str, what: str, remedy: str) -> InvalidChoice:
    return InvalidChoice(f"{field}: {what}.", remedy=remedy, field=field)
