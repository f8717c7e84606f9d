"""Two scorings to one output at once: one has it, the other is told, and nothing is mixed."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.holding_proxy import holding_proxy
from harness.packages import write_skops
from harness.s3 import S3, server
from harness.scoring import many, scored, spawn
from modelyard.batch.scoring import sql, state
from modelyard.batch.scoring.folder_place import FolderPlace
from modelyard.batch.scoring.place import Place, making, put_text
from modelyard.batch.scoring.places import open_place
from modelyard.batch.scoring.plan import part_name
from modelyard.batch.scoring.report import commit
from modelyard.batch.scoring.s3_place import S3Place
from modelyard_api.errors import Conflict
from modelyard_api.scoring import MANIFEST, PROGRESS, ScoreOptions, ScoreReport
from modelyard_server.manifest import read_manifest

ROWS = 1200


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "skops"
    write_skops(folder)
    return folder


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with server() as running:
        yield running


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of its own."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.bucket("claims")
    return f"s3://claims/{uuid.uuid4().hex}"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    many(ROWS).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    return tmp_path / "in.parquet"


def test_one_that_is_overtaken_ends_and_leaves_the_other_alone(bucket: str, rows: Path, package: Path) -> None:
    asked = iter(range(1000))

    def overtaken() -> bool:
        if next(asked) == 5:  # in the middle of the first one
            scored(rows, bucket, package, keys=("id", "island"), part_rows=100, overwrite=True, run="second")
        return False

    with pytest.raises(Conflict, match="another scoring has taken the output over"):
        scored(rows, bucket, package, keys=("id",), part_rows=100, run="first", stopped=overtaken)
    place = open_place(bucket)
    report = ScoreReport.model_validate_json(place.read(MANIFEST) or b"")
    assert (report.run, report.rows) == ("second", ROWS)
    found = [pq.read_table(place.open(name)) for name in report.files]
    assert sum(map(len, found)) == ROWS
    assert all("island" in table.column_names for table in found), "nothing of the first one"


def whole(bucket: str, run: str) -> None:
    """What is there is of that run alone."""
    place = open_place(bucket)
    report = ScoreReport.model_validate_json(place.read(MANIFEST) or b"")
    assert (report.run, report.rows) == (run, ROWS)
    assert sorted(file.path for file in place.files()) == sorted([MANIFEST, PROGRESS, *report.files])
    found = [pq.read_table(place.open(name)) for name in report.files]
    assert sum(map(len, found)) == ROWS
    assert all("island" in table.column_names for table in found)


@pytest.mark.parametrize("what", ["part-00003", "_rejects/part-00000", MANIFEST])
def test_what_is_on_its_way_while_another_one_scores(
    what: str, s3: S3, bucket: str, tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lands when the other one has ended."""
    rows = many(ROWS)
    rows.loc[:5, "island"] = None
    rows.to_parquet(tmp_path / "rejects.parquet", row_group_size=100)
    data = tmp_path / ("rejects.parquet" if "rejects" in what else "in.parquet")
    many(ROWS).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    with holding_proxy(s3.port, rf"PUT /claims/.*/{what}") as proxy, ThreadPoolExecutor(1) as beside:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        first = beside.submit(scored, data, bucket, package, keys=("id",), part_rows=100, run="first")
        assert proxy.held.wait(60)
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        given = {"keys": ("id", "island"), "part_rows": 100, "overwrite": True, "run": "second"}
        scored(tmp_path / "in.parquet", bucket, package, **given)
        proxy.go.set()
        with pytest.raises(Conflict, match="another scoring has taken the output over"):
            first.result(60)
        assert proxy.landed.is_set()
    whole(bucket, "second")


