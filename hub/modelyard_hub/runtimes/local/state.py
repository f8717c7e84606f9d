"""Checkpoint files of the local runtime: what should run, and what was started for it.

`<root>/<workload>/server.json`, `files/<name>`, `replica-<n>.json`, `replica-<n>.log`. Each file is replaced in one
step and synced, so that a reader at any moment, also after a crash, sees an old or a new one, never half of one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modelyard_api.errors import InvalidInput
from modelyard_hub.runtimes.base import Server
from modelyard_hub.runtimes.local.process import Identity, as_unavailable
from modelyard_hub.runtimes.record import server_from_json, server_to_json

_SERVER = "server.json"
_REPLICA = re.compile(r"replica-(\d+)\.json")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ServerRecord:
    """A server as it should run; `deleting` when it should stop and be forgotten."""

    server: Server
    deleting: bool = False


@dataclass(frozen=True)
class ReplicaRecord:
    """One replica as checkpointed. `nonce` is written before its process exists and stands in its environment, so that
    a process whose pid never got written is found again. `ready`: it was seen ready since it started."""

    index: int
    template: str
    nonce: str = ""
    port: int | None = None
    pid: int | None = None
    started: str = ""
    ready: bool = False
    restarts: int = 0
    failures: int = 0

    @property
    def identity(self) -> Identity | None:
        """The process, where one was recorded."""
        return None if self.pid is None else Identity(self.pid, self.started)

    def of(self, identity: Identity) -> ReplicaRecord:
        """This record with the process that now runs it."""
        return replace(self, pid=identity.pid, started=identity.started)


class WorkloadFolder:
    """Files of one workload. Methods raise StorageFull or Unavailable when they cannot write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def access(self) -> Path:
        """Where the server finds its access rules."""
        return self.path / "files" / "access.json"

    def log(self, index: int) -> Path:
        """The log of a replica."""
        return self.path / f"replica-{index}.log"

    def write_server(self, record: ServerRecord) -> None:
        """Place the files, then the record: a recorded server has its files."""
        names = set(record.server.files)
        for name in names:
            if not _FILE_NAME.fullmatch(name):
                raise InvalidInput(f"{name!r} is not a plain file name")
        for name, text in record.server.files.items():
            if _read(self.path / "files" / name) != text:
                write_atomic(self.path / "files" / name, text)
        write_atomic(self.path / _SERVER, json.dumps(_to_json(record), indent=1, sort_keys=True))
        for stale in (self.path / "files").glob("*"):
            if stale.name not in names:
                stale.unlink(missing_ok=True)

    def read_server(self) -> ServerRecord | None:
        """The recorded server; None where a crash came before it was written."""
        text = _read(self.path / _SERVER)
        return None if text is None else _from_json(json.loads(text))

    def write_replica(self, record: ReplicaRecord) -> None:
        """Checkpoint a replica."""
        write_atomic(self.path / f"replica-{record.index}.json", json.dumps(asdict(record)))

    def read_replicas(self) -> list[ReplicaRecord]:
        """Checkpointed replicas by index."""
        found = [_read(p) for p in self.path.glob("replica-*.json") if _REPLICA.fullmatch(p.name)]
        return sorted((ReplicaRecord(**json.loads(text)) for text in found if text), key=lambda r: r.index)

    def forget_replica(self, index: int) -> None:
        """Remove a replica's checkpoint and logs."""
        for path in (self.path / f"replica-{index}.json", *self.path.glob(f"replica-{index}.log*")):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything, the record last, so that a half-removed workload still says that it is deleting."""
        for path in self.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _SERVER:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def folders(root: Path) -> list[WorkloadFolder]:
    """All workload folders, by name."""
    return [WorkloadFolder(p) for p in sorted(root.glob("*")) if p.is_dir()]


def write_atomic(path: Path, text: str) -> None:
    """Replace a file in one step, synced, readable by its owner only. Raises StorageFull, Unavailable."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise as_unavailable(error, f"{path.name} cannot be written in {path.parent}") from error


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _to_json(record: ServerRecord) -> dict[str, Any]:
    return {"deleting": record.deleting, **server_to_json(record.server)}


def _from_json(data: Mapping[str, Any]) -> ServerRecord:
    return ServerRecord(server_from_json(data), data["deleting"])
