"""Packaging on a disk that is full, at whatever moment it becomes so."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.disk import small_disk
from harness.packages import pipeline, table
from modelyard.packaging import build
from modelyard_api.errors import StorageFull
from modelyard_api.resources import MiB


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 * MiB) as disk:
        target = disk.path / "package"
        build(pipeline(), table()[:5], directory=target)
        blocks = sum(-(-file.stat().st_size // 4096) for file in target.rglob("*") if file.is_file())
        for file in sorted(target.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        for room in range(blocks):
            disk.fill(leave=room * 4096)
            with pytest.raises(StorageFull, match="no space left"):
                build(pipeline(), table()[:5], directory=target)
            assert not target.exists(), room
            disk.free()
        build(pipeline(), table()[:5], directory=target)
