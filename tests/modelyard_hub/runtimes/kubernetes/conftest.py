from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.fake_cluster import FakeCluster, fake_cluster
from modelyard_api.resources import MiB, Resources
from modelyard_hub.backoff import Backoff
from modelyard_hub.runtimes.base import Package, Server
from modelyard_hub.runtimes.kubernetes import KubernetesOptions, KubernetesRuntime, Timing

QUICK = Timing(request=2.0, watch=1.0, silence=0.5, backoff=Backoff(first=0.02, cap=0.1))


def small_server(**changes: Any) -> Server:
    """A server as the reconciler orders it; the same one each time but for `changes`."""
    told: dict[str, Any] = {
        "name": "ada-churn-r1",
        "endpoint": "churn",
        "package": Package(Path("/artifacts/7"), "ada.churn", "7"),
        "resources": Resources(cpu=0.5, memory=256 * MiB),
        "files": {"access.json": '{"owner":"ada"}'},
        "labels": {
            "modelyard.dev/owner": "ada",
            "modelyard.dev/endpoint": "churn",
            "modelyard.dev/revision": "1",
        },
    }
    return Server(**{**told, **changes})


@dataclass
class Around:
    """A runtime and the cluster that it talks to."""

    runtime: KubernetesRuntime
    cluster: FakeCluster
    options: KubernetesOptions


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as made:
        yield made


@pytest.fixture
def options(cluster: FakeCluster, tmp_path: Path) -> KubernetesOptions:
    return KubernetesOptions(
        namespace="yard", kubeconfig=cluster.kubeconfig(tmp_path), image="server:1", timing=QUICK
    )


@pytest.fixture
async def around(cluster: FakeCluster, options: KubernetesOptions) -> AsyncIterator[Around]:
    runtime = KubernetesRuntime(options)
    await runtime.open()
    try:
        yield Around(runtime, cluster, options)
    finally:
        await runtime.close()
