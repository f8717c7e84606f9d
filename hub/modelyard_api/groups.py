"""Groups of runs: sweeps over parameters, and pipelines whose members need others."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, JsonValue, model_validator

from modelyard_api.bounds import Strict
from modelyard_api.names import Label
from modelyard_api.runs import RunId, RunSpec, RunState

LARGEST = 1000
"""Members of a group."""
Member = Annotated[str, Field(min_length=1, max_length=63, examples=["depth=3, rate=0.1"])]


class ResultFrom(Strict):
    """What another member recorded by `yard.record`."""

    member: Member
    result: str


class MemberWrite(Strict):
    """A run of a group. `spec`: by default the group's `run`; `parameters` are given beside those of it.

    `results_of`: parameters that are results of other members, which it needs thereby.
    """

    member: Member
    spec: RunSpec | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    needs: tuple[Member, ...] = ()
    results_of: dict[str, ResultFrom] = Field(default_factory=dict)

    @property
    def all_needs(self) -> tuple[str, ...]:
        """Members that must have succeeded before it starts."""
        return tuple(dict.fromkeys((*self.needs, *(source.member for source in self.results_of.values()))))


class GroupWrite(Strict):
    """The body of `POST /groups`: all of it is queued, or none. `parallel`: members at work at once, 0 any number."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Literal["sweep", "pipeline"] = "sweep"
    owner: Annotated[Label | None, Field(description="A group of yours; left out: you.")] = None
    run: Annotated[RunSpec | None, Field(description="What members run that have no `spec`.")] = None
    members: Annotated[tuple[MemberWrite, ...], Field(min_length=1, max_length=LARGEST)]
    parallel: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    idempotency_key: Annotated[
        str | None, Field(min_length=1, max_length=200, description="Of two with one key, one is a group.")
    ] = None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        names = [one.member for one in self.members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"members: two are called {twice[0]!r}")
        for one in self.members:
            spec = one.spec or self.run
            if spec is None:
                raise ValueError(f"members.{one.member}: it has no `spec`, and the group has no `run`")
            if spec.needs:
                raise ValueError(f"members.{one.member}: what it needs are members, by name, in its own `needs`")
            strange = [name for name in one.all_needs if name not in names]
            if strange:
                raise ValueError(f"members.{one.member}: it needs {strange[0]!r}, which is none of the members")
            both = sorted(set(one.results_of) & {*spec.parameters, *one.parameters})
            if both:
                raise ValueError(f"members.{one.member}: {both[0]!r} is both a parameter and a result of another one")
        return self


class MemberStatus(BaseModel):
    """The newest run of a member."""

    member: str
    run: RunId
    state: RunState
    reason: str = ""
    message: str = ""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    results: dict[str, JsonValue] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None


class Group(BaseModel):
    """A group. `state`: `running` until all have ended, then `succeeded` where all have, else `failed`; `counts` of its
    members' states."""

    id: str
    owner: str
    name: str
    kind: Literal["sweep", "pipeline"]
    parallel: int
    created_by: str
    created_at: datetime
    state: Literal["running", "succeeded", "failed"] = "running"
    counts: dict[RunState, int] = Field(default_factory=dict)
    members: tuple[MemberStatus, ...] = ()


class GroupList(BaseModel):
    """Newest first, without their members."""

    items: tuple[Group, ...]
