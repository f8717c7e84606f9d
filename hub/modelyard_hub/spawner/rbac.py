"""What JupyterHub's service account must be allowed. The chart grants exactly this."""

from __future__ import annotations

RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "pods", ("list", "watch", "create", "delete")),
    ("", "pods/resize", ("patch",)),
    ("", "persistentvolumeclaims", ("get", "list", "create", "patch")),
    ("", "pods/log", ("get",)),
    ("", "events", ("list", "watch")),
    ("", "resourcequotas", ("list",)),
)
"""Group, resource, verbs, in the namespace of the notebook servers."""

CLUSTER_RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "nodes", ("list",)),
    ("", "pods", ("list",)),
    ("storage.k8s.io", "volumeattachments", ("list",)),
)
"""The same in the whole cluster. Without them a server that waits is told why, but not how much room there is where."""
