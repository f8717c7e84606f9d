from __future__ import annotations

from contracts.runtime import RuntimeContract
from contracts.tasks import TaskContract


class TestLocalRuntime(RuntimeContract):
    """The local runtime keeps every promise of the contract."""


class TestLocalTasks(TaskContract):
    """And of tasks."""
