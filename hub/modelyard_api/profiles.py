"""Profiles: the sizes and kinds that notebook servers, runs and endpoints come in.

Declared once, as a document with a schema (`Catalogue`). What somebody chose of them: `choices.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from modelyard_api.bounds import FIELDS, Amount, Bound, BytesBound, Count, CountBound, CpuBound, Strict
from modelyard_api.errors import Forbidden, InvalidChoice
from modelyard_api.names import Label
from modelyard_api.quantities import Bytes
from modelyard_api.resources import MiB


class Image(Strict):
    """An image that may be chosen."""

    name: Label
    title: str = ""
    image: Annotated[str, Field(min_length=1, description="As a container engine pulls it.")]


class Profile(Strict):
    """A size and kind."""

    name: Label
    title: Annotated[str, Field(description="Shown to people; empty: the name.")] = ""
    description: str = ""
    images: Annotated[
        tuple[Image, ...], Field(description="To choose from, the first by default; none: the usual one.")
    ] = ()
    cpu: Annotated[CpuBound, Field(description="CPUs that may be used.")]
    cpu_share: Annotated[float, Field(gt=0, le=1, description="Part of them that is sure.")] = 0.25
    memory: Annotated[BytesBound, Field(description="Memory, sure and at most; shared memory is part of it.")]
    shm: Annotated[BytesBound, Field(description="Size of /dev/shm, never above the memory.")] = Amount(
        min=64 * MiB, default=64 * MiB, max=64 * MiB, step=MiB
    )
    gpus: Annotated[CountBound, Field(description="GPUs.")] = Count(min=0, default=0, max=0, step=1)
    gpu_resource: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", description="What the cluster calls them, such as a MIG slice."
        ),
    ] = "nvidia.com/gpu"
    volume: Annotated[
        BytesBound | None, Field(description="Size of a home volume when it is made; none: the usual one.")
    ] = None
    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels of its nodes.")
    tolerations: Annotated[tuple[dict[str, Any], ...], Field(description="As in a pod.")] = ()
    runtime_class: str = ""
    priority_class: str = ""
    groups: Annotated[tuple[str, ...], Field(description="Who sees it; none: everybody.")] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cpu.min <= 0:
            raise ValueError("`cpu` must be more than 0")
        if self.memory.min < 64 * MiB:
            raise ValueError("`memory` must be at least 64Mi")
        if self.shm.min > self.memory.min or self.shm.default > self.memory.default:
            raise ValueError("`shm` is part of the memory: its `min` and `default` must not be above the memory's")
        names = [image.name for image in self.images]
        if len(set(names)) < len(names):
            raise ValueError("two images have the same name")
        return self

    @property
    def called(self) -> str:
        """What people call it."""
        return self.title or self.name

    def bound(self, field: str) -> Bound[Any] | None:
        """The bound of one of FIELDS; None where it is not this profile's to say."""
        found: Bound[Any] | None = getattr(self, field)
        return found

    @property
    def fixed(self) -> bool:
        """Whether it leaves nothing to choose."""
        bounds = [self.bound(field) for field in FIELDS]
        return len(self.images) < 2 and all(bound is None or bound.fixed for bound in bounds)


class Quota(Strict):
    """The most that one user's notebook servers may have together; what is left out is not limited."""

    groups: Annotated[tuple[str, ...], Field(description="Whose it is; none: everybody's.")] = ()
    servers: Annotated[int | None, Field(ge=1, description="Servers that run or start.")] = None
    cpu: Annotated[float | None, Field(gt=0, description="CPUs that they may use.")] = None
    memory: Annotated[Bytes | None, Field(description="Their memory.")] = None
    gpus: Annotated[int | None, Field(ge=0, description="GPUs, of all kinds.")] = None


class Catalogue(Strict):
    """All profiles, in the order in which they are shown; the first that somebody sees is their default. Of `quotas`
    the first that is for any of somebody's groups counts."""

    profiles: Annotated[tuple[Profile, ...], Field(min_length=1)]
    quotas: tuple[Quota, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [profile.name for profile in self.profiles]
        if len(set(names)) < len(names):
            raise ValueError("two profiles have the same name")
        return self

    def visible(self, groups: Collection[str]) -> tuple[Profile, ...]:
        """What a member of `groups` may choose."""
        return tuple(p for p in self.profiles if not p.groups or not set(p.groups).isdisjoint(groups))

    def quota(self, groups: Collection[str]) -> Quota | None:
        """That of a member of `groups`."""
        return next((q for q in self.quotas if not q.groups or not set(q.groups).isdisjoint(groups)), None)

    def find(self, name: str, groups: Collection[str]) -> Profile:
        """The profile of that name, or the default one. InvalidChoice, Forbidden: which are there, whose it is."""
        seen = self.visible(groups)
        if not seen:
            raise Forbidden("no profile is for any of your groups", remedy="Ask an administrator.", field="profile")
        if not name:
            return seen[0]
        profile = next((p for p in self.profiles if p.name == name), None)
        there = f"Choose {' or '.join(p.name for p in seen)}."
        if profile is None:
            raise InvalidChoice(f"there is no profile {name!r}.", remedy=there, field="profile")
        if profile not in seen:
            of = " or ".join(profile.groups)
            raise Forbidden(f"profile {name!r} is for members of {of}.", remedy=there, field="profile")
        return profile


class ProfileList(Strict):
    """The answer of `GET /profiles`."""

    items: tuple[Profile, ...]
