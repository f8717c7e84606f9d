"""What JupyterHub's service account must be allowed, in the namespace of the notebook servers. The chart grants exactly
this."""

from __future__ import annotations

RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "pods", ("list", "watch", "create", "delete")),
    ("", "persistentvolumeclaims", ("get", "create")),
    ("", "events", ("list", "watch")),
    ("", "resourcequotas", ("list",)),
)
"""Group, resource, verbs."""
