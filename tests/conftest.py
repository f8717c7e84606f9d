"""Fixtures that several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness.stack import Stack

_CLUSTER = Path(__file__).parent / "cluster"


class StackFilesWhole(LoadScopeScheduling):
    """Deals out tests one by one, but those that use the session's stack by the file: they kill parts of it, in order.

    Each worker that gets such a file starts one stack, for all of its files.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::")[0] if nodeid.startswith(("tests/stack/", "tests/browser/")) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> StackFilesWhole:
    """xdist asks for it where `-n` is given."""
    return StackFilesWhole(config, log)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """The tests that need a cluster run only where they are named, as by `make test-cluster`."""
    return True if collection_path == _CLUSTER else None


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One real `modelyard up` for the session; tests that kill parts of it leave it whole again."""
    running = Stack(tmp_path_factory.mktemp("stack") / "home").wait_ready()
    yield running
    running.stop()
