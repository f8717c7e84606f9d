from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness import postgres
from harness.claims import Claims, claims_of
from harness.fake_cluster import fake_cluster


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    with postgres.server() as server:
        yield server


@pytest.fixture
async def claims(tmp_path: Path) -> AsyncIterator[Claims]:
    """Volumes as claims of a fake cluster."""
    async with fake_cluster() as cluster, claims_of(cluster, tmp_path) as made:
        yield made
