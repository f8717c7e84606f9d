"""What a refusal of the cluster becomes."""

from __future__ import annotations

import json

import pytest

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
from modelyard_hub.runtimes.kubernetes.errors import Expired, Throttled, refusal

RBAC = (
    'deployments.apps "a" is forbidden: User "system:serviceaccount:yard:hub" cannot patch resource "deployments" in '
    'API group "apps" in the namespace "yard"'
)
QUOTA = 'secrets "a" is forbidden: exceeded quota: team, requested: secrets=1, used: secrets=5, limited: secrets=5'


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (401, "Unauthorized", Unavailable, "credentials"),
        (403, RBAC, ClusterForbidden, 'cannot patch resource "deployments"'),
        (403, QUOTA, QuotaExceeded, "team, requested: secrets=1, used: secrets=5"),
        (403, "unable to create: because it is being terminated", Unavailable, "being deleted"),
        (403, "admission webhook denied the request", InvalidInput, "webhook"),
        (404, 'namespaces "yard" not found', Unavailable, "MODELYARD_NAMESPACE"),
        (404, 'secrets "a" not found', NotFound, "get secrets/a"),
        (409, "the object has been modified", Conflict, "modified"),
        (410, "too old", Expired, "too old"),
        (413, "Request entity too large", TooLarge, "too large"),
        (422, "Secret is invalid", InvalidInput, "data: Too long"),
        (429, "too many requests", Throttled, "busy"),
        (500, "etcdserver: leader changed", Unavailable, "leader"),
    ],
)
def test_a_refusal_says_what_and_what_to_do(status: int, message: str, kind: type[ModelyardError], words: str) -> None:
    causes = [{"field": "data", "message": "Too long"}] if status == 422 else []
    body = json.dumps({"message": message, "details": {"causes": causes}})
    error = refusal(status, body, {"Retry-After": "7"}, "get secrets/a")
    assert type(error) is kind
    assert words in str(error)
    if isinstance(error, Throttled):
        assert error.retry_after == 7.0


def test_an_answer_that_is_no_document_is_shown_as_it_is() -> None:
    assert "bad gateway" in str(refusal(502, "<html>bad gateway</html>", {}, "list pods"))
