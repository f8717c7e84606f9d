"""A folder that several processes read and write at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelyard.batch.scoring.folder_place import FolderPlace
from modelyard.batch.scoring.place import put_text
from modelyard_api.errors import Conflict
from modelyard_api.scoring import PROGRESS


def test_nobody_is_alone_with_somebody_else(tmp_path: Path) -> None:
    """The lock file is removed at the end of each turn, just when others have opened it."""
    place, inside, together = FolderPlace(tmp_path), [0], [0]
    turns = [0] * 8

    def work(number: int) -> None:
        for _ in range(400):
            try:
                with place.alone("0-of-1"):
                    inside[0] += 1
                    turns[number] += 1
                    together[0] = max(together[0], inside[0])
                    (tmp_path / "seen").touch()
                    together[0] = max(together[0], inside[0])
                    inside[0] -= 1
            except Conflict:
                continue

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(turns))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1]
    assert sum(turns) > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen"]


def test_files_that_others_move_meanwhile_are_passed_over(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    for number in range(200):
        (tmp_path / f"part-{number}").touch()
    stop = threading.Event()

    def write(number: int) -> None:
        while not stop.is_set():
            put_text(place, "x", f"w-{number}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            assert len([file for file in place.files() if file.path.startswith("part-")]) == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_temporary_file_that_was_cleared_away_is_said_in_words(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "out")
    made = place.temporary / ".scoring-x"
    with pytest.raises(Conflict, match="taken the output over"):
        place.put(made, PROGRESS)
