"""An image with a few files more than another one has, without a builder: for servers that are only tests."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def layered(base: Path, name: str, files: Mapping[str, bytes], target: Path) -> Path:
    """Write `target`, an archive of the image `name`: that in the archive `base` (OCI, or of `docker save`) and a layer
    of `files` by absolute path. Returns `target`."""
    layer = _layer(files)
    with tarfile.open(base) as source:
        config, layers = _parts(source)
        config["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(layer).hexdigest()}")
        config.get("history", []).clear()
        document = json.dumps(config).encode()
        names = [f"{number}/layer.tar" for number in range(len(layers) + 1)]
        identity = f"{hashlib.sha256(document).hexdigest()}.json"
        manifest = [{"Config": identity, "RepoTags": [name], "Layers": names}]
        with tarfile.open(target, "w") as made:
            for path, member in zip(names, layers, strict=False):
                content = source.extractfile(member)
                assert content is not None
                entry = tarfile.TarInfo(path)
                entry.size = source.getmember(member).size
                made.addfile(entry, content)
            for path, data in ((names[-1], layer), (identity, document), ("manifest.json", _json(manifest))):
                _add(made, path, data)
    return target


def _parts(source: tarfile.TarFile) -> tuple[dict[str, Any], list[str]]:
    """The image's configuration, and its layers' members of the archive."""
    if "manifest.json" in source.getnames():
        (entry,) = _read(source, "manifest.json")
        return _read(source, entry["Config"]), list(entry["Layers"])
    (entry,) = _read(source, "index.json")["manifests"]
    manifest = _read(source, _blob(entry))
    return _read(source, _blob(manifest["config"])), [_blob(layer) for layer in manifest["layers"]]


def _blob(entry: Mapping[str, Any]) -> str:
    return "blobs/" + str(entry["digest"]).replace(":", "/")


def _read(source: tarfile.TarFile, member: str) -> Any:
    content = source.extractfile(member)
    assert content is not None, member
    return json.load(content)


def _layer(files: Mapping[str, bytes]) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        for path, data in files.items():
            _add(tar, path.lstrip("/"), data)
    return found.getvalue()


def _add(tar: tarfile.TarFile, path: str, data: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
