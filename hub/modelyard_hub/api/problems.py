"""Every error as a problem document (RFC 9457), also those that FastAPI and Starlette raise."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from modelyard_api.errors import (
    InvalidInput,
    InvalidName,
    InvalidTraffic,
    MalformedRequest,
    ModelyardError,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from modelyard_api.problem import PROBLEM_MEDIA_TYPE

logger = logging.getLogger(__name__)
_BY_STATUS: dict[int, type[ModelyardError]] = {
    e.status: e for e in (Unsupported, Unavailable, Unauthenticated, MalformedRequest, NotFound, TooLarge, InvalidInput)
}


def install(app: FastAPI) -> None:
    """Answer all errors of `app` as problem documents."""
    app.add_exception_handler(ModelyardError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the errors that a route answers."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def answer(error: ModelyardError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response for an error."""
    all_headers = dict(headers or {})
    if error.status == 401:
        all_headers.setdefault("WWW-Authenticate", "Bearer")
    if error.status == 503:
        all_headers.setdefault("Retry-After", "2")
    document = error.problem().model_dump(mode="json")
    return JSONResponse(document, error.status, headers=all_headers, media_type=PROBLEM_MEDIA_TYPE)


def validation_error(errors: Sequence[Any]) -> ModelyardError:
    """One error for what pydantic found: each field's path and a sentence, without the input itself."""
    if any(e["type"] == "json_invalid" for e in errors):
        return MalformedRequest(f"the body is not JSON: {errors[0].get('ctx', {}).get('error', '')}")
    found = [{"field": _path(e["loc"]), "message": _sentence(e["msg"])} for e in errors]
    detail = "; ".join(f"{f['field']}: {f['message']}" if f["field"] else f["message"] for f in found)
    kind: type[ModelyardError] = InvalidInput
    if all("DNS label" in f["message"] for f in found):
        kind = InvalidName
    elif all("traffic" in f["message"] or f["field"].startswith("spec.traffic") for f in found):
        kind = InvalidTraffic
    return kind(detail, errors=found)


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ModelyardError)
    return answer(error)


async def _validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return answer(validation_error(error.errors()))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path}"
    elif error.status_code == 405:
        detail = f"{request.method} is not possible on {request.url.path}"
    ours = _BY_STATUS.get(error.status_code, ModelyardError)(detail)
    ours.status = error.status_code
    return answer(ours, error.headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(ModelyardError("the hub service made a mistake; its log says more"))


def _path(location: Sequence[Any]) -> str:
    """`body.spec.traffic.0` as `spec.traffic.0`; a path or query parameter by its name."""
    rest = location[1:] if location and location[0] in ("body", "path", "query", "header") else location
    return ".".join(str(part) for part in rest)


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")
