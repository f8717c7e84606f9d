from __future__ import annotations

from contracts.runtime import RuntimeContract


class TestKubernetesRuntime(RuntimeContract):
    """The Kubernetes runtime keeps every promise of the contract."""
