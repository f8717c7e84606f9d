"""One installed release for all tests of the chart; those that break parts of it leave it whole."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cluster import Cluster
from harness.kubernetes import binaries
from harness.release import Release, release


@pytest.fixture(scope="session")
def helm() -> Path:
    """For what renders alone: that needs no cluster."""
    return binaries.program("helm")


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Iterator[Release]:
    """The chart with its default parts, in a namespace of its own."""
    with release(cluster, f"chart-{uuid.uuid4().hex[:6]}") as made:
        yield made
