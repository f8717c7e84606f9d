"""A cluster for the session, a namespace for each test; what happened in it in a failing test's output."""

from __future__ import annotations

import re
import uuid
from collections.abc import Generator, Iterator

import pytest

from harness import cluster as harness
from harness.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that MODELYARD_TEST_KUBECONFIG names, else one that is started for the session."""
    with harness.running() as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new namespace, deleted after the test."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    name = f"{words}-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    # Pods need it, and a controller makes it; after the API server's restart that takes a moment.
    cluster.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=60s", "--namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """While the namespace is still there."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    if report.failed and "namespace" in arguments:
        name = arguments["namespace"]
        report.sections.append((f"namespace {name}", arguments["cluster"].describe(name)))
    return report
