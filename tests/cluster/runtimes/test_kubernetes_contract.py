from __future__ import annotations

import pytest

from contracts.runtime import RuntimeContract
from contracts.tasks import TaskContract
from harness.cluster_yard import ClusterYard


class TestKubernetesRuntime(RuntimeContract):
    """The Kubernetes runtime keeps every promise of the contract."""


class TestKubernetesTasks(TaskContract):
    """And of tasks."""

    @pytest.fixture
    def yard(self, task_yard: ClusterYard) -> ClusterYard:
        return task_yard
