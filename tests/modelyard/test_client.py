"""The client's errors, and rows as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard import tables
from modelyard.client import AsyncClient
from modelyard.errors import Forbidden, InvalidInput, NotFound, Unauthenticated, Unavailable, error_of


async def test_nobody_there_names_the_address_and_the_variable() -> None:
    async with AsyncClient("http://127.0.0.1:9", "token", patience=0) as client:
        with pytest.raises(Unavailable, match=r"http://127.0.0.1:9.*MODELYARD_URL"):
            await client.me()


def test_a_missing_address_or_token_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MODELYARD_URL", "MODELYARD_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InvalidInput, match="MODELYARD_URL"):
        AsyncClient()
    with pytest.raises(Unauthenticated, match="MODELYARD_TOKEN"):
        AsyncClient("http://127.0.0.1:8000")


def test_a_problem_document_becomes_its_error() -> None:
    body = b'{"title": "Forbidden", "status": 403, "detail": "not yours", "remedy": "Ask.", "code": "Forbidden"}'
    error = error_of(403, body, "PUT /endpoints/ada/churn")
    assert isinstance(error, Forbidden)
    assert str(error) == "not yours. Ask."
    assert isinstance(error_of(404, b"<html>", "GET /x"), NotFound)
    assert isinstance(error_of(502, b"", "GET /x"), Unavailable)


def test_a_router_that_cannot_ask_who_may_pass_has_sent_nothing_on() -> None:
    """Traefik's ForwardAuth answers 500 without a body (tests/modelyard_hub/routing/test_traefik.py)."""
    error = error_of(500, b"", "POST /mlflow/api/2.0/mlflow/runs/create")
    assert isinstance(error, Unavailable)
    assert error.extra["unsent"]
    assert "the hub service" in error.detail
    assert not isinstance(error_of(500, b"Internal Server Error", "POST /x"), Unavailable)


@pytest.mark.parametrize(("status", "words"), [(502, "ended before it answered"), (503, "no replica that is ready")])
def test_a_call_without_an_answer_says_where_to_look(status: int, words: str) -> None:
    error = error_of(status, b"Bad Gateway", "POST /serve/ada/churn/v2/models/churn/infer")
    assert isinstance(error, Unavailable)
    assert words in error.detail
    assert "endpoint.status" in error.remedy


async def test_who_waits_is_told_for_what() -> None:
    told: list[str] = []
    async with AsyncClient("http://127.0.0.1:9", "token") as client:
        with pytest.raises(Unavailable):
            await client.patient(0.3, lambda error: told.append(error.detail)).me()
    assert "nothing answers at http://127.0.0.1:9" in told[0]


def metadata(*inputs: tuple[str, str, str]) -> tables.Metadata:
    tensors = [
        {"name": n, "datatype": d, "shape": [-1, 1], "parameters": {"kind": k, "required": False}} for n, d, k in inputs
    ]
    outputs: list[dict[str, Any]] = [{"name": "label", "datatype": "BYTES", "shape": [-1]}]
    return tables.Metadata.read(
        {"inputs": tensors, "outputs": outputs, "parameters": {"layout": "table", "task": "classification"}}
    )


def test_a_frame_goes_column_by_column_with_null_where_a_value_is_missing() -> None:
    frame = pd.DataFrame(
        {
            "weight": [1.5, np.nan],
            "age": pd.array([3, None], dtype="Int64"),
            "island": pd.Categorical(["north", None]),
            "seen": pd.to_datetime(["2026-01-02T03:04:05", None]),
        }
    )
    shape = metadata(
        ("weight", "FP64", "number"),
        ("age", "INT64", "number"),
        ("island", "BYTES", "string"),
        ("seen", "BYTES", "datetime"),
    )
    (body,) = tables.requests(frame, shape)
    data = {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
    assert data["weight"] == [1.5, None]
    assert data["age"] == [3, None]
    assert data["island"] == ["north", None]
    assert data["seen"][0].startswith("2026-01-02T03:04:05")
    assert data["seen"][1] is None


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="age"):
        list(
            tables.requests(
                pd.DataFrame({"weight": [1.0]}), metadata(("weight", "FP64", "number"), ("age", "INT64", "number"))
            )
        )
