"""Endpoints: desired state (`EndpointSpec`), observed state (`EndpointStatus`), keys, tokens, events."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelyard_api.conditions import Condition, ConditionStatus, find
from modelyard_api.models import Flavor
from modelyard_api.names import Label
from modelyard_api.resources import Resources, Scaling


class Spec(BaseModel):
    """Base of what callers write: unknown members are refused, so that a typo is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RevisionSpec(Spec):
    """One model version behind an endpoint; immutable once written, but for `active`."""

    number: Annotated[int, Field(ge=1)]
    model: Annotated[str, Field(description="Registered model: <owner>.<name>", examples=["ada.churn"])]
    version: Annotated[str, Field(pattern=r"^[1-9][0-9]*$", description="Version in the registry.")]
    resources: Resources = Resources()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(default_factory=dict)
    active: bool = Field(default=True, description="False: kept for rollback, runs no replicas.")


class TrafficTarget(Spec):
    revision: Annotated[int, Field(ge=1)]
    percent: Annotated[int, Field(ge=0, le=100)]


class EndpointSpec(Spec):
    """What the owner wants. `PUT` writes it whole, `PATCH` merges (RFC 7396)."""

    description: Annotated[str, Field(max_length=2000)] = ""
    revisions: Annotated[tuple[RevisionSpec, ...], Field(min_length=1, max_length=200)]
    traffic: Annotated[tuple[TrafficTarget, ...], Field(min_length=1, max_length=20)]
    scaling: Scaling = Scaling()
    shared_with: Annotated[
        tuple[Label, ...] | None,
        Field(description="Groups whose members see and call it. Left out at creation: the creator's groups."),
    ] = None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        numbers = [r.number for r in self.revisions]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"revision numbers are not unique: {numbers}")
        targets = [t.revision for t in self.traffic]
        if len(set(targets)) != len(targets):
            raise ValueError(f"traffic names a revision twice: {targets}")
        for target in targets:
            if target not in numbers:
                raise ValueError(f"traffic names revision {target}, but the revisions are {numbers}")
        total = sum(t.percent for t in self.traffic)
        if total != 100:
            raise ValueError(f"traffic percentages sum to {total}, not 100")
        return self

    def revision(self, number: int) -> RevisionSpec | None:
        """The revision of that number, or None."""
        return next((r for r in self.revisions if r.number == number), None)

    def percent(self, number: int) -> int:
        """The share of traffic that a revision gets."""
        return next((t.percent for t in self.traffic if t.revision == number), 0)


class RevisionStatus(BaseModel):
    """What is observed of a revision. `percent` is what the router really applies."""

    number: int
    ready_replicas: int = 0
    desired_replicas: int = 0
    percent: int = 0
    flavor: Flavor | None = None
    restarts: int = 0
    cause: str = Field(
        default="", description="Why not all replicas are ready, in a word: QuotaExceeded, OutOfMemory, FetchFailed, …"
    )
    conditions: tuple[Condition, ...] = ()
    log_tail: tuple[str, ...] = Field(default=(), description="Last log lines, where it fails.")


class EndpointStatus(BaseModel):
    """What is observed. `observed_generation` tells which desired state it speaks of."""

    observed_generation: int = 0
    url: str = ""
    revisions: tuple[RevisionStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the condition Ready is True."""
        condition = find(self.conditions, "Ready")
        return condition is not None and condition.status is ConditionStatus.true


class Endpoint(BaseModel):
    """An endpoint as the API answers it; the `ETag` header is for `If-Match`."""

    owner: Label
    name: Label
    generation: int = 1
    created_by: str = ""
    created_at: datetime
    updated_at: datetime
    deleting: bool = False
    spec: EndpointSpec
    status: EndpointStatus = EndpointStatus()
    rollback_to: int | None = Field(
        default=None, description="The revision that a rollback would give all traffic; none: there is no earlier one."
    )
    etag: str = ""


class EndpointWrite(Spec):
    """Body of `PUT`."""

    spec: EndpointSpec


class EndpointList(BaseModel):
    items: list[Endpoint]


class KeyCreate(Spec):
    """Body of `POST …/keys`."""

    name: Label
    expires_in: Annotated[int | None, Field(ge=60, le=10 * 365 * 86400, description="Seconds; none: no end.")] = None


class Key(BaseModel):
    """A named key of an endpoint. `secret` is answered once, at creation, and never stored."""

    id: str
    name: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    secret: str | None = None


class KeyList(BaseModel):
    items: list[Key]


class CallToken(BaseModel):
    """A short-lived token to call endpoints of the user and of their groups."""

    token: str
    expires_at: datetime


class Identity(BaseModel):
    """Who the caller is: the answer of `GET /me`."""

    username: str
    owner: Label
    groups: tuple[Label, ...] = ()
    admin: bool = False
    scopes: tuple[str, ...] = ()


class LogLines(BaseModel):
    """Lines of one replica, oldest first."""

    revision: int
    replica: int
    lines: list[str]


class Logs(BaseModel):
    items: list[LogLines]


class RevisionMetrics(BaseModel):
    """Sums over a revision's replicas since they started."""

    revision: int
    requests: int = 0
    errors: int = 0
    in_flight: int = 0
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_ms: tuple[tuple[float | None, int], ...] = Field(
        default=(), description="Cumulative: (upper bound in ms, calls up to it); the last bound is null: all calls."
    )
    memory_bytes: int | None = None


class EndpointMetrics(BaseModel):
    items: list[RevisionMetrics]


class AuditEntry(BaseModel):
    """Who did what, when, from where."""

    at: datetime
    who: str
    action: str
    subject: str
    source: str
    detail: dict[str, Any] = Field(default_factory=dict)


class AuditList(BaseModel):
    items: list[AuditEntry]


class EventKind(StrEnum):
    changed = "changed"
    deleted = "deleted"


class Event(BaseModel):
    """A change, as sent by `GET /events`; `id` serves `Last-Event-ID`."""

    id: int
    kind: EventKind
    resource: Literal["endpoint", "run"]
    owner: str
    name: str
