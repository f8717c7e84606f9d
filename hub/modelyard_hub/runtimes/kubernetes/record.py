"""A workload's Secret: its record and root. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from modelyard_api.errors import InvalidInput
from modelyard_hub.runtimes.base import Server
from modelyard_hub.runtimes.kubernetes.kinds import SECRET, Object
from modelyard_hub.runtimes.kubernetes.labels import object_labels
from modelyard_hub.runtimes.record import server_from_json, server_to_json

TYPE = "modelyard.dev/server"
"""Type of the Secret, which nobody can change: by it a Secret of ours is told from another of the same name."""
SERVER = "server.json"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def record(server: Server, namespace: str) -> dict[str, Any]:
    """The Secret of a server. Raises InvalidInput for a file that has no plain name, or the record's own."""
    for name in server.files:
        if not _FILE_NAME.fullmatch(name) or name == SERVER:
            raise InvalidInput(f"{name!r} is not a plain file name")
    told = {**server_to_json(server), "files": sorted(server.files)}
    data = {SERVER: json.dumps(told, sort_keys=True), **server.files}
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {"name": server.name, "namespace": namespace, "labels": object_labels(server)},
        "type": TYPE,
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()},
    }


def read(secret: Object) -> Server | None:
    """The server of a Secret; None where somebody else wrote into it."""
    try:
        data = {k: base64.b64decode(v).decode() for k, v in (secret.get("data") or {}).items()}
        told = json.loads(data[SERVER])
        # What somebody else put beside them is none of the server's.
        return server_from_json({**told, "files": {name: data[name] for name in told["files"]}})
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def files_digest(files: Mapping[str, str]) -> str:
    """Short digest of a server's files."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()[:16]
