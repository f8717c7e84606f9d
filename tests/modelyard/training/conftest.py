"""What tests with real training processes share: a folder of their own, and estimators that travel as those of a
notebook do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest


@pytest.fixture(autouse=True)
def _own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    monkeypatch.setenv("MODELYARD_RUNS", str(tmp_path / "runs"))
    for variable in ("MODELYARD_URL", "MODELYARD_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    module = sys.modules[request.module.__name__]
    cloudpickle.register_pickle_by_value(module)  # as a class of a notebook's __main__ goes
    yield
    cloudpickle.unregister_pickle_by_value(module)
