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
    assert str(error) == "not yours Ask."
    assert isinstance(error_of(404, b"<html>", "GET /x"), NotFound)
    assert isinstance(error_of(502, b"", "GET /x"), Unavailable)


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
