"""Schedules: a cron line with a time zone that creates runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from modelyard_api.bounds import Strict
from modelyard_api.runs import RunSpec

SHOWN = 5
"""How many of the next times are shown."""
KEPT = 20
"""How many of the due times without a run are kept."""


class CatchUp(StrEnum):
    """What becomes of due times that had no run in time: they are skipped, the last of them has one, or all have."""

    skip = "skip"
    last = "last"
    all = "all"


class ScheduleSpec(Strict):
    """When, and what. `deadline`: seconds after a due time in which its run may start. Without `cron` it has no due
    times: `on_version`, a hook or somebody starts its runs.

    `overlap`: whether a run starts while the one before it has not ended; where it may not, due times meanwhile are
    such that had no run in time.
    """

    cron: Annotated[str | None, Field(min_length=1, max_length=200, examples=["30 2 * * MON-FRI", "@daily"])] = None
    time_zone: Annotated[str, Field(min_length=1, max_length=64, examples=["Europe/Berlin"])] = "UTC"
    run: RunSpec
    catch_up: CatchUp = CatchUp.last
    overlap: bool = False
    deadline: Annotated[float | None, Field(ge=1, le=366 * 86400)] = None
    paused: bool = False
    on_version: Annotated[
        str | None,
        Field(max_length=200, description="Registered model whose new versions start a run.", examples=["ada.churn"]),
    ] = None
    version_parameter: Annotated[str | None, Field(description="Parameter that gets such a version's number.")] = None
    since_version: Annotated[
        int | None, Field(ge=0, description="The version after which they are new; left out: the newest one now.")
    ] = None
    description: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.run.needs:
            raise ValueError("run.needs: what a schedule starts needs no other runs")
        if self.version_parameter is not None and self.on_version is None:
            raise ValueError("version_parameter: there is no `on_version`")
        return self


class ScheduleWrite(Strict):
    """The body of a PUT."""

    spec: ScheduleSpec


class Skipped(Strict):
    """A due time that has no run, and why: `reason` is a word, `message` a sentence. `count` of them, the last at
    `due`."""

    due: datetime
    count: int = 1
    reason: str
    message: str


class LastRun(Strict):
    """The newest run of a schedule."""

    id: str
    due: datetime | None
    state: str


class Due(Strict):
    """What a cron line says: in words, and the next times in its zone."""

    cron: str
    time_zone: str
    words: str
    next: tuple[datetime, ...]


class ScheduleStatus(Strict):
    """What is observed. `next`: the next due times; none while it is paused. `words`: what the cron line says.
    `cursor`: until when all is decided."""

    words: str = ""
    next: tuple[datetime, ...] = ()
    last: LastRun | None = None
    skipped: Annotated[tuple[Skipped, ...], Field(description="The latest due times without a run, newest first.")] = ()
    cursor: datetime | None = None


class Schedule(Strict):
    """A schedule. `runs_as`: JupyterHub's name of who wrote it last, as whom its runs run."""

    owner: str
    name: str
    generation: int
    runs_as: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    spec: ScheduleSpec
    status: ScheduleStatus = ScheduleStatus()

    @property
    def etag(self) -> str:
        """Of the desired state."""
        return f'"{self.generation}"'

    @property
    def key(self) -> str:
        """As runs name it."""
        return f"{self.owner}/{self.name}"


class ScheduleList(Strict):
    """By owner and name."""

    items: tuple[Schedule, ...]


class StartNow(Strict):
    """A run besides the due times. `parameters` are given beside those of the schedule."""

    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    idempotency_key: Annotated[
        str | None, Field(min_length=1, max_length=150, description="Of two with one key, one is a run.")
    ] = None


class Hook(Strict):
    """A URL that starts a run of a schedule when it is posted to, by whoever has it."""

    url: str


class Started(Strict):
    """What a call of a hook started."""

    run: str
