"""Rows from S3 and from databases, and drift against the training rows."""

from __future__ import annotations

import io
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from harness.packages import write_skops
from harness.s3 import S3, server
from harness.scoring import answers, many, scored
from modelyard.batch.scoring.engine import Order, score
from modelyard.batch.scoring.plan import Unit, sharded, units
from modelyard.batch.scoring.sources import Segment
from modelyard.packaging import build
from modelyard_api.errors import Forbidden, InvalidInput, NotFound
from modelyard_api.scoring import MANIFEST, ScoreOptions, ScoreReport

ROWS = 2000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "skops"
    write_skops(folder)
    return folder


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with server() as running:
        yield running


def _parquet(rows: pd.DataFrame) -> bytes:
    made = io.BytesIO()
    rows.to_parquet(made, row_group_size=300)
    return made.getvalue()


def test_from_s3_to_s3_is_as_from_folder_to_folder(
    s3: S3, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    rows = many(ROWS)
    data = s3.put("lake", "in", {"a.parquet": _parquet(rows[:900]), "b/b.parquet": _parquet(rows[900:])})
    s3.put("lake", "csv", {"one.csv": rows.to_csv(index=False).encode()})
    s3.bucket("out")
    rows.to_parquet(tmp_path / "in.parquet")
    scored(tmp_path / "in.parquet", tmp_path / "local", package, keys=("id",))
    count = iter(range(100))
    with pytest.raises(Exception, match="stopped"):
        scored(data, "s3://out/x", package, keys=("id",), part_rows=300, stopped=lambda: next(count) > 4)
    report = scored(data, "s3://out/x", package, keys=("id",), part_rows=300)
    assert 0 < report.resumed < ROWS
    place = s3.root / "data" / "out" / "x"
    assert answers(place).equals(answers(tmp_path / "local"))
    assert ScoreReport.model_validate_json((place / MANIFEST).read_bytes()) == report
    csv = scored("s3://lake/csv/one.csv", "s3://out/y", package)
    assert (csv.rows, csv.rejected) == (ROWS, 0)
    with pytest.raises(NotFound, match="there is no data at s3://lake/nothing"):
        scored("s3://lake/nothing", "s3://out/z", package)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Forbidden, match="refuses access to"):
        scored(data, "s3://out/z", package)


def test_a_query_is_kept_and_scored(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "shop.db"
    with sqlite3.connect(base) as connection:
        many(ROWS).assign(note=None).to_sql("people", connection, index=False)
    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{base}")
    query = "SELECT id, weight, age, island, note FROM people WHERE id < 1500 ORDER BY id"
    count = iter(range(1000))
    given = {"keys": ("id", "note"), "sql": "WAREHOUSE", "part_rows": 300, "batch_rows": 100}
    with pytest.raises(Exception, match="stopped"):
        scored(query, tmp_path / "out", package, stopped=lambda: next(count) > 9, **given)
    with sqlite3.connect(base) as connection:
        connection.execute("DELETE FROM people WHERE id < 100")  # what was kept is gone on with
    report = scored(query, tmp_path / "out", package, **given)
    assert report.rows == 1500
    assert report.resumed > 0
    assert answers(tmp_path / "out")["id"].tolist() == list(range(1500))
    assert not (tmp_path / "out" / "_input").exists()


def test_the_first_shard_keeps_the_result_of_a_query_for_all(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "shop.db"
    with sqlite3.connect(base) as connection:
        many(ROWS).to_sql("people", connection, index=False)
    options = ScoreOptions(keys=("id",), sql="WAREHOUSE", part_rows=500)

    def shard(index: int) -> ScoreReport | None:
        query, output = "SELECT id, weight, age, island FROM people ORDER BY id", str(tmp_path / "out")
        return score(Order(query, output, package, "ada.penguins", options=options, shard=(index, 3), run="r"))

    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{base}")
    assert shard(0) is None
    monkeypatch.delenv("WAREHOUSE")  # nobody else asks
    assert shard(2) is None
    report = shard(1)
    assert report is not None
    assert (report.rows, report.shards) == (ROWS, 3)
    assert answers(tmp_path / "out")["id"].tolist() == list(range(ROWS))
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] == "_") == [
        "_manifest.json",
        "_progress.json",
    ]


