"""The state folder on a full disk: what runs goes on, a publish says why it fails, and works when there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.disk import Disk, small_disk
from harness.publishing import Publisher, make_caller
from harness.stack import Stack
from harness.wait import eventually
from modelyard_api.resources import MiB

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", 512 * MiB) as made:
        yield made


@pytest.fixture
def crowded(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("MODELYARD_IDENTITY_CACHE", "0")  # JupyterHub, whose disk is full, is asked each time
    running = Stack(disk.path / "home").wait_ready()
    yield running
    disk.fill()
    running.stop()
    eventually(lambda: not running.descendants(), what="nothing is left running")


def test_a_full_disk(crowded: Stack, disk: Disk) -> None:
    publisher = Publisher(crowded)
    publisher.publish("steady")
    call = make_caller(crowded, "ada", "steady")
    disk.fill()

    process = publisher.start("late")
    said, _ = process.communicate(timeout=180)
    assert process.returncode != 0
    assert said.rstrip().splitlines()[-1].startswith("modelyard_api.errors.StorageFull: "), said
    assert call().status_code == 200
    crowded.kill("traefik")
    eventually(lambda: call().status_code == 200, timeout=60, what="the router is started again")

    disk.free()
    eventually(lambda: crowded.command("status").returncode == 0, timeout=60, what="all parts answer")
    publisher.publish("late")
    assert make_caller(crowded, "ada", "late")().status_code == 200
    assert call().status_code == 200
