"""Folders as volumes: what a deleted user leaves, links in homes, sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from harness.wait import eventually, eventually_async
from modelyard_api.volumes import SharedVolume, VolumeSpec
from modelyard_hub.volumes.folders import Card, Folders
from modelyard_hub.volumes.local import LocalDisks, running
from modelyard_hub.volumes.sizes import Sizes, used


def home(folder: Path, owner: str) -> Path:
    place = folder / "users" / owner
    place.mkdir(parents=True)
    (place / "work.txt").write_text(owner)
    return place


def data(folder: Path, name: str, owner: str = "ada", attached: bool = True) -> Card:
    card = Card(
        id=f"{owner}-{name}", owner=owner, name=name, made_at=datetime.now(UTC), spec=VolumeSpec(attached=attached)
    )
    Folders(folder).make(card)
    return card


def test_a_deleted_user_leaves_all_in_the_trash_and_the_next_of_that_name_gets_none(tmp_path: Path) -> None:
    place = home(tmp_path, "ada")
    home(tmp_path, "bob")
    data(tmp_path, "data")
    folders = Folders(tmp_path)
    folders.trash_all("ada", 30)
    put = [card for card in folders.cards() if card.trashed]
    assert {(c.owner, c.name, c.trashed.gone) for c in put if c.trashed} == {
        ("ada", "home", True), ("ada", "data", True),
    }  # fmt: skip
    assert not place.exists()
    assert (folders.data(next(c for c in put if c.name == "home")) / "work.txt").read_text() == "ada"
    place.mkdir()
    assert len({card.id for card in folders.cards() if card.owner == "ada"}) == 3


def test_a_move_that_was_cut_off_leaves_the_home(tmp_path: Path) -> None:
    place = home(tmp_path, "ada")
    folders = Folders(tmp_path)
    card = folders.home("ada")
    assert card is not None
    (folders.volumes / card.id).mkdir(parents=True)
    (folders.volumes / card.id / "volume.json").write_text(card.model_dump_json())
    assert [c.id for c in folders.cards()] == [card.id]
    folders.trash_all("ada", 30)
    assert not place.exists()


def test_a_home_shows_its_volumes_and_those_of_its_groups(tmp_path: Path) -> None:
    place = home(tmp_path, "ada")
    (tmp_path / "pictures").mkdir()
    shared = [
        SharedVolume(name="pictures", path=str(tmp_path / "pictures"), groups=("vision",)),
        SharedVolume(name="secret", path=str(tmp_path), groups=("others",)),
    ]
    data(tmp_path, "data")
    data(tmp_path, "put-aside", attached=False)
    data(tmp_path, "bobs", "bob")
    folders = Folders(tmp_path)
    (place / "volumes").mkdir()
    (place / "volumes" / "mine.txt").write_text("mine")
    (place / "volumes" / "old").symlink_to("/nowhere")
    folders.link("ada", ["vision"], shared)
    folders.link("ada", ["vision"], shared)
    assert sorted(p.name for p in (place / "volumes").iterdir()) == ["data", "mine.txt"]
    assert (place / "volumes" / "data").resolve() == tmp_path / "volumes" / "ada-data" / "data"
    assert sorted(p.name for p in (place / "shared").iterdir()) == ["pictures"]
    folders.link("ada", [], shared)
    assert list((place / "shared").iterdir()) == []


def test_what_runs_in_a_home_has_it(tmp_path: Path) -> None:
    inside, beside = home(tmp_path, "ada") / "work", home(tmp_path, "bob")
    inside.mkdir()
    waits = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", waits], cwd=inside, stdin=subprocess.PIPE) as process:
        found = eventually(lambda: running(tmp_path), timeout=10, what="it runs")
        process.communicate(b"\n")
    assert {owner: [mount.pod for mount in held] for owner, held in found.items()} == {
        "ada": [f"process {process.pid}"]
    }
    assert running(tmp_path) == {}
    assert beside.exists()


def test_bytes_are_counted_once_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(os.urandom(1 << 20))
    os.link(tmp_path / "a" / "file", tmp_path / "a" / "again")
    (tmp_path / "away").symlink_to("/usr")
    assert 1 << 20 <= used(tmp_path) < (1 << 20) + 100_000
    assert used(tmp_path / "none") == 0


async def test_who_asks_does_not_wait_for_a_count(tmp_path: Path) -> None:
    home(tmp_path, "ada")
    disks = LocalDisks(tmp_path, dict)
    (first,) = await disks.volumes(["ada"])
    assert first.status.used is None

    async def counted() -> bool:
        (now,) = await disks.volumes(["ada"])
        return now.status.used is not None and now.status.counted_at is not None

    await eventually_async(counted, timeout=10, interval=0.02)
    await disks.close()


async def test_a_count_is_kept_until_it_is_old(tmp_path: Path) -> None:
    sizes = Sizes()
    sizes.of(tmp_path)

    async def known() -> bool:
        return sizes.of(tmp_path) is not None

    await eventually_async(known, timeout=10, interval=0.02)
    first = sizes.of(tmp_path)
    assert sizes.of(tmp_path) is first
    sizes.forget(tmp_path)
    assert sizes.of(tmp_path) is None
    await sizes.close()
