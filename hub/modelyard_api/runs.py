"""Runs: a notebook or a scoring job executed once, to its end (`RunSpec`), and what is seen of it (`RunStatus`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, JsonValue, model_validator

from modelyard_api.endpoints import Spec
from modelyard_api.names import Label
from modelyard_api.resources import MiB, Resources

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, in hexadecimal digits.")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", examples=["9f2c1d77a0b3e854"])]
_SECRET = r"^([a-z0-9-]{1,63}/)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NEED_FAILED = "NeedFailed"
"""The reason of a run of which another one, that it needs, did not succeed."""
CANCELLED = "Cancelled"
MOST_SHARDS = 100
CANNOT_SCORE = "CannotScore"
"""The reason of a scoring that no further attempt would help: its data, output or model are not as they must be."""


class RunState(StrEnum):
    """Where a run is in its life; it ends in one of the last three, and never leaves it."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in (RunState.succeeded, RunState.failed, RunState.cancelled)


class SecretUse(Spec):
    """A named secret, given to the run as a variable or as a file (whose path `env` then is told, where it is set)."""

    secret: Annotated[str, Field(pattern=_SECRET, examples=["warehouse", "team/warehouse"])]
    env: Variable | None = None
    file: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)] = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.env is None and self.file is None:
            raise ValueError(f"the secret {self.secret!r} goes neither to a variable (env) nor to a file")
        if self.env is not None and self.env.startswith("MODELYARD_"):
            raise ValueError(f"env: {self.env} is not yours to set; choose another variable")
        return self

    def key(self, owner: str) -> tuple[str, str]:
        """Owner and name of the secret, for a run of `owner`."""
        whose, _, name = self.secret.rpartition("/")
        return whose or owner, name


class GitState(Spec):
    """The work tree that a notebook was taken from. `dirty`: what was taken is not what was committed."""

    commit: str
    dirty: bool = False


class InputFile(Spec):
    """A file of a snapshot; `path` relative to its folder."""

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Digest


class Declared(Spec):
    """A parameter of a notebook's `parameters` cell, as papermill's inspection tells it; `type` empty: unknown."""

    name: str
    type: str = ""
    default: Annotated[str, Field(description="As it is written in the cell.")] = ""
    help: str = ""


class NotebookWork(Spec):
    """A notebook for papermill. `snapshot`: digest of the snapshot that has it, uploaded before.

    `path`: of the notebook in the snapshot. `declared`: its parameters; left out: nobody has looked, so that the run
    itself checks what it is given.
    """

    path: Annotated[str, Field(min_length=1, max_length=1024)]
    snapshot: Digest
    files: tuple[InputFile, ...] = ()
    declared: tuple[Declared, ...] | None = None
    kernel: str = ""
    git: GitState | None = None


class ScoreWork(Spec):
    """A registered model's version (or `models:/name/version`) that scores `data` into `output`."""

    model: str
    data: str
    output: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    shards: Annotated[
        int, Field(ge=1, le=MOST_SHARDS, description="Processes that share the rows, each of its size.")
    ] = 1


class ResultOf(Spec):
    """What another run recorded by `yard.record`."""

    run: RunId
    result: str


