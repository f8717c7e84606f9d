from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.local import LocalYard
from modelyard_hub.runtimes.local import stop_everything


@pytest.fixture
async def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalYard]:
    monkeypatch.setenv("MODELYARD_SECRET", "of the hub service")
    made = LocalYard(tmp_path)
    await made.runtime.open()
    try:
        yield made
    finally:
        await made.runtime.close()
        stop_everything(tmp_path, drain_timeout=0.5)
