"""Notebook servers: what they ask for, what they wait for, and what they may get without being started anew."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from modelyard_api.bounds import Strict, show
from modelyard_api.quantities import Bytes

State = Literal["running", "starting", "stopping", "failed", "stopped"]


class ServerSpec(BaseModel):
    """The profile, and the sizes that were chosen of it; bytes. Empty where the profile is not offered any more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    profile: str = ""
    cpu: float | None = None
    memory: int | None = None
    shm: int | None = None
    gpus: int | None = None


class ServerStatus(BaseModel):
    """`since`: when it was asked for, started or failed. From `phase` on: why one that starts is not ready yet, or why
    one failed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: State
    since: datetime | None = None
    url: Annotated[str, Field(description="Path of a running one.")] = ""
    phase: Annotated[str, Field(description="What it waits for: `docs/kubernetes.md` lists the phases.")] = ""
    reason: Annotated[str, Field(description="A word for programs.")] = ""
    cause: Annotated[str, Field(description="Why it is not ready, in a sentence.")] = ""
    remedy: str = ""
    evidence: Annotated[tuple[str, ...], Field(description="What the cluster said.")] = ()
    place: Annotated[int | None, Field(description="In the queue.")] = None
    of: Annotated[int | None, Field(description="How many stand there.")] = None
    seconds_left: Annotated[float | None, Field(description="Until it is ready, as others' starts tell.")] = None


class Server(BaseModel):
    """A notebook server. `name`: empty for its user's default one."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    owner: str
    name: str = ""
    spec: ServerSpec = ServerSpec()
    status: ServerStatus

    @property
    def title(self) -> str:
        """`ada`, or `ada/gpu`."""
        return f"{self.owner}/{self.name}" if self.name else self.owner

    @property
    def size(self) -> str:
        """Such as `2 CPUs, 4 GiB`."""
        given = {"cpu": self.spec.cpu, "memory": self.spec.memory, "gpus": self.spec.gpus or None}
        return ", ".join(show(field, amount) for field, amount in given.items() if amount is not None)

    def __repr__(self) -> str:
        profile = f"{self.spec.profile}: {self.size}" if self.spec.profile and self.size else self.spec.profile
        said = (self.title, self.status.state, profile, f"{self.status.cause} {self.status.remedy}".strip())
        return f"Server({' · '.join(part for part in said if part)})"

    __str__ = __repr__


class ServerList(BaseModel):
    """The answer of `GET /servers`."""

    items: tuple[Server, ...]


class ServerSize(Strict):
    """What a server has: CPUs and bytes. `shm` is part of `memory`."""

    user: str
    server: Annotated[str, Field(description="Its name; empty: the default one.")] = ""
    profile: str
    cpu: float
    memory: int
    shm: int
    gpus: int = 0


class ResizeOrder(Strict):
    """What a server is to have, while it runs; what is left out stays as it is. The profile's bounds hold."""

    cpu: Annotated[float | None, Field(gt=0, description="CPUs that may be used.")] = None
    memory: Annotated[Bytes | None, Field(description="Bytes, or such as `4Gi`.")] = None
