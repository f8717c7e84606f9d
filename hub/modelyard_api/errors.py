"""The one tree of errors, and RFC 9457 problem documents.

ModelyardError                500
├── InvalidInput              422   the request cannot mean anything valid
│   ├── InvalidName           422
│   ├── InvalidTraffic        422
│   └── UnknownVersion        422
├── MalformedRequest          400   not JSON, not a tensor, not a number
├── Unauthenticated           401
│   └── TokenExpired          401
├── Forbidden                 403
├── NotFound                  404
├── Conflict                  409
├── StaleWrite                412   If-Match names an older state
├── PreconditionRequired      428   a change without If-Match or If-None-Match
├── TooLarge                  413
├── Unsupported               415
├── PublishFailed             422   the package is refused: the model does not load or does not answer
├── ModelFailed               500   the model raised on this input
├── Unavailable               503   a part is away; try again
│   └── StorageFull           507
└── TimedOut                  504
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """A problem document (RFC 9457) with the remedy as an extension member."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    remedy: str = Field(default="", description="What the caller can do about it.")
    code: str = Field(default="ModelyardError", description="The error's class name; stable.")


class ModelyardError(Exception):
    """Base of all errors: `detail` names what was wrong, `remedy` what would be right."""

    status: int = 500
    remedy: str = ""

    def __init__(self, detail: str, *, remedy: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        if remedy is not None:
            self.remedy = remedy
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.detail} {self.remedy}".strip()

    def problem(self) -> Problem:
        """This error as a problem document."""
        title = HTTPStatus(self.status).phrase
        return Problem(
            title=title,
            status=self.status,
            detail=self.detail,
            remedy=self.remedy,
            code=type(self).__name__,
            **self.extra,
        )


class InvalidInput(ModelyardError):
    status = 422


class InvalidName(InvalidInput):
    pass


class InvalidTraffic(InvalidInput):
    remedy = "Give whole percentages from 0 to 100 that sum to 100, each for an existing revision."


class UnknownVersion(InvalidInput):
    remedy = "Publish the model first, or name a version that the registry lists."


class MalformedRequest(ModelyardError):
    status = 400


class Unauthenticated(ModelyardError):
    status = 401
    remedy = "Send 'Authorization: Bearer <token>'."


class TokenExpired(Unauthenticated):
    remedy = "Ask for a new token."


class Forbidden(ModelyardError):
    status = 403


class NotFound(ModelyardError):
    status = 404


class Conflict(ModelyardError):
    status = 409


class StaleWrite(ModelyardError):
    status = 412
    remedy = "Read the resource again and repeat the change on what it says now."


class PreconditionRequired(ModelyardError):
    status = 428
    remedy = "Send If-Match with the ETag that you read, or If-None-Match: * to create."


class TooLarge(ModelyardError):
    status = 413


class Unsupported(ModelyardError):
    status = 415


class PublishFailed(ModelyardError):
    status = 422


class ModelFailed(ModelyardError):
    status = 500


class Unavailable(ModelyardError):
    status = 503
    remedy = "Try again in a few seconds."


class StorageFull(Unavailable):
    status = 507
    remedy = "Free disk space, then try again."


class TimedOut(ModelyardError):
    status = 504


def _tree(base: type[ModelyardError]) -> dict[str, type[ModelyardError]]:
    found = {base.__name__: base}
    for child in base.__subclasses__():
        found |= _tree(child)
    return found


def from_problem(problem: Problem) -> ModelyardError:
    """The error that a problem document stands for: by its code, else by its status."""
    classes = _tree(ModelyardError)
    kind = classes.get(problem.code)
    if kind is None or kind is ModelyardError:
        kind = next((c for c in classes.values() if c.status == problem.status), ModelyardError)
    error = kind(problem.detail or problem.title, remedy=problem.remedy, **(problem.model_extra or {}))
    error.status = problem.status
    return error