class RunSpec(Spec):
    """What is to be run, and how. Nothing of it changes once it was submitted."""

    kind: Literal["notebook", "score"] = "notebook"
    name: Annotated[str, Field(max_length=200, description="What people call it; empty: the notebook's name.")] = ""
    notebook: NotebookWork | None = None
    score: ScoreWork | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    profile: Annotated[str, Field(description="Whose default size it has; empty: the first, or `resources`.")] = ""
    resources: Resources | None = None
    shm: Annotated[int | None, Field(ge=MiB, description="Bytes of /dev/shm, part of the memory.")] = None
    environment: dict[Variable, str] = Field(default_factory=dict)
    secrets: tuple[SecretUse, ...] = ()
    timeout: Annotated[float | None, Field(gt=0, description="Seconds for each attempt.")] = None
    retries: Annotated[int, Field(ge=0, le=20, description="Further attempts, after one that failed.")] = 0
    backoff: Annotated[float, Field(ge=0, le=86400, description="Seconds before the first; then twice as long.")] = 30
    priority: Annotated[int, Field(ge=-100, le=100, description="The higher one starts first.")] = 0
    needs: Annotated[tuple[RunId, ...], Field(description="Runs that must have succeeded before it starts.")] = ()
    results_of: Annotated[
        dict[str, ResultOf], Field(description="Parameters that are recorded results of runs that it needs.")
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for kind in ("notebook", "score"):
            given = getattr(self, kind) is not None
            if given != (self.kind == kind):
                raise ValueError(f"a run of kind {self.kind!r} has {'no place for' if given else 'no'} `{kind}`")
        for name, value in self.environment.items():
            if "\0" in value:
                raise ValueError(f"environment.{name}: a value cannot hold NUL")
        for parameter, source in self.results_of.items():
            if source.run not in self.needs:
                raise ValueError(f"results_of.{parameter}: run {source.run} is not among `needs`")
            if parameter in self.parameters:
                raise ValueError(f"results_of.{parameter}: `parameters` gives it too")
        return self

    @property
    def shards(self) -> int:
        """Processes that do it together; 0 where it is one like any other."""
        return self.score.shards if self.score is not None and self.score.shards > 1 else 0

    @property
    def takes_a_file(self) -> bool:
        """Whether it is a scoring of a file that is yet to come: `{file}` or `{stem}` is not filled in."""
        if self.score is None:
            return False
        query = self.score.options.get("sql")  # may hold braces of its own
        texts = (self.score.output, "" if query else self.score.data)
        return any(word in text for word in ("{file}", "{stem}") for text in texts)

    @property
    def called(self) -> str:
        """What people call it."""
        if self.name:
            return self.name
        if self.notebook is not None:
            return self.notebook.path.rsplit("/", 1)[-1].removesuffix(".ipynb")
        return self.score.model if self.score is not None else ""


class RunWrite(Spec):
    """The body of `POST /runs`."""

    spec: RunSpec
    owner: Annotated[Label | None, Field(description="A group of yours; left out: you.")] = None
    idempotency_key: Annotated[
        str | None, Field(min_length=1, max_length=200, description="Of two submits with one key, one is a run.")
    ] = None


class Progress(BaseModel):
    """How far it is. `cell` of `cells` runs, or ran last, counted from 1; seconds; `expected` from earlier runs.

    Of a scoring: `rows` that are done, of all its shards, with those `rejected`, of `total` where that is known; `rate`
    rows a second; `shards_done` of `shards`.
    """

    cell: int = 0
    cells: int = 0
    rows: int | None = None
    rejected: int = 0
    total: int | None = None
    rate: float | None = None
    shards: int = 0
    shards_done: int = 0
    last_output: str = ""
    elapsed: float | None = None
    expected: float | None = None


def rows_in_words(far: Progress) -> str:
    """How far a scoring is, in one line."""
    rows, rate = far.rows or 0, far.rate or 0.0
    of = f" of {far.total:,}" if far.total else ""
    shards = f", {far.shards_done} of {far.shards} shards done" if far.shards else ""
    bad = f", {far.rejected:,} rejected" if far.rejected else ""
    left = f", about {(far.total - rows) / rate:,.0f} s left" if far.total and rate else ""
    return f"{rows:,}{of} rows{shards}, {rate:,.0f} a second{bad}{left}"


class Failure(BaseModel):
    """Where a notebook failed: the cell (counted from 1), its source, what was raised."""

    cell: int
    source: str = ""
    error: str = ""
    traceback: str = ""


class Attempt(BaseModel):
    """One of a run's attempts that has ended."""

    number: int
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    ended: datetime | None = None


class RunStatus(BaseModel):
    """What is observed. `reason` is a word and `message` a sentence: why it waits, or how it ended.

    `place` in the queue, from 1. `attempt` counts from 1; 0 before the first. `peak_memory` in bytes.
    """

    state: RunState = RunState.queued
    reason: str = ""
    message: str = ""
    place: int | None = None
    attempt: int = 0
    attempts: tuple[Attempt, ...] = ()
    progress: Progress = Field(default_factory=Progress)
    results: dict[str, JsonValue] = Field(default_factory=dict)
    failure: Failure | None = None
    log_tail: tuple[str, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None
    peak_memory: int | None = None
    mlflow_run_id: str = ""


class Run(BaseModel):
    """A run: what was submitted, by whom and by what, and how far it is. `created_by`: JupyterHub's name of a user."""

    id: RunId
    owner: Label
    created_by: str
    created_at: datetime
    idempotency_key: str | None = None
    schedule: Annotated[str | None, Field(description="<owner>/<name> of the schedule that made it.")] = None
    due: datetime | None = None
    group: Annotated[str | None, Field(description="The sweep or pipeline that it is a member of.")] = None
    member: str | None = None
    cancelling: bool = False
    spec: RunSpec
    status: RunStatus = RunStatus()

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.status.state.ended


class RunList(BaseModel):
    """The answer of `GET /runs`: newest first."""

    items: list[Run]


class RunLog(BaseModel):
    """The answer of `GET /runs/{id}/logs`: the last lines of an attempt."""

    attempt: int
    lines: tuple[str, ...]


class SnapshotLimits(BaseModel):
    """The answer of `GET /snapshots`: bytes of a snapshot, packed."""

    largest: int


class RunReport(BaseModel):
    """What a run's own process tells, in `PROGRESS` of its output: how far it is, what it recorded, how it failed."""

    progress: Progress = Progress()
    results: dict[str, JsonValue] = Field(default_factory=dict)
    failure: Failure | None = None
    reason: str = ""
    message: str = ""
    peak_memory: int | None = None
    mlflow_run_id: str = ""


PROGRESS = "live/progress.json"
"""A `RunReport`, below a task's results."""
NOTEBOOK = "live/notebook.ipynb"
"""The output notebook, as far as it is."""


RUNS = "runs"
"""Below the artifacts' root: a folder for each owner of runs."""
SNAPSHOT = "snapshot.zip"
"""The one file of a snapshot's folder."""


def snapshots_folder(owner: str) -> str:
    """Where an owner's snapshots lie below the artifacts' root."""
    return f"{RUNS}/{owner}/input"


def snapshot_folder(owner: str, digest: str) -> str:
    """Where a snapshot lies below the artifacts' root: of an owner, shared by all runs of the same content."""
    return f"{snapshots_folder(owner)}/{digest}"


def run_folder(owner: str, run_id: str) -> str:
    """Where all that a run left lies below the artifacts' root."""
    return f"{RUNS}/{owner}/{run_id}"


def attempt_folder(owner: str, run_id: str, attempt: int) -> str:
    """Where an attempt's output lies below the artifacts' root."""
    return f"{run_folder(owner, run_id)}/{attempt}"


def task_name(run_id: str, attempt: int) -> str:
    """The task of an attempt: the same name whoever asks, so that there is one."""
    return f"run-{run_id}-{attempt}"


def values_of(spec: RunSpec, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of a run, those included that are `results` of others, by run and name. KeyError names none."""
    found = {name: results[source.run][source.result] for name, source in spec.results_of.items()}
    return {**spec.parameters, **found}
