from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.fake_cluster import FakeCluster, fake_cluster
from harness.observed_pods import QUICK
from modelyard_hub.runtimes.kubernetes import KubernetesOptions, KubernetesRuntime
from modelyard_hub.runtimes.kubernetes.rbac import RULES


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
    return KubernetesOptions(namespace="yard", kubeconfig=cluster.kubeconfig(tmp_path), image="server:1", timing=QUICK)


@pytest.fixture
async def around(cluster: FakeCluster, options: KubernetesOptions) -> AsyncIterator[Around]:
    made = Around(KubernetesRuntime(options), cluster, options)
    await made.runtime.open()
    try:
        yield made
    finally:
        await made.runtime.close()
    allowed = {(rule.resource, verb) for rule in RULES for verb in rule.verbs}
    assert cluster.verbs <= allowed, "the chart's Role does not grant it"
