"""What goes with a notebook, and what is refused before anything is sent."""

from __future__ import annotations

import io
import json
import random
import subprocess
import warnings
import zipfile
from pathlib import Path

import pytest

from harness.runs import notebook
from modelyard.batch.inputs import read_notebook
from modelyard.errors import InvalidInput, TooLarge
from modelyard.snapshots import Snapshot, take


def write(folder: Path, *cells: str, parameters: str | None = None, kernel: str | None = "python3") -> Path:
    path = folder / "train.ipynb"
    path.write_text(notebook(*cells, parameters=parameters, kernel=kernel))
    return path


def names(snapshot: Snapshot) -> list[str]:
    found = zipfile.ZipFile(io.BytesIO(snapshot.content)).namelist()
    assert [f.path for f in snapshot.work.files] == found
    return found


def test_files_that_the_cells_name_go_with_it(tmp_path: Path) -> None:
    for name in ("data/a.csv", "used.py", "package/__init__.py", "package/inner.py", "other.csv", "script.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    path = write(
        tmp_path,
        "import used, numpy\nfrom package.inner import x\nopen('data/a.csv')",
        "%run script.py\n!ls\nopen('/etc/passwd'); open('../elsewhere'); open('.')",
    )
    expected = ["data/a.csv", "package/__init__.py", "package/inner.py", "script.py", "train.ipynb", "used.py"]
    assert names(take(path)) == expected
    assert names(take(path, ["other.csv"])) == sorted([*expected, "other.csv"])
    assert "data/a.csv" in names(take(path, ["data"]))


def test_the_same_files_are_the_same_snapshot(tmp_path: Path) -> None:
    path = write(tmp_path, "1")
    first = take(path)
    path.write_text(path.read_text())
    assert take(path).work.snapshot == first.work.snapshot
    write(tmp_path, "2")
    assert take(path).work.snapshot != first.work.snapshot


def test_parameters_are_those_that_papermill_sees(tmp_path: Path) -> None:
    path = write(tmp_path, "1", parameters="depth = 3  # of the tree\nrate: float = 0.1\nname = None\nparts = [1,\n 2]")
    declared = take(path).work.declared
    assert declared is not None
    assert [(d.name, d.type, d.default, d.help) for d in declared] == [
        ("depth", "", "3", "of the tree"),
        ("rate", "float", "0.1", ""),
        ("name", "", "None", ""),
        ("parts", "", "[1,2]", ""),
    ]
    assert take(write(tmp_path, "1")).work.declared == ()


def test_a_language_that_is_left_out_is_that_of_the_kernel(tmp_path: Path) -> None:
    path = write(tmp_path, "1", parameters="depth = 3")
    path.write_text(path.read_text().replace(', "language": "python"', ""))
    declared = take(path).work.declared
    assert declared is not None
    assert [one.name for one in declared] == ["depth"]


def test_commit_and_whether_the_tree_is_dirty(tmp_path: Path) -> None:
    path = write(tmp_path, "1")
    assert take(path).work.git is None
    git = ["git", "-c", "user.name=ada", "-c", "user.email=ada@yard.test"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    state = take(path).work.git
    assert state is not None
    assert (len(state.commit), state.dirty) == (40, False)
    write(tmp_path, "2")
    changed = take(path).work.git
    assert changed is not None
    assert (changed.commit, changed.dirty) == (state.commit, True)


def test_what_cannot_be_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no notebook"):
        take(tmp_path / "none.ipynb")
    with pytest.raises(InvalidInput, match="does not say which kernel"):
        take(write(tmp_path, "1", kernel=None))
    broken = tmp_path / "broken.ipynb"
    broken.write_text('{"cells": 3}')
    with pytest.raises(InvalidInput, match="is no notebook"):
        take(broken)
    path = write(tmp_path, "1")
    with pytest.raises(InvalidInput, match="not beside the notebook"):
        take(path, ["../x"])
    with pytest.raises(InvalidInput, match="there is no file"):
        take(path, ["nothing.csv"])


def test_what_is_large_is_named(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(random.Random(1).randbytes(5000))
    path = write(tmp_path, "open('big.bin')")
    with pytest.raises(TooLarge, match=r"4 KiB, packed: big\.bin \(4\.883 KiB\)"):
        take(path, limit=4096)


def test_what_packs_well_may_be_large(tmp_path: Path) -> None:
    (tmp_path / "big.csv").write_bytes(b"0" * 500_000)
    taken = take(write(tmp_path, "open('big.csv')"), limit=4096)
    assert (len(taken.content) < 4096, taken.work.files[0].size) == (True, 500_000)


def test_cells_without_ids_are_no_matter_for_the_user(tmp_path: Path) -> None:
    told = json.loads(notebook("1", parameters="a = 1"))
    for cell in told["cells"]:
        del cell["id"]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(told))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert take(path).work.declared is not None
        assert all(cell.id for cell in read_notebook(path).cells)
