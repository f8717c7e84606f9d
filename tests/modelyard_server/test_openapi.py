"""An endpoint's OpenAPI document: valid, and its examples are requests that the endpoint answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.model_server import serving
from harness.packages import write_onnx, write_skops


@pytest.mark.parametrize("write", [write_onnx, write_skops])
def test_its_examples_are_answered(write: Callable[[Path], Any], tmp_path: Path) -> None:
    write(tmp_path / "package")
    with serving(tmp_path / "package", open=True, version=3) as (client, _):
        said = client.get("/openapi.json").raise_for_status().json()
        assert client.get("/v2/models/penguins/openapi.json").json() == said
        assert said["info"] == {"title": "penguins", "version": "3"}
        asked = [
            (path, operation, operation["requestBody"]["content"]["application/json"])
            for path, methods in said["paths"].items()
            for method, operation in methods.items()
            if method == "post"
        ]
        assert {path for path, *_ in asked} == {
            "/v2/models/penguins/infer",
            "/v2/models/penguins/versions/3/infer",
            "/invocations",
        }
        for path, operation, content in asked:
            jsonschema.validate(content["example"], content["schema"] | {"components": said["components"]})
            answer = client.post(path, json=content["example"]).raise_for_status().json()
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(answer, schema | {"components": said["components"]})
            refused = client.post(path, json={"instances": [], "inputs": []})
            problem = operation["responses"][str(refused.status_code)]["content"]["application/problem+json"]["schema"]
            jsonschema.validate(refused.json(), problem | {"components": said["components"]})
        for path, methods in said["paths"].items():
            if "get" in methods:
                assert client.get(path).status_code == 200, path
