"""A small image for tasks: Python, what runs a task's command, and the client of S3 stores. Without a builder."""

from __future__ import annotations

from pathlib import Path

import obstore
import typing_extensions

import modelyard_api
import modelyard_server
from harness.base_image import base_image
from harness.layered import layered

IMAGE = "localhost/modelyard/task:test"
_INTO = "/usr/lib/python3/dist-packages"
_API = ("__init__", "errors", "locations", "redact", "tasks")
_SERVER = ("__init__", "buckets")


def task_image(target: Path) -> Path:
    """Write its archive."""
    return layered(base_image(), IMAGE, _files(), target)


def _files() -> dict[str, bytes]:
    api, server = (Path(p.__file__ or "").parent for p in (modelyard_api, modelyard_server))
    sources = [(api, api / f"{name}.py") for name in _API] + [(server, server / f"{name}.py") for name in _SERVER]
    sources += [(server, path) for path in (server / "task").glob("*.py")]
    client = Path(obstore.__file__).parent
    sources += [(client, path) for path in client.rglob("*") if path.suffix in (".py", ".so", ".pyi")]
    found = {f"{_INTO}/{root.name}/{path.relative_to(root)}": path.read_bytes() for root, path in sources}
    found[f"{_INTO}/typing_extensions.py"] = Path(typing_extensions.__file__).read_bytes()
    about = f"Metadata-Version: 2.1\nName: modelyard\nVersion: {modelyard_api.__version__}\n"
    found[f"{_INTO}/modelyard-{modelyard_api.__version__}.dist-info/METADATA"] = about.encode()
    return found
