"""An endpoint does what its OpenAPI document says, whatever it is asked: schemathesis makes the requests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from harness.model_server import serving
from harness.packages import write_onnx, write_skops
from modelyard_api.access import Access, KeyHash

KEY = "my_1_secret"
ASKED = settings(
    deadline=None,
    max_examples=12,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
# Not `positive_data_acceptance`: that shape and data agree, a schema cannot say.
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
Write = Callable[[Path], Any]


@pytest.fixture(scope="module", params=[write_onnx, write_skops])
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], str]]:
    """Its document and its address; a key is needed."""
    home = tmp_path_factory.mktemp("endpoint")
    request.param(home / "package")
    hashed = KeyHash(id="1", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    (home / "access.json").write_text(Access(owner="ada", keys=(hashed,)).model_dump_json())
    with serving(home / "package", access=home / "access.json", version=3) as (client, _):
        client.headers["authorization"] = f"Bearer {KEY}"
        found = client.get("/openapi.json").raise_for_status().json()
        yield found, str(client.base_url).rstrip("/")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_of_its_document(endpoint: tuple[dict[str, Any], str], mode: GenerationMode) -> None:
    document, url = endpoint
    statuses: set[int] = set()
    # The key is sent by hand: where it is missing, all else is as well.
    for result in schemathesis.openapi.from_dict(document | {"security": []}).get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and operation.method != "post":
            continue  # nothing of it can be wrong

        @ASKED
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            response = case.call(base_url=url, headers={"Authorization": f"Bearer {KEY}"})
            statuses.add(response.status_code)
            case.validate_response(response, checks=CHECKS)

        ask()
    assert statuses >= ({400, 422} if mode is GenerationMode.NEGATIVE else {200, 422}), statuses


def test_without_a_key_it_is_as_described(endpoint: tuple[dict[str, Any], str]) -> None:
    document, url = endpoint
    assert document["security"] == [{"bearer": []}]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found = httpx.request(method, url + path)
            assert found.status_code == (200 if operation.get("security") == [] else 401), (method, path)
            assert str(found.status_code) in operation["responses"]


def test_an_endpoint_for_everybody_says_so(tmp_path: Path) -> None:
    write_onnx(tmp_path / "package")
    with serving(tmp_path / "package", open=True) as (client, _):
        assert client.get("/openapi.json").json()["security"] == []
