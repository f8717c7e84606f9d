"""The REST API does what its OpenAPI document says, whatever it is asked: schemathesis makes the requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from harness.served import Served, served

ASKED = settings(
    deadline=None,
    max_examples=4,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
ENDLESS = "/events"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_of_its_document(hub: Served, mode: GenerationMode) -> None:
    document = httpx.get(f"{hub.url}/services/modelyard/api/openapi.json").raise_for_status().json()
    statuses: Counter[int] = Counter()
    for result in schemathesis.openapi.from_dict(_keyed(document)).get_all_operations():
        operation = result.ok()
        if operation.path.endswith(ENDLESS) or (mode is GenerationMode.NEGATIVE and not operation.body):
            continue

        @ASKED
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            response = case.call(base_url=hub.url, headers={"Authorization": "Bearer ada"}, timeout=20)
            statuses[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        ask()
    assert statuses.keys() >= ({400, 422} if mode is GenerationMode.NEGATIVE else {200, 404, 422}), statuses


def _keyed(document: dict[str, Any]) -> dict[str, Any]:
    """The document without its schemes: the token is sent by hand, for with none all else is refused unread."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    return document
