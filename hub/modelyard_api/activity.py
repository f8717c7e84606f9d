"""What a notebook server says of the work in it, and what it is told: its side is `modelyard.activity`, the other the
hub's culler. Times are seconds since 1970 by the server's own clock; only differences to `now` mean anything elsewhere.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Use(BaseModel):
    """What the server and all that it started use of the machine, now and at most since it started. Bytes and CPUs."""

    model_config = ConfigDict(extra="ignore")

    cpu: float = 0.0
    cpu_peak: float = 0.0
    memory: int = 0
    memory_peak: int = 0
    shm: int = 0
    shm_peak: int = 0
    cpu_limit: float | None = None
    memory_limit: int | None = None
    shm_limit: int | None = None


class Activity(BaseModel):
    """`last`: when something was last at work. `busy`: what is at work now, in words; empty: nothing. `keep_until`:
    until when its user wants it kept, 0 for no wish. `ends_at`: when it will be ended if nothing happens, 0 where it
    will not."""

    model_config = ConfigDict(extra="ignore")

    now: float
    started: float
    last: float
    busy: tuple[str, ...] = ()
    keep_until: float = 0.0
    ends_at: float = 0.0
    keep: float = Field(0.0, description="Seconds for which it may be kept at a time; 0: not.")
    gpus: int = 0
    gpu_last: float = Field(0.0, description="When a GPU was last used; the start, where none was.")
    use: Use = Use()


class Countdown(BaseModel):
    """To a server that will be ended in `seconds` unless something happens; 0: it is not after all. `keep`: seconds for
    which its user may have it kept, 0: not."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(ge=0)
    keep: float = Field(0.0, ge=0)


class Peaks(BaseModel):
    """The most that a session of a server has used so far. Bytes and CPUs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    cpu: float = Field(0.0, ge=0, le=1e6)
    memory: int = Field(0, ge=0, le=1 << 60)
    shm: int = Field(0, ge=0, le=1 << 60)

    def grown(self, before: Peaks) -> bool:
        """Whether something of it is more by a tenth."""
        return any(getattr(self, name) > 1.1 * getattr(before, name) for name in type(self).model_fields)
