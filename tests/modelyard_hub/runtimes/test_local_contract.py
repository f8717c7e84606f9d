from __future__ import annotations

from contracts.runtime import RuntimeContract


class TestLocalRuntime(RuntimeContract):
    """The local runtime keeps every promise of the contract."""
