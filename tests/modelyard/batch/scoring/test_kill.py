"""A scoring that is killed at any moment and started again: no row twice, none lost, nothing half."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from harness.packages import write_onnx, write_skops
from harness.scoring import answers, many, scored, spawn
from harness.wait import eventually
from modelyard.batch.scoring.plan import parse_part
from modelyard_api.scoring import MANIFEST, ScoreOptions, ScoreReport

ROWS = 60_000


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_kills_at_random_moments_double_and_lose_nothing(form: str, tmp_path: Path) -> None:
    write_skops(tmp_path / "package")
    rows = many(ROWS).astype({"age": "float64"})
    rows.loc[rows["id"] % 1009 == 7, "age"] = 0.5
    if form == "parquet":
        rows.to_parquet(tmp_path / "in", row_group_size=1500)
    else:
        rows.to_csv(tmp_path / "in", index=False)
    options = ScoreOptions(format=form, keys=("id",), part_rows=1000, batch_rows=500)
    output = tmp_path / "out"
    chance = random.Random(7)
    kills = 0
    for _ in range(5):
        seen = _parts(output)
        process = spawn(tmp_path / "in", output, tmp_path / "package", options)
        eventually(
            lambda seen=seen, process=process: _parts(output) > seen or process.poll() is not None,
            timeout=60,
            what="a further part",
            interval=0.002,
        )
        time.sleep(chance.random() * 0.2)  # the moment is the matter of the test
        process.send_signal(signal.SIGKILL)
        kills += process.wait(20) == -signal.SIGKILL
        process.communicate()
        assert (output / MANIFEST).exists() == (process.returncode == 0)
    process = spawn(tmp_path / "in", output, tmp_path / "package", options)
    said = process.communicate(timeout=120)[0].decode()
    assert kills >= 3
    report = ScoreReport.model_validate_json((output / MANIFEST).read_bytes())
    assert report.rows == ROWS, said
    found = answers(output)
    scored(tmp_path / "in", tmp_path / "whole", tmp_path / "package", **options.model_dump())
    assert found.equals(answers(tmp_path / "whole"))
    assert len(found) + report.rejected == ROWS
    assert found["id"].astype(int).is_unique
    assert not [path.name for path in output.iterdir() if path.name.startswith(".")]
    assert sorted(report.files) == sorted(path.name for path in output.glob("part-*"))


def test_sigterm_ends_it_between_batches_and_a_further_start_goes_on(tmp_path: Path) -> None:
    write_onnx(tmp_path / "package")
    many(ROWS).rename(columns={"weight": "a", "age": "b"}).assign(a=1.0, c=2.0).to_parquet(
        tmp_path / "in", row_group_size=1000
    )
    options = ScoreOptions(format="parquet", columns=("a", "b", "c"), part_rows=1000, batch_rows=20)
    process = spawn(tmp_path / "in", tmp_path / "out", tmp_path / "package", options)
    eventually(lambda: _parts(tmp_path / "out") > 1, timeout=60, what="two parts")
    process.terminate()
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 143, said
    assert "goes on from where it is" in said
    report = scored(tmp_path / "in", tmp_path / "out", tmp_path / "package", **options.model_dump())
    assert 0 < report.resumed < ROWS
    assert report.rows == len(answers(tmp_path / "out")) == ROWS


def _parts(output: Path) -> int:
    return sum(parse_part(path.name) is not None for path in output.iterdir()) if output.is_dir() else 0
