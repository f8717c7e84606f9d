"""Notebook servers that run: what they have, and what they may get without being started anew."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelyard_api.bounds import Strict
from modelyard_api.quantities import Bytes


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
