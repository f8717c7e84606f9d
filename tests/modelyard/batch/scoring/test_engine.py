"""Tables scored: formats, rejects, what is refused before anything starts, what is at the output already."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from harness.disk import small_disk
from harness.packages import write_onnx, write_skops
from harness.scoring import answers, many, scored
from modelyard.batch.scoring.engine import Order, score
from modelyard_api.errors import Conflict, InvalidInput, NotFound, StorageFull, Unsupported
from modelyard_api.resources import MiB
from modelyard_api.scoring import MANIFEST, ScoreOptions, ScoreReport
from modelyard_server.dataplane import load

ROWS = 3000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "skops"
    write_skops(folder)
    return folder


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "onnx"
    write_onnx(folder)
    return folder


@pytest.fixture
def expected(package: Path) -> pd.DataFrame:
    rows = many(ROWS)
    found = load(package).predict({name: rows[name].to_numpy() for name in ("weight", "age", "island")})
    return pd.DataFrame({"id": rows["id"], "label": found["label"], "probabilities": list(found["probabilities"])})


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert found["id"].astype(int).tolist() == expected["id"].tolist()
    assert found["label"].tolist() == expected["label"].tolist()
    assert (np.stack(found["probabilities"]) == np.stack(expected["probabilities"])).all()


@pytest.mark.parametrize("form", ["parquet", "csv", "csv.gz", "feather", "arrows", "folder"])
def test_every_format_gives_the_same(form: str, package: Path, expected: pd.DataFrame, tmp_path: Path) -> None:
    rows, data = many(ROWS), tmp_path / f"in.{form}"
    whole = pa.Table.from_pandas(rows, preserve_index=False)
    if form == "parquet":
        pq.write_table(whole, data, row_group_size=400)
    elif form.startswith("csv"):
        rows.to_csv(data, index=False)
    elif form == "feather":
        pyarrow.feather.write_feather(whole, data, chunksize=700)
    elif form == "arrows":
        with pa.OSFile(str(data), "wb") as file, pa.ipc.new_stream(file, whole.schema) as writer:
            writer.write_table(whole, max_chunksize=700)
    else:
        (data / "sub").mkdir(parents=True)
        pq.write_table(whole.slice(0, 1000), data / "a.parquet")
        pq.write_table(whole.slice(1000), data / "sub" / "b.parquet", row_group_size=600)
        (data / "_SUCCESS").touch()
    report = scored(data, tmp_path / "out", package, keys=("id",), part_rows=900, batch_rows=250)
    same(answers(tmp_path / "out"), expected)
    assert (report.rows, report.scored, report.rejected) == (ROWS, ROWS, 0)
    assert len(report.files) > 2 or form in ("feather", "arrows", "csv", "csv.gz")
    assert ScoreReport.model_validate_json((tmp_path / "out" / MANIFEST).read_bytes()) == report
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([MANIFEST, "_progress.json", *report.files])


def test_files_of_one_name_are_told_apart_and_formats_are_not_mixed(package: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        many(20).assign(id=range(number * 20, number * 20 + 20)).to_csv(tmp_path / "in" / folder / "x.csv", index=False)
    report = scored(tmp_path / "in", tmp_path / "out", package, keys=("id",))
    assert len(set(report.files)) == 2
    assert answers(tmp_path / "out")["id"].astype(int).tolist() == list(range(40))
    scored(tmp_path / "in", tmp_path / "told", package)
    assert answers(tmp_path / "told")["file"].unique().tolist() == ["a/x.csv", "b/x.csv"]
    many(20).to_parquet(tmp_path / "in" / "a" / "x.parquet")
    with pytest.raises(InvalidInput, match="of several formats: csv, parquet"):
        scored(tmp_path / "in", tmp_path / "mixed", package)


def test_without_keys_answers_say_which_file_and_row_they_are_of(package: Path, tmp_path: Path) -> None:
    many(20).to_csv(tmp_path / "in.csv", index=False)
    scored(tmp_path / "in.csv", tmp_path / "out", package)
    found = answers(tmp_path / "out")
    assert found["file"].unique().tolist() == ["in.csv"]
    assert found["row"].tolist() == list(range(20))


def test_rows_that_cannot_be_scored_are_kept_with_their_reason(package: Path, tmp_path: Path) -> None:
    rows = many(1000).astype({"age": "float64"})
    rows.loc[3, "age"] = 2.5
    rows.loc[700, "island"] = None
    rows.loc[701, "age"] = np.inf
    rows.to_parquet(tmp_path / "in.parquet")
    report = scored(tmp_path / "in.parquet", tmp_path / "out", package, keys=("id",), batch_rows=300)
    assert (report.rows, report.scored, report.rejected) == (1000, 997, 3)
    assert not {3, 700, 701} & set(answers(tmp_path / "out")["id"])
    rejects = pq.read_table(tmp_path / "out" / report.rejects[0]).to_pylist()
    assert [(r["file"], r["row"], r["reason"]) for r in rejects] == [
        ("in.parquet", 3, "column 'age' holds 2.5, not a whole number"),
        ("in.parquet", 700, "column 'island' has a missing value"),
        ("in.parquet", 701, "column 'age' holds infinity"),
    ]
    assert json.loads(rejects[0]["values"]) == {"weight": 4.0, "age": 2.5, "island": "south", "id": 3}
    assert sum(report.reasons.values()) == 3


def test_a_csv_is_read_as_the_endpoint_reads_one_and_its_broken_lines_are_rejects(
    package: Path, tmp_path: Path
) -> None:
    lines = [
        "id,weight,age,island",
        "007,1.5,3,north",
        "8,,4,south",
        "9,1,x,east",
        "10,2",
        "11,3,1_0,north",
        '12,1,2,"a\nb"',
    ]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n13,1,2,north,5\n14,1,2,north\n")
    report = scored(tmp_path / "in.csv", tmp_path / "out", package, keys=("id",))
    assert answers(tmp_path / "out")["id"].tolist() == ["007", "8", "11", "12", "14"]
    rejects = pq.read_table(tmp_path / "out" / report.rejects[0]).to_pylist()
    assert sorted((r["row"], r["reason"]) for r in rejects) == [
        (2, "column 'age' holds 'x', not a number"),
        (3, "the line has 2 fields, not 4"),
        (6, "the line has 5 fields, not 4"),
    ]
    assert report.rows == 8


def test_more_rejects_than_are_borne_end_it(package: Path, tmp_path: Path) -> None:
    many(100).assign(island=None).to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(
        InvalidInput, match=r"100 of 100 rows were rejected, more than 5.00%: column 'island' has a miss"
    ):
        scored(tmp_path / "in.csv", tmp_path / "out", package, max_rejects=0.05)
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_rejects_are_a_share_of_a_part_also_where_the_rows_are_not_known_before(package: Path, tmp_path: Path) -> None:
    rows = many(1000)
    rows.loc[:19, "island"] = None  # two fifths of the first batch
    rows.to_csv(tmp_path / "in.csv", index=False)
    report = scored(tmp_path / "in.csv", tmp_path / "out", package, max_rejects=0.05, batch_rows=50)
    assert (report.scored, report.rejected) == (980, 20)
    rows.loc[:59, "island"] = None
    rows.to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(InvalidInput, match=r"60 of 1,000 rows were rejected, more than 5.00%"):
        scored(tmp_path / "in.csv", tmp_path / "more", package, max_rejects=0.05, batch_rows=50)


def test_a_model_of_arrays_takes_columns_in_order_or_lists(arrays: Path, tmp_path: Path) -> None:
    X = np.arange(24.0).reshape(8, 3)
    pd.DataFrame(X, columns=["a", "b", "c"]).assign(id=range(8)).to_parquet(tmp_path / "wide.parquet")
    pd.DataFrame({"id": range(8), "vector": list(X)}).to_parquet(tmp_path / "nested.parquet")
    expected = load(arrays).predict({"input": X})
    for data, given in (
        ("wide", {"keys": ("id",)}),
        ("wide", {"columns": ("a", "b", "c")}),
        ("nested", {"columns": ("vector",)}),
        ("nested", {"keys": ("id",)}),
    ):
        scored(tmp_path / f"{data}.parquet", tmp_path / "out", arrays, overwrite=True, **given)
        found = answers(tmp_path / "out")
        assert (np.stack(found["probabilities"]) == expected["probabilities"]).all()
    with pytest.raises(InvalidInput, match=r"rows of 3 numbers, and the data have 4 columns: a, b, c, id"):
        scored(tmp_path / "wide.parquet", tmp_path / "other", arrays)
    pd.DataFrame({"vector": [X[0], X[1][:2], None, X[3]]}).to_parquet(tmp_path / "ragged.parquet")
    report = scored(tmp_path / "ragged.parquet", tmp_path / "ragged", arrays)
    assert (report.scored, report.rejected) == (2, 2)


def test_what_cannot_be_scored_is_refused_before_anything_is_written(package: Path, tmp_path: Path) -> None:
    good = many(10)
    good.to_parquet(tmp_path / "in.parquet")
    good.drop(columns=["age", "island"]).to_parquet(tmp_path / "less.parquet")
    good.assign(age=good["island"]).to_parquet(tmp_path / "words.parquet")
    good.assign(label=1).to_parquet(tmp_path / "labelled.parquet")
    good.to_json(tmp_path / "in.json")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1" + bytes(100))
    (tmp_path / "empty").mkdir()
    for data, given, kind, words in (
        ("none.parquet", {}, NotFound, "there is no data at"),
        ("empty", {}, NotFound, "there are no files in"),
        ("in.json", {}, Unsupported, r"it is not known how in.json is read.*format="),
        ("damaged.parquet", {}, InvalidInput, "damaged.parquet cannot be read"),
        ("less.parquet", {}, InvalidInput, "no columns age, island that the model takes. They have weight, id"),
        ("words.parquet", {}, InvalidInput, "column 'age' holds (large_)?string, and the model takes int64"),
        ("in.parquet", {"keys": ("nobody",)}, InvalidInput, "no column nobody to keep"),
        ("in.parquet", {"outputs": ("odds",)}, InvalidInput, "no output 'odds'. It has label, probabilities"),
        ("labelled.parquet", {"keys": ("label",)}, InvalidInput, "a column to keep is called 'label'"),
    ):
        with pytest.raises(kind, match=words):
            scored(tmp_path / data, tmp_path / "out", package, **given)
        assert not list((tmp_path / "out").glob("part-*")), data
    with pytest.raises(InvalidInput, match="the output is in the folder of the data"):
        scored(tmp_path, tmp_path / "out", package)
    with pytest.raises(InvalidInput, match="neither an absolute path nor s3"):
        scored("in.parquet", tmp_path / "out", package)


def test_an_output_is_not_written_over(package: Path, tmp_path: Path) -> None:
    many(50).to_parquet(tmp_path / "in.parquet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(Conflict, match=r"files that no scoring made, such as thesis.txt"):
        scored(tmp_path / "in.parquet", tmp_path / "mine", package, overwrite=True)
    first = scored(tmp_path / "in.parquet", tmp_path / "out", package, run="a")
    assert scored(tmp_path / "in.parquet", tmp_path / "out", package, run="a") == first  # a retry after the end
    with pytest.raises(Conflict, match=r"holds a finished scoring, by version 1 of ada.penguins.*overwrite=True"):
        scored(tmp_path / "in.parquet", tmp_path / "out", package, run="b")
    many(20).to_parquet(tmp_path / "in.parquet")
    assert scored(tmp_path / "in.parquet", tmp_path / "out", package, run="b", overwrite=True).rows == 20
    assert len(answers(tmp_path / "out")) == 20


def test_data_that_changed_meanwhile_are_not_gone_on_with(package: Path, tmp_path: Path) -> None:
    many(1000).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    count = iter(range(100))
    with pytest.raises(Exception, match="stopped"):
        scored(tmp_path / "in.parquet", tmp_path / "out", package, part_rows=100, stopped=lambda: next(count) > 6)
    assert list((tmp_path / "out").glob("part-*"))
    many(900).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    with pytest.raises(Conflict, match=r"unfinished scoring of something else: its data was another"):
        scored(tmp_path / "in.parquet", tmp_path / "out", package, part_rows=100)
    scored(tmp_path / "in.parquet", tmp_path / "out", package, part_rows=100, overwrite=True)
    assert len(answers(tmp_path / "out")) == 900


def test_shards_share_the_rows_and_the_last_one_ends_it(package: Path, expected: pd.DataFrame, tmp_path: Path) -> None:
    many(ROWS).to_parquet(tmp_path / "in.parquet", row_group_size=200)
    given = {"keys": ("id",), "part_rows": 400}
    for index in (2, 0):
        with pytest.raises(AssertionError):  # no report yet
            scored(tmp_path / "in.parquet", tmp_path / "out", package, shard=(index, 3), **given)
        assert not (tmp_path / "out" / MANIFEST).exists()
    report = scored(tmp_path / "in.parquet", tmp_path / "out", package, shard=(1, 3), **given)
    assert report.rows == ROWS
    same(answers(tmp_path / "out").sort_values("id"), expected)


def test_a_full_disk_leaves_whole_parts_to_go_on_from(package: Path, expected: pd.DataFrame, tmp_path: Path) -> None:
    many(ROWS).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    given = {"keys": ("id",), "part_rows": 100}
    with small_disk(tmp_path / "disk", 2 * MiB) as disk:
        output = disk.path / "out"
        disk.fill(leave=60 * 1024)
        with pytest.raises(StorageFull, match=r"no space left .*parts that are there are whole.*goes on from them"):
            scored(tmp_path / "in.parquet", output, package, **given)
        left = sorted(output.iterdir())
        assert 0 < len(pq.read_table(output)) < ROWS
        assert not [path for path in left if path.name.startswith(".scoring")]
        disk.free()
        report = scored(tmp_path / "in.parquet", output, package, **given)
        same(answers(output), expected)
        assert 0 < report.resumed < ROWS


@pytest.mark.parametrize("overwrite", [False, True])
def test_shards_of_a_run_begin_together_and_the_last_one_adds_all_up(
    overwrite: bool, package: Path, expected: pd.DataFrame, tmp_path: Path
) -> None:
    many(ROWS).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    given = {"keys": ("id",), "part_rows": 100, "batch_rows": 50}
    if overwrite:
        scored(tmp_path / "in.parquet", tmp_path / "out", package, **{**given, "part_rows": 70})

    def shard(index: int) -> ScoreReport | None:
        options = ScoreOptions(**{**given, "overwrite": overwrite})
        data, output = str(tmp_path / "in.parquet"), str(tmp_path / "out")
        return score(Order(data, output, package, "ada.penguins", options=options, shard=(index, 4), run="r"))

    with ThreadPoolExecutor(4) as pool:  # the first one last: the others wait for it
        reports = [report for report in pool.map(shard, (3, 2, 1, 0)) if report is not None]
    assert reports, "one of them found all done"
    report = reports[-1]
    assert (report.rows, report.scored, report.shards, report.resumed) == (ROWS, ROWS, 4, 0)
    assert report.rate == pytest.approx(ROWS / report.seconds, rel=0.01)
    same(answers(tmp_path / "out"), expected)
    assert not (tmp_path / "out" / "_shards").exists()
    again = shard(2)
    assert again is not None, "one that is started again finds that all is done"
    assert again.rows == ROWS


def test_a_shard_that_begins_with_other_data_is_refused(package: Path, tmp_path: Path) -> None:
    many(ROWS).to_parquet(tmp_path / "in.parquet", row_group_size=100)

    def shard(index: int) -> ScoreReport | None:
        data, output = str(tmp_path / "in.parquet"), str(tmp_path / "out")
        return score(Order(data, output, package, "ada.penguins", shard=(index, 2), run="r"))

    assert shard(0) is None
    many(ROWS + 1).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    with pytest.raises(Conflict, match="the data changed"):
        shard(1)
