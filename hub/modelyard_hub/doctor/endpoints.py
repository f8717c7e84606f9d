"""Endpoints that do not serve: why, in their own last words."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from modelyard_api.conditions import ConditionStatus
from modelyard_api.endpoints import Endpoint
from modelyard_api.errors import ModelyardError
from modelyard_hub.doctor.base import Finding, Patient

_REMEDIES = {"CrashLoop": "Roll back, or publish a version that loads."}


def check(patient: Patient) -> Iterator[Finding]:
    """One finding for each endpoint that is not ready."""
    if patient.admin is None:
        return
    try:
        found = patient.admin.endpoint_list()
    except (httpx.HTTPError, ModelyardError):
        return  # the parts' own check says so
    for endpoint in found:
        yield from not_ready(endpoint)


def not_ready(endpoint: Endpoint) -> Iterator[Finding]:
    """The finding of one endpoint, if any."""
    subject = f"{endpoint.owner}/{endpoint.name}"
    for condition in endpoint.status.conditions:
        if condition.type == "Ready" and condition.status is not ConditionStatus.true and not endpoint.deleting:
            tails = [revision.log_tail[-1] for revision in endpoint.status.revisions if revision.log_tail]
            cause = " ".join([condition.message, *tails]) or "unknown"
            remedy = _REMEDIES.get(condition.reason, f"Look at its log: GET …/endpoints/{subject}/logs.")
            yield Finding(subject, f"{condition.reason} since {condition.since:%Y-%m-%d %H:%M} UTC", cause, remedy)
