"""Schedules: a cron line with a time zone that creates runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

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


class OnFiles(Strict):
    """New files below a location start a run, each file once. One counts that was unchanged for `settle` seconds.

    Files that were there when the schedule was made are not new, nor is one that is written anew, unless `changed`.
    Names that begin with `_` or `.` are passed over.
    """

    location: Annotated[
        str,
        Field(min_length=1, max_length=1024, description="An absolute path, or s3://bucket/key, listed with the AWS_* "
              "variables of the run: its secrets and its environment.", examples=["s3://lake/incoming"]),
    ]  # fmt: skip
    pattern: Annotated[str, Field(min_length=1, max_length=200, description="Of their names.")] = "*"
    parameter: Annotated[
        str, Field(min_length=1, description="Parameter of the notebook that gets the list of their locations.")
    ] = "files"
    settle: Annotated[float, Field(ge=0, le=86400)] = 10.0
    changed: bool = False
    at_most: Annotated[int, Field(ge=1, le=1000, description="Files for one run; the rest is for the next one.")] = 1000


class OnDrift(Strict):
    """Drift in the newest scoring of a model starts a run: a column whose index is above `threshold`.

    That scoring ended after the schedule's newest run was made, whatever started that one, and `cool_down` seconds have
    passed since.
    """

    model: Annotated[str, Field(min_length=1, max_length=200, examples=["ada.churn"])]
    threshold: Annotated[float, Field(gt=0, description="Population stability index.")] = 0.25
    cool_down: Annotated[float, Field(ge=0, le=366 * 86400)] = 86400.0
    parameter: Annotated[
        str | None, Field(description="Parameter that gets those columns with their indexes, the worst first.")
    ] = None


class ScheduleSpec(Strict):
    """When, and what. `deadline`: seconds after a due time in which its run may start. Without `cron` it has no due
    times: `on_version`, `on_files`, `on_drift`, a hook or somebody starts its runs.

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
    on_files: OnFiles | None = None
    on_drift: OnDrift | None = None
    description: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.run.needs:
            raise ValueError("run.needs: what a schedule starts needs no other runs")
        if self.version_parameter is not None and self.on_version is None:
            raise ValueError("version_parameter: there is no `on_version`")
        if self.on_files is not None and self.run.score is not None and self.on_files.at_most != 1:
            raise ValueError("on_files.at_most: a scoring takes one file at a time, as {file}")
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


class Trouble(Strict):
    """What keeps a trigger from starting runs now: `reason` is a word, `message` a sentence, `since` when it is so."""

    trigger: Literal["files", "drift", "version"]
    reason: str
    message: str
    since: datetime


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
    troubles: Annotated[tuple[Trouble, ...], Field(description="What keeps its triggers from starting runs now.")] = ()
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


class NewFile(Strict):
    """A file that a schedule's run is for; `digest` stands for it, `location` is where it is."""

    digest: str
    location: str


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
