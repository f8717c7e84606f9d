"""What the cluster's refusals mean, as errors of ours. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelyard_api.errors import (
    ClusterForbidden,
    Conflict,
    InvalidInput,
    ModelyardError,
    NotFound,
    QuotaExceeded,
    TooLarge,
    Unavailable,
)


class Expired(Unavailable):
    """What was to be read from is too old (410): list again."""


class Throttled(Unavailable):
    """The cluster asks to wait (429); `retry_after` in seconds."""

    def __init__(self, detail: str, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


def refusal(status: int, body: str, headers: Mapping[str, str], what: str) -> ModelyardError:
    """The error of an answer that is none; `what` was asked, such as `patch deployments/ada-churn-r1`."""
    document = _document(body)
    said = str(document.get("message") or body.strip() or f"status {status}")[:2000]
    return _by_status(status, said, document, headers, what)


def _by_status(
    status: int, said: str, document: Mapping[str, Any], headers: Mapping[str, str], what: str
) -> ModelyardError:
    match status:
        case 401:
            return Unavailable(f"the cluster does not accept the hub's credentials: {said}")
        case 403:
            return forbidden(said)
        case 404 if 'namespaces "' in said:
            return Unavailable(f"{what}: {said}", remedy="Create the namespace, or set MODELYARD_NAMESPACE to one.")
        case 404:
            return NotFound(f"{what}: {said}")
        case 409:
            return Conflict(f"{what}: {said}", remedy="It was changed meanwhile; the next pass tries again.")
        case 410:
            return Expired(f"{what}: {said}")
        case 413:
            return TooLarge(f"{what}: {said}")
        case 400 | 422:
            return InvalidInput(f"the cluster refuses {what}: {_causes(document) or said}")
        case 429:
            return Throttled(f"the cluster is busy: {said}", retry_after(headers))
        case _:
            return Unavailable(f"the cluster answers {status} to {what}: {said}")


def forbidden(said: str) -> ModelyardError:
    """The three things that 403 means."""
    if "exceeded quota" in said:
        return QuotaExceeded(quota(said))
    if "because it is being terminated" in said:
        return Unavailable(f"the namespace is being deleted: {said}")
    if " cannot " in said:
        return ClusterForbidden(f"the cluster does not allow it: {said}")
    return InvalidInput(f"the cluster refuses it: {said}")


def quota(said: str) -> str:
    """What is used up, from 'exceeded quota: NAME, requested: R, used: U, limited: L'."""
    return "the quota is used up: " + said[said.index("exceeded quota") + len("exceeded quota: ") :].strip().rstrip(".")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of Retry-After; 1 where it says none."""
    try:
        return max(0.0, float(headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0


def _document(body: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _causes(document: Mapping[str, Any]) -> str:
    causes = (document.get("details") or {}).get("causes") or ()
    return "; ".join(f"{c.get('field', '')}: {c.get('message', '')}" for c in causes)
