"""What every `Disks` promises. An implementation's test module subclasses `DisksContract` and gives the fixture
`yard`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from modelyard_api.errors import Conflict, NotFound, StaleWrite, Unavailable
from modelyard_api.volumes import Volume, VolumeSpec
from modelyard_hub.volumes.base import Disks

GiB = 1 << 30
NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=30)


class DisksYard(Protocol):
    """Disks under test, and what happens to volumes beside them."""

    disks: Disks

    async def bind(self, volume: Volume) -> None:
        """Have it be a real disk, as after a server's first start."""

    async def hold(self, volume: Volume) -> None:
        """Have a server have it."""

    async def release(self, volume: Volume) -> None:
        """No server has it any more."""


async def made(yard: DisksYard, name: str = "data", owner: str = "ada", size: int = GiB) -> Volume:
    """A new volume that has its disk."""
    volume = await yard.disks.create(owner, name, VolumeSpec(size=size))
    await yard.bind(volume)
    return await again(yard, volume)


async def again(yard: DisksYard, volume: Volume) -> Volume:
    """As it is now."""
    (found,) = [v for v in await yard.disks.volumes([volume.owner]) if v.id == volume.id]
    return found


class DisksContract:
    """Each test gets a `yard` without volumes of ada and bob."""

    async def test_a_volume_is_its_owners(self, yard: DisksYard) -> None:
        volume = await made(yard)
        other = await made(yard, owner="bob")
        assert (volume.owner, volume.name, volume.kind, volume.status.trashed) == ("ada", "data", "data", None)
        assert [v.id for v in await yard.disks.volumes(["ada"])] == [volume.id]
        assert {volume.id, other.id} <= {v.id for v in await yard.disks.volumes(None)}
        assert (await again(yard, volume)).etag == volume.etag

    async def test_what_somebody_changed_meanwhile_is_not_overwritten(self, yard: DisksYard) -> None:
        volume = await made(yard)
        wanted = volume.spec.model_copy(update={"server": "gpu"})
        changed = await yard.disks.write(volume, wanted)
        assert changed.spec.server == "gpu"
        assert changed.etag != volume.etag
        with pytest.raises(StaleWrite):
            await yard.disks.write(volume, volume.spec.model_copy(update={"attached": False}))
        with pytest.raises(StaleWrite):
            await yard.disks.trash(volume, NOW, LATER, "ada")
        assert (await again(yard, volume)).spec.server == "gpu"

    async def test_it_grows_where_sizes_are_kept_to(self, yard: DisksYard) -> None:
        volume = await made(yard)
        if not yard.disks.grows:
            assert volume.spec.size is None
            return
        grown = await yard.disks.write(volume, volume.spec.model_copy(update={"size": 2 * GiB}))
        assert grown.spec.size == 2 * GiB
        assert (await again(yard, volume)).spec.size == 2 * GiB

    async def test_the_trash_keeps_it_and_frees_its_name(self, yard: DisksYard) -> None:
        volume = await made(yard)
        put = await yard.disks.trash(volume, NOW, LATER, "ada")
        assert put.status.trashed is not None
        assert (put.status.trashed.at, put.status.trashed.until) == (NOW, LATER)
        assert (put.status.trashed.by, put.status.trashed.gone) == ("ada", False)
        second = await made(yard)
        assert second.id != volume.id
        assert (await again(yard, volume)).status.trashed == put.status.trashed
        back = await yard.disks.recover(put, "ada", "old")
        assert (back.id, back.name, back.status.trashed) == (volume.id, "old", None)
        assert not back.spec.attached

    async def test_nothing_is_deleted_that_is_not_in_the_trash(self, yard: DisksYard) -> None:
        volume = await made(yard)
        with pytest.raises(Conflict):
            await yard.disks.purge(volume)
        put = await yard.disks.trash(volume, NOW, LATER, "ada")
        await yard.disks.recover(put, "ada", "data")
        with pytest.raises((Conflict, StaleWrite)):
            await yard.disks.purge(put)
        assert (await again(yard, volume)).status.trashed is None

    async def test_the_trash_is_emptied_for_ever(self, yard: DisksYard) -> None:
        volume, second = await made(yard), await made(yard, "more")
        await yard.disks.purge(await yard.disks.trash(volume, NOW, LATER, "ada"))
        assert [v.id for v in await yard.disks.volumes(["ada"])] == [second.id]
        with pytest.raises(NotFound):
            await yard.disks.purge(volume)
        with pytest.raises(NotFound):
            await yard.disks.write(volume, volume.spec)

    async def test_what_somebody_has_is_not_put_away(self, yard: DisksYard) -> None:
        volume = await made(yard)
        await yard.hold(volume)
        assert (await again(yard, volume)).status.mounted_by
        with pytest.raises(Conflict, match="mounted by"):
            await yard.disks.trash(await again(yard, volume), NOW, LATER, "ada")
        assert (await again(yard, volume)).status.trashed is None
        await yard.release(volume)
        await yard.disks.trash(await again(yard, volume), NOW, LATER, "ada")

    async def test_snapshots_are_of_one_volume_or_said_to_be_missing(self, yard: DisksYard) -> None:
        volume = await made(yard)
        if missing := await yard.disks.no_snapshots():
            assert missing.endswith(".")
            assert await yard.disks.snapshots(["ada"]) == []
            with pytest.raises(Unavailable):
                await yard.disks.snapshot(volume)
            return
        first = await yard.disks.snapshot(volume)
        assert (first.volume_id, first.volume, first.owner, first.planned) == (volume.id, "data", "ada", False)
        planned = await yard.disks.snapshot(volume, planned=True)
        assert {s.name for s in await yard.disks.snapshots(["ada"])} == {first.name, planned.name}
        assert await yard.disks.snapshots(["bob"]) == []
        await yard.disks.drop(first)
        assert [s.planned for s in await yard.disks.snapshots(["ada"])] == [True]
