from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from harness.base_image import base_image
from harness.cluster_yard import FILES, IMAGE, ClusterYard
from harness.layered import layered
from harness.s3 import S3, server
from harness.task_image import IMAGE as TASK_IMAGE
from harness.task_image import task_image


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


@pytest.fixture(scope="session")
def loaded_task_image(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The image of tasks is on the cluster's nodes."""
    cluster.load_image(task_image(tmp_path_factory.mktemp("image") / "task.tar"))


@pytest.fixture(scope="session")
def s3(cluster: Any) -> Iterator[S3]:
    """An S3 server of this machine that pods reach."""
    with server(cluster.node_ip) as running:
        running.bucket("tasks")
        yield running


@pytest.fixture
async def task_yard(
    cluster: Any,
    namespace: str,
    misbehaving_image: None,
    loaded_task_image: None,
    s3: S3,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[ClusterYard]:
    """A runtime whose tasks leave what they leave in S3; the keys are in a Secret of the namespace, and ours."""
    monkeypatch.setenv("MODELYARD_SECRET", "of the hub service")
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    made = ClusterYard(cluster, namespace)
    made.kubectl("create", "secret", "generic", "s3", *(f"--from-literal={k}={v}" for k, v in s3.environment.items()))
    made.use(replace(made.options, artifacts_secret="s3", image=TASK_IMAGE))
    await made.runtime.open()
    try:
        yield made
    finally:
        await made.runtime.close()
