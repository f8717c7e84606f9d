"""Runs go with all that they left, wherever the hub service is killed; by a real store, in folders and in S3."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from harness import s3
from harness.instant_tasks import Killed, Plug
from harness.runs import spec
from harness.wait import eventually_async
from modelyard_api.errors import ModelyardError, Unavailable
from modelyard_api.runs import SNAPSHOT, Run, RunState, RunStatus, attempt_folder, snapshot_folder, snapshots_folder
from modelyard_hub.artifacts import Artifacts, FolderArtifacts
from modelyard_hub.artifacts_s3 import S3Artifacts
from modelyard_hub.reconcile.sweep import Keep, Sweeper
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store

ADA = Actor("ada")
LATER = timedelta(days=100)
DIGEST = "a" * 64


@pytest.fixture(scope="module")
def store_server() -> Iterator[s3.S3]:
    with s3.server() as server:
        yield server


class Plugged:
    """A part whose plug can be pulled at any call that it answers later."""

    def __init__(self, part: Any, plug: Plug, **plain: Any) -> None:
        self._pulled, self._plain = plug.pulled(part), plain

    def __getattr__(self, name: str) -> Any:
        return self._plain[name] if name in self._plain else getattr(self._pulled, name)


@dataclass
class Place:
    """What stays when a hub service is killed. Time: `late`, a hundred days on."""

    store: Store
    files: Artifacts
    late: bool = True
    runs: list[Run] = field(default_factory=list)

    def sweeper(self, plug: Plug | None = None, files: Artifacts | None = None, keep: Keep | None = None) -> Sweeper:
        plug = plug or Plug()
        files = files or self.files
        return Sweeper(
            cast("Store", Plugged(None, plug, removal=plug.pulled(self.store.removal), events=self.store.events)),
            cast("Artifacts", Plugged(files, plug, place=files.place)),
            keep or Keep(timedelta(days=90)),
            lambda: datetime.now(UTC) + (LATER if self.late else timedelta()),
        )

    async def ended(self, snapshot: str = DIGEST, owner: str = "ada") -> Run:
        """A run with an output, a log and a snapshot."""
        run = await self.store.submit_run(owner, spec(snapshot))
        await self.files.write(self.files.place(snapshot_folder(owner, snapshot)), SNAPSHOT, b"PK")
        for attempt in (1, 2):
            folder = self.files.place(attempt_folder(owner, run.id, attempt))
            await self.files.write(folder, "log", b"said\n")
            await self.files.write(folder, "output/live/notebook.ipynb", b"{}")
        await self.store.write_run_status(run.id, RunStatus(state=RunState.succeeded, attempt=2))
        return run

    async def has(self, run: Run) -> bool:
        return await self.files.read(self.files.place(attempt_folder(run.owner, run.id, 2)), "log") is not None

    async def has_snapshot(self, digest: str = DIGEST, owner: str = "ada") -> bool:
        return await self.files.stat(self.files.place(snapshot_folder(owner, digest)), SNAPSHOT) is not None


@pytest.fixture(params=["folder", "s3"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    if request.param == "folder":
        files: Artifacts = FolderArtifacts(tmp_path / "kept")
    else:
        server: s3.S3 = request.getfixturevalue("store_server")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.bucket("yard")
        files = S3Artifacts(f"s3://yard/{tmp_path.name}")
    yield Place(store, files)
    await store.close()


async def test_old_ones_go_with_all_that_they_left(place: Place) -> None:
    runs = [await place.ended() for _ in range(3)]
    assert await place.sweeper(keep=Keep(None)).look() == 0, "for ever"
    place.late = False
    assert await place.sweeper().look() == 0
    place.late = True
    assert await place.sweeper().look() == 3
    assert [await place.has(run) for run in runs] == [False] * 3
    assert await place.has_snapshot() is False
    assert await place.store.removal.marked(0, 10) == ()


async def test_one_that_is_removed_goes_and_what_others_need_stays(place: Place) -> None:
    first, second = await place.ended(), await place.ended()
    await place.store.removal.mark(first.id, ADA)
    assert await place.sweeper(keep=Keep(None)).look() == 1
    assert (await place.has(first), await place.has(second), await place.has_snapshot()) == (False, True, True)


async def test_a_fresh_snapshot_waits_for_its_run_and_an_unused_one_goes(place: Place) -> None:
    run = await place.ended()
    await place.files.write(place.files.place(snapshot_folder("ada", "b" * 64)), SNAPSHOT, b"PK")
    place.late = False
    await place.sweeper().drop_unused()
    assert (await place.has_snapshot(), await place.has_snapshot("b" * 64)) == (True, True)
    place.late = True
    await place.sweeper().drop_unused()
    assert (await place.has_snapshot(), await place.has_snapshot("b" * 64)) == (True, False)
    assert await place.has(run)


@pytest.mark.parametrize("place", ["folder"], indirect=True)
async def test_what_a_hub_that_was_killed_while_it_wrote_left_goes(place: Place) -> None:
    digest, folders = "b" * 64, place.files.place(snapshots_folder("ada"))
    folder = place.files.place(snapshot_folder("ada", digest))
    await place.files.write(folder, "tmpabc", b"P")
    place.late = False
    await place.sweeper().drop_unused()
    assert await place.files.folders(folders) == [digest], "it may be writing still"
    place.late = True
    await place.sweeper().drop_unused()
    assert await place.files.folders(folders) == []


async def test_one_that_is_uploaded_again_while_it_is_looked_at_stays(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    place = Place(store, FolderArtifacts(tmp_path / "kept"), late=False)
    folder, old = place.files.place(snapshot_folder("ada", DIGEST)), datetime.now(UTC) - LATER
    await place.files.write(folder, SNAPSHOT, b"PK")
    os.utime(Path(folder, SNAPSHOT), (old.timestamp(),) * 2)

    class Meanwhile:
        """What is named is read, and right after that a run is submitted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store.removal, name)

        async def snapshots(self, owner: str) -> frozenset[str]:
            found = await store.removal.snapshots(owner)
            await place.files.write(place.files.place(snapshot_folder(owner, DIGEST)), SNAPSHOT, b"PK")
            return found

    parts = cast("Store", Plugged(None, Plug(), removal=Meanwhile(), events=store.events))
    sweeper = Sweeper(parts, place.files, Keep(timedelta(days=90)))
    await sweeper._drop_snapshot("ada", DIGEST)
    assert await place.has_snapshot()
    await store.close()


