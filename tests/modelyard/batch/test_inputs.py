"""Why a run's files are not there: for good, or for now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from harness.runs import snapshot, spec
from modelyard.batch import inputs
from modelyard.batch.inputs import Refused, fetch
from modelyard.batch.order import Order
from modelyard.client import AsyncClient
from modelyard_api.runs import Run
from modelyard_hub.reconcile.runs import FINAL

_, GOOD = snapshot(train__ipynb="{}")
RUN = Run(id="1", owner="ada", created_by="ada", created_at=datetime.now(UTC), spec=spec())


async def fetched(answer: Callable[[httpx.Request], httpx.Response], folder: Path) -> Path:
    async with AsyncClient("http://yard.test", "a-token") as client:
        patient = client.patient(inputs.PATIENCE)
        patient._http = client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        return await fetch(client, Order(RUN, 1, folder), folder)


@pytest.mark.parametrize(
    ("status", "content", "reason", "final"),
    [
        (404, b"", "NoInput", True),
        (200, b"no zip", "NoInput", True),
        (200, GOOD.replace(b"{}", b"[]", 1), "NoInput", True),
        (401, b"", "InputUnavailable", False),
        (403, b"", "InputUnavailable", False),
        (503, b"", "InputUnavailable", False),
    ],
)
async def test_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, content: bytes, reason: str, final: bool
) -> None:
    monkeypatch.setattr(inputs, "PATIENCE", 0.0)
    with pytest.raises(Refused) as refused:
        await fetched(lambda request: httpx.Response(status, content=content), tmp_path)
    assert (refused.value.reason, refused.value.reason in FINAL) == (reason, final)


async def test_the_files(tmp_path: Path) -> None:
    assert await fetched(lambda request: httpx.Response(200, content=GOOD), tmp_path) == tmp_path / "train.ipynb"