def test_what_a_database_refuses_is_said_without_its_password(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match=r"the variable NOWHERE .* is not set"):
        scored("SELECT 1", tmp_path / "out", package, sql="NOWHERE")
    for url, query, words in (
        (f"sqlite:///{tmp_path / 'x.db'}", "SELECT * FROM nobody", "the database says: no such table: nobody"),
        ("nosuch://ada:hunter2@db/x", "SELECT 1", "URL cannot be used: NoSuchModuleError"),
        (f"sqlite:///{tmp_path / 'x.db'}", "CREATE TABLE t (a INT)", "the query gives no rows"),
        (f"sqlite:///{tmp_path / 'x.db'}", "SELECT 1 AS weight", "the data have no columns age, island"),
    ):
        monkeypatch.setenv("WAREHOUSE", url)
        with pytest.raises(InvalidInput, match=words) as caught:
            scored(query, tmp_path / "out", package, sql="WAREHOUSE")
        assert "hunter2" not in str(caught.value)


def test_drift_is_told_by_column_where_the_package_knows_its_training_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    training = pd.DataFrame(
        {"age": rng.normal(40, 10, 5000), "plan": rng.choice(["basic", "pro"], 5000, p=[0.8, 0.2]), "steady": 1.0}
    )
    words = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["plan"]), remainder="passthrough")
    model = make_pipeline(words, LogisticRegression()).fit(training, training["age"] > 40)
    build(model, training[:5], directory=tmp_path / "package", training=training, trial=False)
    later = pd.DataFrame(
        {"age": rng.normal(52, 10, 4000), "plan": rng.choice(["basic", "pro", "new"], 4000), "steady": 1.0}
    )
    training.to_parquet(tmp_path / "same.parquet")
    later.to_parquet(tmp_path / "later.parquet")
    calm = scored(tmp_path / "same.parquet", tmp_path / "calm", tmp_path / "package")
    assert {found.verdict for found in calm.drift.values()} == {"stable"}
    assert max(found.psi for found in calm.drift.values()) < 0.01
    moved = scored(tmp_path / "later.parquet", tmp_path / "moved", tmp_path / "package")
    assert {name: found.verdict for name, found in moved.drift.items()} == {
        "age": "drifted",
        "plan": "drifted",
        "steady": "stable",
    }
    assert moved.drift["plan"].bins == ("basic", "pro", "others", "missing")
    assert moved.drift["plan"].seen[2] == pytest.approx(1 / 3, abs=0.05)
    said = moved.in_words()
    assert "drift by population stability index, from 0.25 drifted: plan (" in said
    assert f"plan ({moved.drift['plan'].psi:.2f}, drifted: " in said
    assert "age (" in said
    assert "steady" not in said
    assert "no drift" in calm.in_words()


def test_without_training_rows_there_is_no_drift_and_it_is_said(package: Path, tmp_path: Path) -> None:
    many(10).to_parquet(tmp_path / "in.parquet")
    report = scored(tmp_path / "in.parquet", tmp_path / "out", package)
    assert report.drift == {}
    assert "publish it with training=" in report.drift_note


def test_units_join_neighbours_and_shards_share_them() -> None:
    groups = [Segment("a", i, i + 1, 10 * i, 10) for i in range(4)] + [
        Segment("b", 0, 1, 0, 5),
        Segment("c", 0, 1, 0, 5),
    ]
    made = units(groups, 20)
    assert made == [
        Unit(0, (Segment("a", 0, 2, 0, 20),)),
        Unit(1, (Segment("a", 2, 4, 20, 20),)),
        Unit(2, (Segment("b", 0, 1, 0, 5), Segment("c", 0, 1, 0, 5))),
    ]
    assert [unit.number for unit in sharded(made, (0, 2))] == [0, 2]
    assert [unit.number for unit in sharded(made, (1, 2))] == [1]
    assert units([Segment("x", 0, 1, 0, None), Segment("y", 0, 1, 0, None)], 10**6)[1].number == 1
    with pytest.raises(InvalidInput, match="no shard 2 of 2"):
        sharded(made, (2, 2))


def test_a_row_group_of_any_size_is_read_a_batch_at_a_time(package: Path, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(many(5000), preserve_index=False)
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=5000)
    report = scored(tmp_path / "in.parquet", tmp_path / "out", package, part_rows=1000, batch_rows=400)
    assert [pq.read_metadata(tmp_path / "out" / name).num_rows for name in report.files] == [
        1200,
        1200,
        1200,
        1200,
        200,
    ]
    assert subprocess.run(["ls", tmp_path / "out" / "_rejects"], capture_output=True).returncode != 0
