"""Data reach another process as they were, and without a second copy."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from modelyard.errors import InvalidInput, StorageFull
from modelyard.training import data, handover

ROWS = 20_000
RNG = np.random.default_rng(0)
WIDE = RNG.normal(size=(ROWS, 8))
FRAME = pd.DataFrame(WIDE, columns=list("abcdefgh")).assign(
    kind=pd.Categorical.from_codes(RNG.integers(0, 3, ROWS), ["x", "y", "z"]),
    text=np.array(["one", "two", "drei"])[RNG.integers(0, 3, ROWS)],
    whole=pd.array(RNG.integers(0, 9, ROWS), dtype="Int64"),
    at=pd.date_range("2026-01-01", periods=ROWS, freq="s", tz="UTC"),
)


@pytest.mark.parametrize(
    "value",
    [
        FRAME,
        FRAME.iloc[::2],
        WIDE,
        np.asfortranarray(WIDE),
        WIDE[::2, ::3],
        WIDE.T[1::2],
        WIDE > 0,
        np.array(["no", "yes"])[(WIDE[:, 0] > 0).astype(int)],
        sparse.csr_array(WIDE * (WIDE > 1)),
        sparse.csc_matrix(WIDE * (WIDE > 1)),
        pd.Series(WIDE[:, 0], name="target"),
        [[1, 2], [3, 4]],
    ],
    ids=lambda v: f"{type(v).__name__}-{getattr(v, 'shape', '')}",
)
def test_what_comes_out_is_what_went_in(value: Any, tmp_path: Path) -> None:
    handover.give(tmp_path, "data", (value, value), "the data")
    taken, _ = handover.take(tmp_path, "data")
    handover.drop(tmp_path, "data")
    assert type(taken) is type(value)
    assert data.digest(taken) == data.digest(value)
    assert list(tmp_path.iterdir()) == []


def test_the_same_digest_in_any_process(tmp_path: Path) -> None:
    handover.give(tmp_path, "data", FRAME, "the data")
    program = (
        "import sys; from pathlib import Path; from modelyard.training import data, handover;"
        "print(data.digest(handover.take(Path(sys.argv[1]), 'data')))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == data.digest(FRAME)


@pytest.mark.parametrize(
    "part",
    [
        lambda a: a,
        lambda a: a[100:5000],
        lambda a: a[100:5000].reshape(-1),
        lambda a: a[::2],
        lambda a: a.T,
        lambda a: np.asarray(a)[7:],
        lambda a: pd.DataFrame(a, copy=False).to_numpy(),
    ],
    ids=["whole", "rows", "flat", "every second", "transposed", "as array", "in a frame"],
)
def test_a_map_of_a_file_goes_by_the_files_name(part: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", WIDE)
    mapped = part(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    (tmp_path / "run").mkdir()
    handover.give(tmp_path / "run", "data", mapped, "the data")
    taken = handover.take(tmp_path / "run", "data")
    np.testing.assert_array_equal(taken, np.asarray(mapped))
    written = sum(f.stat().st_size for f in (tmp_path / "run").iterdir())
    copied = mapped.nbytes if mapped.strides[0] == 2 * WIDE.strides[0] else 0
    assert written < copied + 10_000
    taken += 1  # the process's own
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), WIDE)


def test_giving_takes_no_memory(tmp_path: Path) -> None:
    large = RNG.normal(size=(500_000, 8))  # 32 MB
    for value in (large, large[::2], pd.DataFrame(large)):
        tracemalloc.start()
        handover.give(tmp_path, "data", value, "the data")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 6e6
        handover.drop(tmp_path, "data")


def test_taking_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    handover.give(tmp_path, "data", (RNG.normal(size=(500_000, 8)), 0), "the data")
    program = (
        "import sys, re; from pathlib import Path; from modelyard.training import data, handover; import pandas;"
        "anon = lambda: int(re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]);"
        "before = anon(); X, _ = handover.take(Path(sys.argv[1]), 'data'); data.digest(X); print(anon() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True, text=True)
    assert int(done.stdout) < 8_000  # KiB, of 32 MB


def test_what_cannot_be_sent_and_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent"):
        handover.give(tmp_path, "data", (i for i in range(3)), "the data")
    with pytest.raises(StorageFull, match="the data could not be written"):
        handover.give(tmp_path / "away", "data", WIDE, "the data")
