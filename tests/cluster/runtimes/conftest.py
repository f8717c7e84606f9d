from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from harness.base_image import base_image
from harness.cluster_yard import FILES, IMAGE, ClusterYard
from harness.layered import layered


@pytest.fixture(scope="session")
def misbehaving_image(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The image of the misbehaving server is on the cluster's nodes."""
    target = tmp_path_factory.mktemp("image") / "misbehaving.tar"
    cluster.load_image(layered(base_image(), IMAGE, FILES, target))


@pytest.fixture
async def yard(
    cluster: Any, namespace: str, misbehaving_image: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ClusterYard]:
    monkeypatch.setenv("MODELYARD_SECRET", "of the hub service")
    made = ClusterYard(cluster, namespace)
    await made.runtime.open()
    try:
        yield made
    finally:
        await made.runtime.close()
