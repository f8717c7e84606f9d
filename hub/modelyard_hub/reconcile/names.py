"""What the workload of a revision is called and labelled. Pure."""

from __future__ import annotations

import hashlib

OWNER = "modelyard.dev/owner"
ENDPOINT = "modelyard.dev/endpoint"
REVISION = "modelyard.dev/revision"
_READABLE = 40


def workload_name(owner: str, endpoint: str, revision: int) -> str:
    """A DNS label for a revision's workload: readable, then a digest, for `a-b` of `c` and `b-c` of `a` read alike."""
    readable = f"{owner}-{endpoint}"[:_READABLE].strip("-")
    digest = hashlib.sha256(f"{owner}/{endpoint}/{revision}".encode()).hexdigest()[:8]
    return f"{readable}-r{revision}-{digest}"


def workload_labels(owner: str, endpoint: str, revision: int) -> dict[str, str]:
    """The labels by which a workload is told to belong to a revision."""
    return {
        "app.kubernetes.io/managed-by": "modelyard",
        "app.kubernetes.io/component": "model-server",
        OWNER: owner,
        ENDPOINT: endpoint,
        REVISION: str(revision),
    }
