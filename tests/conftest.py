"""Fixtures that several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One real `modelyard up` for the session; tests that kill parts of it leave it whole again."""
    running = Stack(tmp_path_factory.mktemp("stack") / "home").wait_ready()
    yield running
    running.stop()
