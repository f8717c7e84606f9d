"""An OpenAPI document of one endpoint, from its signature and with its package's own example.

A caller's client can be generated from it."""

from __future__ import annotations

from typing import Any

from modelyard_api.models import ColumnKind, PackageManifest, TensorSpec
from modelyard_server.v2 import datatype

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_EXAMPLE_ROWS = 2


def document(name: str, version: str, manifest: PackageManifest, *, guarded: bool = True) -> dict[str, Any]:
    """OpenAPI 3.1. The paths are those below the endpoint's URL. `guarded`: a key or a token is needed."""
    model = f"/v2/models/{name}"
    infer = _operation("infer", "Predict, by the Open Inference Protocol", "Question", "Answer", _question(manifest))
    invoke = _operation("invoke", "Predict, as MLflow's clients ask", "Rows", "Predictions", _rows(manifest))
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version},
        "paths": {
            f"{model}/infer": {"post": infer},
            f"{model}/versions/{version}/infer": {"post": infer | {"operationId": "inferVersion"}},
            "/invocations": {"post": invoke},
            model: {"get": _reading("metadata", "Inputs and outputs", "Metadata")},
            f"{model}/ready": {"get": _health("ready", "Whether it answers", "Ready")},
            "/v2/health/live": {"get": _health("live", "Whether the server runs", "Live")},
            "/v2/health/ready": {"get": _health("serverReady", "Whether the server answers", "Ready")},
            "/v2": {"get": _reading("server", "The server and its extensions", "Server")},
        },
        "security": [{"bearer": []}] if guarded else [],
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(manifest),
        },
    }


def _operation(name: str, summary: str, asks: str, answers: str, example: Any) -> dict[str, Any]:
    failed = {
        **_REFUSED,
        "400": _failed("The body cannot be read"),
        "413": _failed("The body or its rows are too many"),
        "415": _failed("The body's type is not one that is read"),
        "422": _failed("An input is not as the signature says; `input`, `row` and `rule` say where and how"),
        "500": _failed("The model failed; `id` stands in the endpoint's log"),
    }
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": _content(asks, example)},
        "responses": {"200": {"description": "Predictions", "content": _content(answers)}} | failed,
    }


def _content(schema: str, example: Any = None) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"application/json": media | ({} if example is None else {"example": example})}


def _failed(said: str) -> dict[str, Any]:
    return {"description": said, "content": {"application/problem+json": {"schema": _PROBLEM}}}


_REFUSED = {
    "401": _failed("No key, or one that is not valid"),
    "403": _failed("The caller may not"),
    "503": _failed("Too much to do, or about to stop; try again after Retry-After"),
}


def _reading(name: str, summary: str, answers: str) -> dict[str, Any]:
    answer = {"description": summary, "content": _content(answers)}
    return {"operationId": name, "summary": summary, "responses": {"200": answer} | _REFUSED}


def _health(name: str, summary: str, answers: str) -> dict[str, Any]:
    """What needs no key."""
    answer = {"description": summary, "content": _content(answers)}
    responses = {"200": answer, "503": _REFUSED["503"]}
    return {"operationId": name, "summary": summary, "security": [], "responses": responses}


def _schemas(manifest: PackageManifest) -> dict[str, Any]:
    signature = manifest.signature
    inputs = [_tensor(spec) for spec in signature.inputs]
    outputs = [_tensor(spec) for spec in signature.outputs]
    named = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return {
        "Question": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": "string"},
                "inputs": {"type": "array", "minItems": len(inputs), "items": {"anyOf": inputs}},
                "outputs": {"type": "array", "items": named},
                "parameters": {"type": "object"},
            },
        },
        "Answer": {
            "type": "object",
            "required": ["model_name", "outputs"],
            "properties": {
                "id": {"type": "string"},
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "outputs": {"type": "array", "items": {"anyOf": outputs}},
            },
        },
        "Rows": _row_forms(manifest),
        "Predictions": {
            "type": "object",
            "required": ["predictions"],
            "properties": {"predictions": {"type": "array"}},
        },
        **_descriptions(),
        "Problem": {
            "type": "object",
            "required": ["title", "status", "detail", "code"],
            "properties": {
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string"},
                **{key: {"type": "string"} for key in ("type", "detail", "remedy", "error", "input", "rule", "id")},
                "row": {"type": "integer"},
            },
        },
    }


