"""The clock: what is purged and snapshotted, when."""

from __future__ import annotations

from datetime import timedelta

from contracts.disks import LATER, NOW, again, made
from harness.claims import Claims
from modelyard_api.volumes import Snapshot, SnapshotPlan
from modelyard_hub.volumes.keeper import AT_ONCE, Keeper
from modelyard_hub.volumes.plans import due, too_many
from modelyard_hub.volumes.shelf import Bounds, Shelf


class Clock:
    def __init__(self) -> None:
        self.now, self.told = NOW, list[tuple[str, str]]()

    async def audit(self, action: str, subject: str) -> None:
        self.told.append((action, subject))


def keeper(claims: Claims, clock: Clock, usual: SnapshotPlan | None = None) -> Keeper:
    shelf = Shelf(claims.disks, Bounds(largest=1 << 40, most=3, days=30, usual=usual))
    return Keeper(shelf, clock.audit, lambda: clock.now)


async def test_the_trash_is_emptied_when_its_time_is_over(claims: Claims) -> None:
    clock = Clock()
    kept, gone = await made(claims), await made(claims, "more")
    await claims.disks.trash(gone, NOW, LATER, "ada")
    clock.now = LATER - timedelta(seconds=1)
    await keeper(claims, clock).look()
    assert len(await claims.disks.volumes(None)) == 2
    clock.now = LATER
    await keeper(claims, clock).look()
    assert [v.id for v in await claims.disks.volumes(None)] == [kept.id]
    assert clock.told == [("volume.purge", "volume/ada/more")]


async def test_what_a_pod_has_waits(claims: Claims) -> None:
    clock = Clock()
    volume = await claims.disks.trash(await made(claims), NOW, LATER, "ada")
    await claims.hold(volume)
    clock.now = LATER
    await keeper(claims, clock).look()
    assert (await again(claims, volume)).status.trashed
    await claims.release(volume)
    await keeper(claims, clock).look()
    assert await claims.disks.volumes(None) == []


async def test_a_plan_takes_one_in_its_time_and_keeps_the_latest(claims: Claims) -> None:
    clock = Clock()
    volume = await made(claims)
    plan = SnapshotPlan(every_hours=6, keep=2)
    volume = await claims.disks.write(volume, volume.spec.model_copy(update={"snapshots": plan}))
    mine = await claims.disks.snapshot(volume)
    for hours in (0, 1, 6, 12, 18):
        clock.now = NOW + timedelta(hours=hours)
        await keeper(claims, clock).look()
        for (kind, name), found in list(claims.cluster.objects.items()):
            if kind == "volumesnapshots" and "status" not in found:
                at = {"creationTime": clock.now.isoformat(), "readyToUse": True, "restoreSize": "1Gi"}
                await claims.cluster.change(kind, name, lambda o, at=at: o.update(status=at))
    await keeper(claims, clock).look()
    found = await claims.disks.snapshots(["ada"])
    assert [(s.made_at - NOW) // timedelta(hours=1) for s in found if s.planned] == [18, 12]
    assert mine.name in {s.name for s in found}


async def test_many_are_taken_one_look_after_the_other(claims: Claims) -> None:
    clock, usual = Clock(), SnapshotPlan()
    for number in range(AT_ONCE + 2):
        await made(claims, "home", f"user-{number}")
    for expected in (AT_ONCE, AT_ONCE + 2, AT_ONCE + 2):
        await keeper(claims, clock, usual).look()
        assert len(await claims.disks.snapshots(None)) == expected


async def test_homes_have_the_usual_plan_and_other_volumes_none(claims: Claims) -> None:
    usual = SnapshotPlan()
    home, data = await made(claims, "home"), await made(claims)
    assert due(home, (), usual, NOW)
    assert not due(data, (), usual, NOW)
    taken = Snapshot(name="s", id="1", owner="ada", volume="home", volume_id="another", made_at=NOW, planned=True)
    assert due(home, [taken], usual, NOW)
    assert not due(home, [taken.model_copy(update={"volume_id": home.id})], usual, NOW + timedelta(hours=23))
    ready = [taken.model_copy(update={"volume_id": home.id, "ready": True, "planned": False})] * 9
    assert too_many(home, ready, usual) == []
    stuck = [
        taken.model_copy(update={"volume_id": home.id, "name": str(hours), "made_at": NOW - timedelta(hours=hours)})
        for hours in (0, 24, 48)
    ]
    assert [one.name for one in too_many(home, stuck, usual)] == ["24", "48"], "what never came to be does not pile up"
