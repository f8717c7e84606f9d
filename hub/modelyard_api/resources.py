"""Sizes: what a workload may use, and how many of it there are."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MiB = 1024 * 1024


class Resources(BaseModel):
    """Limits of one replica: `cpu` in cores, `memory` in bytes, `gpu` in devices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: Annotated[float, Field(gt=0, le=256)] = 1.0
    memory: Annotated[int, Field(ge=64 * MiB, le=4 * 1024 * 1024 * MiB)] = 1024 * MiB
    gpu: Annotated[int, Field(ge=0, le=16)] = 0


class Scaling(BaseModel):
    """How many replicas a revision that gets traffic has: from `min` to `max`; equal means fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Annotated[int, Field(ge=1, le=64)] = 1
    max: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"scaling.min ({self.min}) is greater than scaling.max ({self.max})")
        return self
