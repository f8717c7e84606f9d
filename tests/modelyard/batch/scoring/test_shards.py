"""Shards of one run, which begin when they may: all of them score the same, and none waits for what will not come."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.packages import write_skops
from harness.scoring import many
from modelyard.batch.scoring import state
from modelyard.batch.scoring.engine import Order, Progress, score
from modelyard.batch.scoring.entry import fetch
from modelyard.batch.scoring.folder_place import FolderPlace
from modelyard.batch.scoring.place import Place, put_text
from modelyard.batch.scoring.plan import part_name
from modelyard.batch.scoring.report import commit
from modelyard.batch.scoring.shards import Together, agreed, begin_shard, tell_shard
from modelyard_api.errors import Conflict
from modelyard_api.scoring import MANIFEST, PROGRESS, ModelRef, ScoreOptions, ScoreReport

TOLD = {"version": "3", "files": ["a.parquet"]}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "skops"
    write_skops(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> FolderPlace:
    return FolderPlace(tmp_path / "out")


def together(index: int, run: str, overwrite: bool = False) -> Together:
    return Together(index, 2, run, 1, overwrite, lambda: False)


def began(place: Place, index: int, run: str, plan: str = "p", overwrite: bool = False) -> state.Claim:
    facts = {"model": "m 3 x", "data": plan}
    report, claim = begin_shard(place, plan, facts, together(index, run, overwrite), lambda _: TOLD)
    assert report is None
    return claim


def report(run: str, plan: str = "p", tag: str = "") -> ScoreReport:
    return ScoreReport(model="m", version="1", plan=plan, tag=tag, run=run, flavor="skops")


class Models:
    """A registry in which version 4 has been published meanwhile."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def version(self, model: str, alias: str = "") -> str:
        return "4"

    async def download(self, model: str, version: str, folder: Path) -> None:
        self.fetched.append(version)
        (folder / "package").write_text(version)


async def test_a_shard_that_begins_later_takes_the_first_ones_version(place: FolderPlace, tmp_path: Path) -> None:
    wanted, models = ModelRef("ada.churn"), Models()
    began(place, 0, "a")
    assert await fetch(models, wanted, tmp_path, place, "a", together(1, "a")) == "3"
    assert models.fetched == ["3"]
    assert (tmp_path / "3" / "package").read_text() == "3"


async def test_a_shard_that_was_faster_than_the_first_one_takes_its_version(place: FolderPlace, tmp_path: Path) -> None:
    class Before(Models):
        async def version(self, model: str, alias: str = "") -> str:
            began(place, 0, "a")  # while this one asks
            return "4"

    models = Before()
    assert await fetch(models, ModelRef("ada.churn", alias="champion"), tmp_path, place, "a", together(1, "a")) == "3"
    assert models.fetched == ["4", "3"]


@pytest.mark.parametrize("wanted", [ModelRef("ada.churn"), ModelRef("ada.churn", alias="champion")])
async def test_one_that_is_alone_is_tried_again_with_its_version(
    place: FolderPlace, tmp_path: Path, wanted: ModelRef
) -> None:
    state.begin(place, "p", {"model": "ada.churn 3 x"}, run="a", overwrite=False)
    assert await fetch(Models(), wanted, tmp_path, place, "a", None) == "3"
    assert await fetch(Models(), wanted, place.root, place, "b", None) == "4", "another run is not it"


def test_a_further_attempt_goes_on_though_a_newer_version_is_there(package: Path, tmp_path: Path) -> None:
    many(1000).to_parquet(tmp_path / "in.parquet", row_group_size=100)
    data, output = str(tmp_path / "in.parquet"), FolderPlace(tmp_path / "out")
    options = ScoreOptions(part_rows=100)

    def attempt(number: int, version: str, stops: int) -> ScoreReport | None:
        asked = iter(range(1000))
        order = Order(data, str(output.root), package, "ada.penguins", version, options, run="r", attempt=number)
        return score(replace(order, stopped=lambda: next(asked) >= stops))

    with pytest.raises(state.Stopped):
        attempt(1, "3", 5)
    version = state.begun_with(output, "r")
    assert version == "3"
    ended = attempt(2, version, 1000)
    assert ended is not None
    assert ended.resumed > 0
    assert attempt(3, version, 1000) == ended, "also one that was killed once all was done"


