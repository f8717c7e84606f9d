"""The one tree of errors. Light: a training process, which may not grow, imports it; documents are in `problem.py`.

ModelyardError                500
├── InvalidInput              422   the request cannot mean anything valid
│   ├── InvalidName           422
│   ├── InvalidTraffic        422
│   ├── InvalidChoice         422   a profile does not allow that size; `extra["field"]` says which
│   ├── InvalidParameter      422   a notebook does not take it; `extra["field"]` says which
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
│   └── ModelCrashed          500   its process ended while it worked on this input
├── Unavailable               503   a part is away; try again
│   ├── StorageFull           507
│   ├── QuotaExceeded         503   a quota of the cluster is used up
│   └── ClusterForbidden      503   the hub's account may not do it in the cluster
└── TimedOut                  504
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard_api.problem import Problem


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
        ends = self.detail.endswith((".", "!", "?", ":", "…"))
        return f"{self.detail}{' ' if ends else '. '}{self.remedy}" if self.remedy else self.detail

    def problem(self) -> Problem:
        """This error as a problem document."""
        from modelyard_api.problem import of

        return of(self)


class InvalidInput(ModelyardError):
    status = 422


class InvalidName(InvalidInput):
    pass


class InvalidTraffic(InvalidInput):
    remedy = "Give whole percentages from 0 to 100 that sum to 100, each for an existing revision."


class InvalidChoice(InvalidInput):
    pass


class InvalidParameter(InvalidInput):
    pass


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


class ModelCrashed(ModelFailed):
    pass


class Unavailable(ModelyardError):
    status = 503
    remedy = "Try again in a few seconds."


class StorageFull(Unavailable):
    status = 507
    remedy = "Free disk space, then try again."


class QuotaExceeded(Unavailable):
    remedy = "Ask for less, stop something, or ask an administrator for a larger quota."


class ClusterForbidden(Unavailable):
    remedy = "An administrator must grant it to the hub's service account; the chart's Role does."


class TimedOut(ModelyardError):
    status = 504
