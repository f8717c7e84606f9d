from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts.disks import DisksContract, DisksYard
from harness.claims import Claims
from modelyard_api.volumes import Mount, Volume
from modelyard_hub.volumes.local import LocalDisks


@dataclass
class Folders:
    """Disks as folders; who has them is said by the test."""

    disks: LocalDisks
    held: dict[str, tuple[Mount, ...]] = field(default_factory=dict)

    async def bind(self, volume: Volume) -> None: ...

    async def hold(self, volume: Volume) -> None:
        self.held[volume.owner] = (Mount(pod="process 7"),)

    async def release(self, volume: Volume) -> None:
        self.held.clear()


class TestFolders(DisksContract):
    @pytest.fixture
    async def yard(self, tmp_path: Path) -> AsyncIterator[DisksYard]:
        held: dict[str, tuple[Mount, ...]] = {}
        made = Folders(LocalDisks(tmp_path, lambda: held), held)
        yield made
        await made.disks.close()


class TestClaims(DisksContract):
    @pytest.fixture
    def yard(self, claims: Claims) -> DisksYard:
        return claims


class TestClaimsWithoutSnapshots(DisksContract):
    @pytest.fixture
    def yard(self, claims: Claims) -> DisksYard:
        claims.cluster.absent.add("volumesnapshots")
        return claims