@pytest.mark.parametrize("place", ["folder"], indirect=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", range(1, 12))
async def test_killed_at_any_point_nothing_is_left(place: Place, point: int, after: bool) -> None:
    runs = [await place.ended() for _ in range(2)]
    plug = Plug(point, after)
    with pytest.raises(Killed):
        await place.sweeper(plug).look()
    await place.sweeper().look()
    assert [await place.has(run) for run in runs] == [False] * 2
    assert await place.has_snapshot() is False
    assert (await place.store.list_runs(), await place.store.removal.marked(0, 10)) == ((), ())


async def test_two_at_once_do_no_harm(place: Place) -> None:
    runs = [await place.ended(owner=owner) for owner in ("ada", "bob") for _ in range(10)]
    gone = await asyncio.gather(*(place.sweeper().look() for _ in range(2)))
    assert sum(gone) == len(runs), "each is forgotten once"
    assert not any([await place.has(run) for run in runs])


class Stuck(FolderArtifacts):
    """A store that does not let go of one owner's files."""

    async def remove(self, location: str) -> None:
        if "/eve/" in location:
            raise Unavailable("the disk is read-only")
        await super().remove(location)


async def test_one_that_cannot_go_now_holds_up_no_other(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    place = Place(store, Stuck(tmp_path))
    eves, adas = await place.ended(owner="eve"), await place.ended()
    with pytest.raises(ModelyardError, match="read-only"):
        await place.sweeper().look()
    assert (await place.has(eves), await place.has(adas)) == (True, False)
    assert [s.run.id for s in await store.removal.marked(0, 10)] == [eves.id]
    place.files = FolderArtifacts(tmp_path)
    assert await place.sweeper().look() == 1
    await store.close()


async def test_it_goes_to_work_as_soon_as_one_is_removed(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    place = Place(store, FolderArtifacts(tmp_path), late=False)
    run = await place.ended()
    sweeping = asyncio.create_task(place.sweeper().run())
    await place.store.removal.mark(run.id, ADA)

    async def gone() -> bool:
        return not await place.has(run) and await store.removal.marked(0, 1) == ()

    await eventually_async(gone, timeout=10, what="its files are gone")
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    await store.close()


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A run's own code may have put one there."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    files = FolderArtifacts(tmp_path / "kept")
    await files.write(files.place("runs/ada/1/1"), "log", b"")
    os.symlink(tmp_path / "precious", tmp_path / "kept/runs/ada/1/1/link")
    await files.remove(files.place("runs/ada/1"))
    assert (tmp_path / "precious" / "file").read_text() == "mine"
    assert await files.folders(files.place("runs/ada")) == []
