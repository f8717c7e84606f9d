"""Volumes from a notebook, over the whole API on claims of a fake cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.disks import GiB
from harness import api
from harness.claims import claims_of
from harness.fake_cluster import fake_cluster
from modelyard.client import AsyncClient
from modelyard.errors import Conflict, InvalidInput, NotFound, TimedOut
from modelyard.fullness import mounted, report
from modelyard_api.volumes import VolumeSpec


async def test_a_volume_through_its_life(tmp_path: Path) -> None:
    async with (
        fake_cluster() as cluster,
        claims_of(cluster, tmp_path) as claims,
        api.yard(tmp_path, disks=claims.disks) as yard,
        AsyncClient("http://yard.test", "ada", patience=0) as client,
    ):
        client._http = yard.client("ada")
        made = await client.create_volume("data", "1Gi")
        assert (made.owner, made.last.spec.server) == ("ada", "")
        assert [v.name for v in await client.volumes()] == ["data"]
        with pytest.raises(TimedOut, match="has not grown"):
            await made.grow("2Gi", wait=0.1)
        with pytest.raises(InvalidInput, match="cannot shrink"):
            await made.grow("1Gi")
        with pytest.raises(InvalidInput, match="is no amount"):
            await made.grow("much")
        await claims.bind((await claims.disks.volumes(["ada"]))[0])
        assert (await made.grow(2 * GiB, wait=1)).status.size == 2 * GiB
        assert not (await made.detach()).spec.attached
        assert (await made.attach("gpu")).spec.server == "gpu"
        plan = (await made.plan(12, 3)).spec.snapshots
        assert plan is not None
        assert (plan.every_hours, plan.keep) == (12, 3)
        assert (await made.plan(None)).spec.snapshots is None
        taken = await made.snapshot(wait=0)
        with pytest.raises(TimedOut, match="is not ready"):
            await made.snapshot(wait=0.1)
        with pytest.raises(Conflict, match="is not ready"):
            await made.restore(taken, "before")
        await cluster.change("volumesnapshots", taken.name, lambda o: o.update(status={"readyToUse": True}))
        assert (await made.restore(taken, "before")).name == "before"
        with pytest.raises(TimedOut):
            await made.restore(taken, "data", folder="work", wait=0.1)
        await made.delete_snapshot(taken)
        assert len(await made.snapshots()) == 1
        assert made.usage() is None
        await made.trash()
        with pytest.raises(NotFound, match="There are: ada/before"):
            await client.volume("data")
        (put,) = await client.trash()
        assert (await client.recover(put, "old")).name == "old"


async def test_a_server_tells_how_full_its_volumes_are(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "volumes" / "data").mkdir(parents=True)
    (home / "volumes" / "link").symlink_to(tmp_path)
    assert mounted(home, "") == {}
    there = {home: True, home / "volumes" / "data": True}
    found = mounted(home, "gpu", is_mount=there)
    assert found == {"home-gpu": home, "data": home / "volumes" / "data"}
    async with (
        fake_cluster() as cluster,
        claims_of(cluster, tmp_path) as claims,
        api.yard(tmp_path, disks=claims.disks) as yard,
    ):
        await claims.disks.create("ada", "data", VolumeSpec(size=GiB))
        async with AsyncClient("http://yard.test", "ada", patience=0) as client:
            client._http = yard.client("ada")
            await report(client, found)
            assert (await client.volume("data")).last.status.used
