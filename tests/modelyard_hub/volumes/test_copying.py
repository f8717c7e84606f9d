"""What runs in a restore's pod, on real folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard_hub.volumes.copying import copy


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "from", tmp_path / "to"
    (source / "work" / "churn").mkdir(parents=True)
    (source / "lost+found").mkdir()
    (source / "work" / "churn" / "a.txt").write_text("a")
    (source / "work" / "link").symlink_to("churn/a.txt")
    (source / "out").symlink_to("/etc")
    target.mkdir()
    return source, target


def test_a_folder_with_its_links(places: tuple[Path, Path]) -> None:
    source, target = places
    assert copy(str(source), "work", str(target), "restored/today") == "work"
    assert (target / "restored" / "today" / "work" / "churn" / "a.txt").read_text() == "a"
    assert (target / "restored" / "today" / "work" / "link").is_symlink()


def test_what_only_a_program_of_then_could_use_is_left_out(places: tuple[Path, Path]) -> None:
    source, target = places
    os.mkfifo(source / "work" / "pipe")
    assert copy(str(source), "work", str(target), "restored") == "work"
    assert sorted(path.name for path in (target / "restored" / "work").iterdir()) == ["churn", "link"]


def test_what_is_there_stays(places: tuple[Path, Path]) -> None:
    source, target = places
    (target / "restored" / "work").mkdir(parents=True)
    (target / "restored" / ".work-2.part").mkdir()
    assert copy(str(source), "work", str(target), "restored") == "work-2"
    assert list((target / "restored" / "work").iterdir()) == []
    assert sorted(p.name for p in (target / "restored").iterdir()) == ["work", "work-2"]


def test_one_file_and_everything(places: tuple[Path, Path]) -> None:
    source, target = places
    assert copy(str(source), "work/churn/a.txt", str(target), "") == "a.txt"
    assert copy(str(source), "", str(target), "restored") == "all"
    assert not (target / "restored" / "all" / "lost+found").exists()


@pytest.mark.parametrize(
    ("folder", "said"), [("none", "there is no none"), ("out", "leads out"), ("../to", "leads out")]
)
def test_what_is_not_there_is_said(places: tuple[Path, Path], folder: str, said: str) -> None:
    source, target = places
    with pytest.raises(SystemExit, match=said):
        copy(str(source), folder, str(target), "restored")