def test_a_file_that_came_while_the_shards_began_is_not_scored(package: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    many(1000).to_parquet(tmp_path / "in" / "a.parquet", row_group_size=100)

    def shard(index: int) -> ScoreReport | None:
        data, output = str(tmp_path / "in"), str(tmp_path / "out")
        return score(Order(data, output, package, "ada.penguins", shard=(index, 2), run="r"))

    assert shard(0) is None
    many(500).to_parquet(tmp_path / "in" / "b.parquet")
    assert shard(0) is None, "as one that was killed and is tried again"
    ended = shard(1)
    assert ended is not None
    assert ended.rows == 1000
    assert shard(0) == ended, "once all is done"


def test_a_shard_that_has_nothing_to_do_tells_how_far_it_is(package: Path, tmp_path: Path) -> None:
    """Without that, all shards together would seem to wait for it, or to know no total."""
    many(100).to_parquet(tmp_path / "in.parquet", row_group_size=100)  # one unit, which is the first shard's
    told: dict[int, list[Progress]] = {0: [], 1: []}

    def shard(index: int) -> ScoreReport | None:
        data, output = str(tmp_path / "in.parquet"), str(tmp_path / "out")
        return score(Order(data, output, package, "ada.penguins", shard=(index, 2), run="r", tell=told[index].append))

    assert shard(0) is None
    assert shard(1) is not None
    ((rows, total),) = [(one.rows, one.total) for one in told[1]]
    assert (rows, total) == (0, 100)


def test_a_first_shard_that_was_given_up_says_nothing_over_the_one_in_its_place(place: FolderPlace) -> None:
    """It has prepared, and is held up before it says so."""

    def prepare(claim: state.Claim) -> dict[str, Any]:
        began(place, 0, "a")
        return {**TOLD, "files": ["a.parquet", "b.parquet"]}

    _, claim = begin_shard(place, "p", {"model": "m 3 x", "data": "p"}, together(0, "a"), prepare)
    assert agreed(place, together(1, "a"))[1] == {**TOLD, "plan": "p", "claim": claim.text}


def test_a_run_goes_on_from_one_that_is_dead_and_one_that_is_not_ends(place: FolderPlace) -> None:
    first = began(place, 0, "a")
    put_text(place, "x", part := part_name(0, 0, first.tag))
    second = began(place, 0, "b")
    assert (place.root / part).exists(), "its parts are gone on from"
    assert second.tag == first.tag
    second.check()
    with pytest.raises(Conflict, match="taken the output over"):
        first.check()
    for index in (0, 1):  # tried again, or only now begun
        with pytest.raises(Conflict, match="taken the output over"):
            began(place, index, "a")
    began(place, 1, "b").check()


def test_a_shard_does_not_take_the_one_before_for_its_own(place: FolderPlace) -> None:
    """Run b's second shard begins before its first one, where the dead run a has been."""
    began(place, 0, "a")
    claims: list[state.Claim] = []
    waits = threading.Thread(target=lambda: claims.append(began(place, 1, "b")), daemon=True)
    waits.start()
    claim = began(place, 0, "b")
    waits.join(timeout=20)
    assert claims == [claim]


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_shard_waits_for_a_run_that_another_one_has_ended(place: FolderPlace, overwrite: bool) -> None:
    began(place, 0, "a")
    claim = began(place, 0, "b", plan="q", overwrite=True)
    commit(claim, report("b", "q", claim.tag))
    with pytest.raises(Conflict):
        agreed(place, together(1, "a", overwrite))


def test_what_a_run_that_was_overtaken_says_is_not_the_other_ones(place: FolderPlace) -> None:
    times = {"began": 0.0, "ended": 1.0}
    began(place, 0, "b")
    assert tell_shard(place, together(0, "b"), times) is None
    assert tell_shard(place, together(0, "a"), times) is None
    told = tell_shard(place, together(1, "b"), times)
    assert told == [times, times]


def test_a_first_shard_that_is_overtaken_while_it_prepares_calls_no_others(place: FolderPlace) -> None:
    def prepare(claim: state.Claim) -> dict[str, Any]:
        began(place, 0, "b")
        return TOLD

    with pytest.raises(Conflict, match="taken the output over"):
        begin_shard(place, "p", {}, together(0, "a"), prepare)
    began(place, 1, "b").check()


def test_two_shards_that_both_end_it_do_no_harm(tmp_path: Path) -> None:
    for turn in range(20):
        place = FolderPlace(tmp_path / str(turn))
        _, claim = state.begin(place, "p", {}, run="a", overwrite=False)
        for index in range(16):
            put_text(place, "{}", f"{state.SHARDS}/{index}.json")
        errors: list[BaseException] = []
        barrier = threading.Barrier(2)

        def end(claim: state.Claim = claim, errors: list[BaseException] = errors, at: Any = barrier) -> None:
            at.wait()
            try:
                commit(claim, report("a", tag=claim.tag))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=end) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert [file.path for file in place.files()] == [MANIFEST, PROGRESS]
