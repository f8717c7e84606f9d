"""The errors that the library raises: the one tree of `modelyard_api.errors`, and answers of HTTP turned into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modelyard_api.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    InvalidName,
    InvalidParameter,
    InvalidTraffic,
    MalformedRequest,
    ModelFailed,
    ModelyardError,
    NotFound,
    PreconditionRequired,
    PublishFailed,
    StaleWrite,
    StorageFull,
    TimedOut,
    TokenExpired,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownVersion,
    Unsupported,
)

if TYPE_CHECKING:
    from modelyard_api.runs import Run

__all__ = [
    "Conflict",
    "Forbidden",
    "InvalidInput",
    "InvalidName",
    "InvalidParameter",
    "InvalidTraffic",
    "MalformedRequest",
    "ModelFailed",
    "ModelyardError",
    "NotFound",
    "PreconditionRequired",
    "PublishFailed",
    "RunFailed",
    "StaleWrite",
    "StorageFull",
    "TimedOut",
    "TokenExpired",
    "TooLarge",
    "TrainingFailed",
    "TrainingStopped",
    "Unauthenticated",
    "Unavailable",
    "UnknownVersion",
    "Unsupported",
    "error_of",
    "in_words",
]

_AWAY = {502: "the router reaches nothing there", 503: "the service is away", 504: "the service did not answer in time"}
_CALL_LOST = {
    502: ("its model server ended before it answered", "It may have died of this call: see endpoint.status."),
    503: ("it has no replica that is ready", "endpoint.status says why."),
    504: ("its model server did not answer in time", "Send fewer rows at a time, or see endpoint.logs()."),
}


class TrainingFailed(ModelyardError):
    """Training raised, or its process died. `traceback` is the child's, as text; empty when the process was killed."""

    def __init__(self, detail: str, *, remedy: str | None = None, traceback: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.traceback}".rstrip()


class RunFailed(ModelyardError):
    """A run failed, or was cancelled. `run` is the resource; its text has the cell and the traceback."""

    def __init__(self, run: Run) -> None:
        status = run.status
        said = "was cancelled" if status.state.value == "cancelled" else f"failed ({status.reason}): {status.message}"
        super().__init__(f"run {run.id} ({run.spec.called}) {said}")
        self.run = run

    @property
    def full(self) -> str:
        """With the cell, the traceback and the log's end."""
        failure, parts = self.run.status.failure, [self.detail]
        if failure is not None:
            parts += [f"In cell {failure.cell}:", failure.source, failure.traceback or failure.error]
        elif self.run.status.log_tail:
            parts += ["The end of its log:", *self.run.status.log_tail]
        return "\n".join(parts)

    def __str__(self) -> str:
        return self.full


class TrainingStopped(ModelyardError):
    """The run was stopped before it had a model."""

    status = 409
    remedy = "Start it again with yard.train(…)."


def in_words(error: ModelyardError) -> dict[str, str]:
    """As panels show it: title (the class in words: NotFound is "Not found"), detail, remedy."""
    title = "".join(f" {c.lower()}" if c.isupper() else c for c in type(error).__name__).strip().capitalize()
    return {"title": title, "detail": error.detail, "remedy": error.remedy}


def error_of(status: int, body: bytes, what: str) -> ModelyardError:
    """The error that an HTTP answer stands for: its problem document, else one made from the status.

    `what` names the request, such as "GET /endpoints/ada/churn".
    """
    from modelyard_api.problem import Problem, from_problem

    document = _json(body)
    if isinstance(document, dict) and "title" in document and isinstance(document.get("status"), int):
        return from_problem(Problem.model_validate(document))
    if " /serve/" in what and status in _CALL_LOST:
        why, remedy = _CALL_LOST[status]
        return Unavailable(f"{what}: {why} ({status}).", remedy=remedy)
    if status in _AWAY:
        return Unavailable(f"{what}: {_AWAY[status]} ({status}).")
    if status == 500 and not body and " /mlflow/" in what:
        # So answers the router alone, when it cannot ask the hub service who may pass; nobody has seen the request.
        return Unavailable(f"{what}: the hub service, which says who may pass, is away.", unsent=True)
    said = ""
    if isinstance(document, dict):
        said = str(document.get("detail") or document.get("message") or document.get("error") or "")
    error = from_problem(Problem(title=f"HTTP {status}", status=status, detail=f"{what}: {said or f'HTTP {status}'}"))
    if isinstance(error, Unauthenticated):
        error.remedy = "The token is not accepted: get a new one with `modelyard token`, or start your server again."
    return error


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
