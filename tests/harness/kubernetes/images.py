"""The image that holds a pod's namespaces: made without a registry."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

from harness.debian import alone
from harness.kubernetes.binaries import program

PAUSE_IMAGE = "localhost/modelyard/pause:test"


def pause() -> Path:
    """Its archive, in the format of `docker save`."""
    binary = program("pause")
    target = binary.with_suffix(".tar")
    with alone("pause-image"):
        if not target.exists():
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode="w") as tar:
                tar.add(binary, "pause")
            _write(target, layer.getvalue())
    return target


def _write(target: Path, layer: bytes) -> None:
    digest = hashlib.sha256(layer).hexdigest()
    image = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(image).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [PAUSE_IMAGE], "Layers": [f"{digest}/layer.tar"]}]
    pending = target.with_suffix(".new")
    with tarfile.open(pending, "w") as tar:
        for path, content in (
            (name, image),
            (f"{digest}/layer.tar", layer),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    os.replace(pending, target)