def _descriptions() -> dict[str, Any]:
    """What is read, not predicted."""
    text = {"type": "string"}
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": text,
            "datatype": text,
            "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
            "parameters": {"type": "object"},
        },
    }
    tensors = {"type": "array", "items": tensor}

    def made(required: list[str], **properties: Any) -> dict[str, Any]:
        return {"type": "object", "required": required, "properties": properties}

    names = {"type": "array", "items": text}
    return {
        "Metadata": made(
            ["name", "versions", "platform", "inputs", "outputs"],
            name=text,
            versions=names,
            platform=text,
            inputs=tensors,
            outputs=tensors,
            parameters={"type": "object"},
        ),
        "Server": made(["name", "version", "extensions"], name=text, version=text, extensions=names),
        "Ready": made(["ready"], ready={"type": "boolean"}),
        "Live": made(["live"], live={"type": "boolean"}),
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    kinds = _datatypes(spec)
    return {
        "type": "object",
        "title": spec.name,
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"const": spec.name},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": kinds},
            "data": {"type": "array", "items": _value(spec)},
        },
    }


def _datatypes(spec: TensorSpec) -> list[str]:
    own = datatype(spec)
    return [own, *(kind for kind in ("FP64", "FP32", "INT64", "INT32") if kind != own and own not in ("BOOL", "BYTES"))]


def _value(spec: TensorSpec) -> dict[str, Any]:
    whole = spec.kind is ColumnKind.number and spec.dtype.lower().startswith(("int", "uint"))
    kind = {ColumnKind.number: "integer" if whole else "number", ColumnKind.boolean: "boolean"}.get(spec.kind, "string")
    schema: dict[str, Any] = {"type": kind if spec.required else [kind, "null"]}
    if spec.kind is ColumnKind.datetime:
        schema["description"] = "ISO 8601 without a zone"
    if spec.categories is not None:
        schema["examples"] = list(spec.categories)
    return schema


def _row_forms(manifest: PackageManifest) -> dict[str, Any]:
    signature = manifest.signature
    if signature.layout == "tensor":
        rows: dict[str, Any] = {"type": "array", "minItems": 1}
    else:
        row = {
            "type": "object",
            "properties": {spec.name: _value(spec) for spec in signature.inputs},
            "required": [spec.name for spec in signature.inputs if spec.required],
            "additionalProperties": False,
        }
        rows = {"type": "array", "minItems": 1, "items": row}
    params = {"type": "object", "properties": {"output": {"enum": [o.name for o in signature.outputs]}}}
    return {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": rows, "params": params},
    }


def _rows(manifest: PackageManifest) -> dict[str, Any]:
    return {"instances": manifest.example[:_EXAMPLE_ROWS]}


def _question(manifest: PackageManifest) -> dict[str, Any]:
    rows = manifest.example[:_EXAMPLE_ROWS]
    if manifest.signature.layout == "table":
        return {
            "inputs": [
                {
                    "name": spec.name,
                    "shape": [len(rows)],
                    "datatype": datatype(spec),
                    "data": [row.get(spec.name) for row in rows],
                }
                for spec in manifest.signature.inputs
            ]
        }
    spec = manifest.signature.inputs[0]
    sizes, flat = [len(rows)], rows
    while flat and isinstance(flat[0], list):
        sizes.append(len(flat[0]))
        flat = [value for part in flat for value in part]
    return {"inputs": [{"name": spec.name, "shape": sizes, "datatype": datatype(spec), "data": flat}]}