def test_the_result_of_a_query_is_on_its_way_while_another_one_scores(
    s3: S3, bucket: str, tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two with the same query the first one found nothing yet."""
    base = tmp_path / "shop.db"
    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{base}")
    with sqlite3.connect(base) as connection:
        many(1).to_sql("people", connection, index=False)
    query, given = "SELECT * FROM people", {"keys": ("id", "island"), "part_rows": 100, "sql": "WAREHOUSE"}
    with holding_proxy(s3.port, "PUT /claims/.*/_input") as proxy, ThreadPoolExecutor(1) as beside:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        first = beside.submit(scored, query, bucket, package, **given, run="first")
        assert proxy.held.wait(60)
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        with sqlite3.connect(base) as connection:
            many(ROWS).to_sql("people", connection, index=False, if_exists="replace")
        asked = iter(range(1000))

        def lands() -> bool:
            if next(asked) == 3:
                proxy.go.set()
                assert proxy.landed.wait(60)
                place = open_place(bucket)
                tag = json.loads(place.read(PROGRESS) or b"")["tag"]  # the first one takes its own away meanwhile
                chosen = json.loads(place.read(f"{state.INPUT}/query-{tag}.json") or b"")
                kept = pq.ParquetFile(place.open(chosen["path"]))
                assert kept.metadata.num_rows == ROWS, "what the second one reads"
            return False

        scored(query, bucket, package, **given, run="second", stopped=lands)
        with pytest.raises(Conflict, match="another scoring has taken the output over"):
            first.result(60)
    whole(bucket, "second")


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "alive"])
def test_the_result_of_a_query_that_was_given_up_lands_while_the_next_attempts_score(
    killed: bool, s3: S3, bucket: str, tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt of the same scoring, in a process of its own; the database gave it other rows."""
    base = tmp_path / "shop.db"
    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{base}")
    with sqlite3.connect(base) as connection:
        many(ROWS).assign(id=-1).to_sql("people", connection, index=False)
    query, given = "SELECT * FROM people", {"keys": ("id", "island"), "part_rows": 100, "sql": "WAREHOUSE"}
    with holding_proxy(s3.port, "PUT /claims/.*/_input/query.*parquet") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        first = spawn(query, bucket, package, ScoreOptions(**given))
        assert proxy.held.wait(60)
        if killed:
            first.kill()
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        with sqlite3.connect(base) as connection:
            many(ROWS).to_sql("people", connection, index=False, if_exists="replace")
        asked = iter(range(1000))
        with pytest.raises(state.Stopped):
            scored(query, bucket, package, **given, stopped=lambda: next(asked) >= 3)
        proxy.go.set()
        assert proxy.landed.wait(60)
        try:
            scored(query, bucket, package, **given)
        except (Conflict, OSError):
            assert not killed, "only the first one can have ended it meanwhile"
        said = first.communicate(timeout=60)[0].decode()
    place = open_place(bucket)
    report = ScoreReport.model_validate_json(place.read(MANIFEST) or b"")
    assert report.rows == ROWS, said
    ids = [i for name in report.files for i in pq.read_table(place.open(name)).column("id").to_pylist()]
    assert sorted(ids) == list(range(ROWS)), said


class Unsure(FolderPlace):
    """As a store that did what it was told and answered an error: asked again, it has it already."""

    def swap(self, path: str, text: str, before: str | None) -> bool:
        super().swap(path, text, before)
        return False


def test_a_store_that_answers_an_error_and_did_it_keeps_the_result(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{tmp_path}/shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        many(8).to_sql("people", connection, index=False)
    _, claim = state.begin(FolderPlace(tmp_path / "out"), "p", {}, run="a", overwrite=False)
    options = ScoreOptions(sql="WAREHOUSE")
    unsure = state.Claim(Unsure(tmp_path / "out"), claim.text)
    place, (file,) = sql.result("SELECT * FROM people", options, read_manifest(package), unsure)
    assert pq.ParquetFile(place.open(file.path)).metadata.num_rows == 8


def test_an_attempt_that_another_one_overtakes_with_the_whole_has_its_report(
    s3: S3, bucket: str, tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result of the query, which it is about to read, is taken away as soon as all is scored."""
    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{tmp_path}/shop.db")
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        many(ROWS).to_sql("people", connection, index=False)
    query, given = "SELECT * FROM people", {"keys": ("id", "island"), "sql": "WAREHOUSE", "run": "r"}
    with (
        holding_proxy(s3.port, "(GET|HEAD) /claims/.*/_input/query.*parquet") as proxy,
        ThreadPoolExecutor(1) as beside,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        first = beside.submit(scored, query, bucket, package, **given)
        assert proxy.held.wait(60)
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        report = scored(query, bucket, package, **given)
        proxy.go.set()
        assert first.result(60) == report
    assert report is not None
    assert report.rows == ROWS


def test_who_ends_it_late_changes_nothing_of_what_is_whole(bucket: str) -> None:
    place = open_place(bucket)
    _, claim = state.begin(place, "p", {}, run="a", overwrite=False)
    parts = tuple(part_name(unit, 0, claim.tag) for unit in range(3))
    for part in parts:
        put_text(place, "x", part)
    about = {"model": "m", "version": "1", "plan": "p", "tag": claim.tag, "run": "a", "flavor": "skops"}
    commit(claim, ScoreReport.model_validate({**about, "files": parts, "rows": 3}))
    commit(claim, ScoreReport.model_validate({**about, "files": parts[:1], "rows": 1}))
    assert ScoreReport.model_validate_json(place.read(MANIFEST) or b"").rows == 3
    assert {file.path for file in place.files()} == {MANIFEST, PROGRESS, *parts}


@pytest.mark.parametrize("what", ["part-00003", MANIFEST])
def test_what_a_killed_one_sent_lands_while_another_one_scores(
    what: str, s3: S3, bucket: str, rows: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding_proxy(s3.port, rf"PUT /claims/.*/{what}") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        first = spawn(rows, bucket, package, ScoreOptions(keys=("id",), part_rows=100))
        assert proxy.held.wait(60)
        first.kill()
        first.communicate()
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        asked = iter(range(1000))

        def lands() -> bool:
            if next(asked) == 5:  # in the middle of the second one
                proxy.go.set()
                assert proxy.landed.wait(60)
                assert proxy.status == 200
                place = open_place(bucket)
                assert any(what in file.path for file in place.files())
                assert state.finished(place) is None, "a manifest that is none of the one who has the output"
            return False

        given = {"keys": ("id", "island"), "part_rows": 100, "overwrite": True, "run": "second"}
        scored(rows, bucket, package, stopped=lands, **given)
    whole(bucket, "second")


def test_what_was_begun_before_names_had_tags_is_gone_on_with(bucket: str, rows: Path, package: Path) -> None:
    asked = iter(range(1000))
    given = {"keys": ("id", "island"), "part_rows": 100, "run": "second"}
    with pytest.raises(state.Stopped):
        scored(rows, bucket, package, stopped=lambda: next(asked) >= 5, **given)
    place = open_place(bucket)
    claim = json.loads(place.read(PROGRESS) or b"")
    tag = claim.pop("tag")
    for file in place.files():  # as it was stored then
        if tag in file.path:
            part = pq.ParquetFile(place.open(file.path))
            told = json.loads(part.metadata.metadata[b"modelyard.scoring"])
            del told["tag"]
            with making(place, "x") as (made, content):
                with pq.ParquetWriter(content, part.schema_arrow) as writer:
                    writer.write_table(part.read())
                    writer.add_key_value_metadata({"modelyard.scoring": json.dumps(told)})
                content.flush()
                place.put(made, file.path.replace(f"-{tag}", ""))
            place.remove(file.path)
    put_text(place, json.dumps(claim), PROGRESS)
    report = scored(rows, bucket, package, **given)
    assert report.resumed > 0
    assert report.files[0] == "part-00000-0000.parquet"
    whole(bucket, "second")
    assert scored(rows, bucket, package, **given) == report


def test_two_of_the_same_plan_make_the_same(bucket: str, rows: Path, package: Path) -> None:
    """Such as a task of which the cluster believed that its node was lost, and the one in its place."""
    asked = iter(range(1000))

    def beside() -> bool:
        if next(asked) == 5:
            scored(rows, bucket, package, keys=("id",), part_rows=100)
        return False

    report = scored(rows, bucket, package, keys=("id",), part_rows=100, stopped=beside)
    place = open_place(bucket)
    ids = [i for name in report.files for i in pq.read_table(place.open(name)).column("id").to_pylist()]
    assert sorted(ids) == list(range(ROWS))


class Slow(S3Place):
    """A store at which somebody else is a moment faster."""

    first: Any = None

    def swap(self, path: str, text: str, before: str | None) -> bool:
        first, self.first = self.first, None
        if first is not None:
            first()
        return super().swap(path, text, before)


def slow(location: str, first: Any) -> Slow:
    place = open_place(location)
    assert isinstance(place, S3Place)
    made = Slow(place.place, place.access, place.patience)
    made.first = first
    return made


def began(place: Place, plan: str, overwrite: bool = False) -> state.Claim:
    report, claim = state.begin(place, plan, {"plan": plan}, run="", overwrite=overwrite)
    assert report is None
    return claim


def test_of_two_that_begin_at_once_one_has_the_output(bucket: str) -> None:
    """The one that is refused first has another look: what it finds then is an output that is claimed."""
    other: list[state.Claim] = []
    late = began(slow(bucket, lambda: other.append(began(open_place(bucket), "a"))), "b")
    late.check()
    with pytest.raises(Conflict, match="taken the output over"):
        other[0].check()
    shard = began(open_place(bucket), "b")
    assert shard.text == late.text, "shards of one scoring share it"


def test_shards_that_begin_at_once_share_the_claim(bucket: str) -> None:
    other: list[state.Claim] = []
    late = began(slow(bucket, lambda: other.append(began(open_place(bucket), "a"))), "a")
    assert late.text == other[0].text
    late.check()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_what_is_swapped_is_what_was_seen(kind: str, tmp_path: Path, bucket: str) -> None:
    place = open_place(str(tmp_path / "out") if kind == "folder" else bucket)
    assert place.swap(PROGRESS, "b", "a") is False
    assert place.swap(PROGRESS, "a", None) is True
    assert place.swap(PROGRESS, "b", None) is False
    assert place.swap(PROGRESS, "b", "x") is False
    assert place.read(PROGRESS) == b"a"
    assert place.swap(PROGRESS, "b", "a") is True
    assert place.read(PROGRESS) == b"b"


def test_a_manifest_that_a_kill_left_is_gone_with_the_next_attempt(tmp_path: Path) -> None:
    """It came between the claim and the removal: nobody takes the old rows for the new ones."""
    place = FolderPlace(tmp_path / "out")
    _, claim = state.begin(place, "p", {}, run="a", overwrite=True)
    put_text(
        place,
        ScoreReport(model="m", version="1", plan="p", tag="old", run="b", flavor="skops").model_dump_json(),
        MANIFEST,
    )
    again = state.begin(place, "p", {}, run="a", overwrite=True)
    assert again == (None, claim)
    assert place.read(MANIFEST) is None
