"""Runs that new files start: each file has one, whoever looks, and wherever it is killed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness import postgres
from harness.instant_tasks import Killed, Plug
from harness.runs import SMALL
from harness.schedules import spec
from harness.wait import eventually_async
from modelyard_api.errors import Unavailable
from modelyard_api.runs import Run, RunSpec, RunState, RunStatus, ScoreWork
from modelyard_api.schedules import CatchUp, OnFiles, ScheduleSpec
from modelyard_hub.listing import Listed
from modelyard_hub.reconcile.file_triggers import FileTriggers, filled, root_of, stems
from modelyard_hub.run_secrets import StoredSecrets
from modelyard_hub.settings import Settings
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store
from modelyard_hub.watched import Places, Watcher, folder_rule

ADA = Actor("ada")


@dataclass
class Place:
    """A folder that a schedule watches, and a clock that tests turn."""

    folder: Path
    store: Store
    places: Places
    url: str
    now: float = 0.0

    def triggers(self, store: Any = None) -> FileTriggers:
        """A hub service's."""
        return FileTriggers(store or self.store.schedules, self.places, lambda: self.now)

    async def watch(self, name: str = "in", *, overlap: bool = True, **members: Any) -> None:
        """A schedule that watches the folder."""
        wanted = OnFiles(location=str(self.folder), **members)
        made = spec(on_files=wanted, overlap=overlap).model_copy(update={"cron": None})
        await self.store.schedules.create("ada", name, made, ADA)

    def put(self, *names: str, text: str = "x") -> None:
        """Files come."""
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    async def runs(self, name: str = "in") -> list[list[str]]:
        """Names of the files of each run, the oldest first."""
        found = await self.store.list_runs(RunQuery(schedule=f"ada/{name}", limit=1000))
        return [[Path(f).name for f in files_of(run)] for run in reversed(found)]


def files_of(run: Run) -> list[str]:
    given = run.spec.parameters["files"]
    assert isinstance(given, list)
    return [str(one) for one in given]


async def nobody(user: str) -> frozenset[str]:
    return frozenset()


BOTH = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def place(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """On SQLite, where nothing else is asked for."""
    (tmp_path / "in").mkdir()
    url = f"sqlite:///{tmp_path}/store.sqlite"
    if getattr(request, "param", "sqlite") == "postgresql":
        server: postgres.Postgres = request.getfixturevalue("postgres_server")
        url = server.database()
    store = Store(url)
    await store.open()

    def no_vault() -> Any:
        raise AssertionError("no run has secrets here")

    rule = folder_rule(Settings(home=tmp_path / "home"))
    yield Place(tmp_path / "in", store, Places(StoredSecrets(store.secrets, no_vault, nobody), rule), url)
    await store.close()


async def test_each_new_file_has_one_run(place: Place) -> None:
    place.put("old.csv")
    await place.watch(settle=0)
    both = [place.triggers(), place.triggers()]

    async def look() -> list[list[str]]:
        await asyncio.gather(*(one.look() for one in both for _ in range(3)))
        return await place.runs()

    assert await look() == [], "what was there before is not new"
    place.put("a.csv", "deep/b.csv")
    assert [sorted(names) for names in await look()] == [["a.csv", "b.csv"]]
    place.put("a.csv", text="other")
    place.put("c.csv")
    assert (await look())[1:] == [["c.csv"]], "one that is written anew is no new one"
    both[:] = [place.triggers()]
    assert len(await look()) == 2, "another hub service knows it too"


async def test_one_that_comes_between_the_making_and_the_first_look_is_new(place: Place) -> None:
    place.put("old.csv")
    await asyncio.to_thread(eventually_later, place.folder / "old.csv")
    await place.watch(settle=0)
    place.put("new.csv")
    await place.triggers().look()
    assert await place.runs() == [["new.csv"]]


def eventually_later(path: Path) -> None:
    """Until the file system's clock, which ticks in milliseconds, has gone on since that file."""
    probe, since = path.with_name(".probe"), path.stat().st_ctime_ns
    while True:
        probe.write_text("x")
        if probe.stat().st_ctime_ns > since:
            return


async def test_a_file_that_grows_is_not_taken_before_it_has_settled(place: Place) -> None:
    await place.watch(settle=30)
    triggers = place.triggers()
    for text in ("h", "ha", "hal"):
        place.put("half.csv", text=text)
        await triggers.look()
        place.now += 20
    assert await place.runs() == []
    await triggers.look()
    place.now += 9
    assert await triggers.look() == []
    place.now += 1
    await triggers.look()
    assert await place.runs() == [["half.csv"]]
    place.put("late.csv")
    assert await triggers.look() == []
    fresh = place.triggers()
    place.now += 100
    assert await fresh.look() == [], "a new hub service has not seen for how long it is steady"
    place.now += 30
    assert len(await fresh.look()) == 1


async def test_files_anew_names_and_batches(place: Place) -> None:
    await place.watch("anew", settle=0, changed=True, pattern="*.csv", at_most=2)
    triggers = place.triggers()
    await triggers.look()
    place.put("a.csv", "b.csv", "c.csv", "d.txt")
    for _ in range(3):
        await triggers.look()
    assert [len(names) for names in await place.runs("anew")] == [2, 1]
    place.put("a.csv", text="longer")
    await triggers.look()
    assert (await place.runs("anew"))[2:] == [["a.csv"]]


async def test_files_wait_for_a_run_that_has_not_ended(place: Place) -> None:
    await place.watch(settle=0, overlap=False)
    triggers = place.triggers()
    await triggers.look()
    place.put("a.csv")
    await triggers.look()
    place.put("b.csv", "c.csv")
    await triggers.look()
    assert await place.runs() == [["a.csv"]]
    (run,) = await place.store.list_runs(RunQuery(schedule="ada/in"))
    await place.store.write_run_status(run.id, RunStatus(state=RunState.failed))
    await triggers.look()
    assert [sorted(names) for names in await place.runs()] == [["a.csv"], ["b.csv", "c.csv"]]


async def test_a_schedule_that_is_made_anew_begins_anew(place: Place) -> None:
    await place.watch(settle=0)
    triggers = place.triggers()
    await triggers.look()
    place.put("a.csv")
    await triggers.look()
    await place.store.schedules.remove("ada", "in", ADA)
    await place.watch(settle=0)
    await triggers.look()
    assert await place.runs() == [["a.csv"]]
    place.put("b.csv")
    await triggers.look()
    assert await place.runs() == [["a.csv"], ["b.csv"]]


async def test_a_scoring_of_each_file(place: Place) -> None:
    work = ScoreWork(model="churn", data="{file}", output="/out/{stem}/{run}")
    run = RunSpec(kind="score", score=work, resources=SMALL)
    watched = OnFiles(location=str(place.folder), settle=0, at_most=1)
    await place.store.schedules.create("ada", "in", ScheduleSpec(run=run, on_files=watched, overlap=True), ADA)
    triggers = place.triggers()
    await triggers.look()
    place.put("a.csv.gz", "b.csv")
    for _ in range(3):
        await triggers.look()
    made = [run.spec.score for run in reversed(await place.store.list_runs(RunQuery(schedule="ada/in")))]
    assert {(one.data, one.output) for one in made if one is not None} == {
        (f"{place.folder}/a.csv.gz", "/out/a/{run}"),
        (f"{place.folder}/b.csv", "/out/b/{run}"),
    }
    with pytest.raises(ValueError, match="one file at a time"):
        ScheduleSpec(run=run, on_files=watched.model_copy(update={"at_most": 2}))


async def test_a_place_that_fails_is_told_once_and_holds_up_no_other(place: Place) -> None:
    await place.watch("away", settle=0)
    await place.watch("here", settle=0)

    @dataclass
    class Troubled:
        """A place that does not answer to one, while it lasts."""

        broken: bool = True
        asked: list[str] = field(default_factory=list)

        async def look(self, wanted: OnFiles, whose: Watcher) -> list[Listed]:
            self.asked.append(wanted.pattern)
            if wanted.pattern == "*.away" and self.broken:
                raise Unavailable("the store of s3://lake does not answer")
            return await place.places.look(wanted, whose)

    schedule = await place.store.schedules.get("ada", "away")
    wanted = schedule.spec.on_files
    assert wanted is not None
    changed = schedule.spec.model_copy(update={"on_files": wanted.model_copy(update={"pattern": "*.away"})})
    await place.store.schedules.write("ada", "away", changed, schedule.generation, ADA)
    troubled = Troubled()
    triggers = FileTriggers(place.store.schedules, troubled)
    await triggers.look()
    place.put("a.csv")
    for _ in range(3):
        await triggers.look()
    assert await place.runs("here") == [["a.csv"]]
    status = (await place.store.schedules.get("ada", "away")).status
    (told,), (trouble,) = status.skipped, status.troubles
    assert told.reason == trouble.reason == "FilesUnavailable"
    assert told.message == trouble.message
    assert told.message.startswith("the store of s3://lake does not answer")
    assert (trouble.trigger, trouble.since) == ("files", told.due)
    again = FileTriggers(place.store.schedules, troubled)
    await again.look()
    assert (await place.store.schedules.get("ada", "away")).status == status, (
        "another hub service tells it no second time"
    )
    assert (await place.store.schedules.get("ada", "here")).status.troubles == ()
    troubled.broken = False
    place.put("b.away")
    await triggers.look()
    assert await place.runs("away") == [["b.away"]], "what came meanwhile is not lost"
    assert (await place.store.schedules.get("ada", "away")).status.troubles == (), "it is over"


async def test_a_folder_that_is_gone_is_told_with_its_name_until_it_is_there_again(place: Place) -> None:
    await place.watch(settle=0)
    triggers = place.triggers()
    await triggers.look()
    place.folder.rename(place.folder.with_name("away"))
    await triggers.look()
    (trouble,) = (await place.store.schedules.get("ada", "in")).status.troubles
    assert str(place.folder) in trouble.message
    place.folder.with_name("away").rename(place.folder)
    place.put("a.csv")
    await triggers.look()
    assert await place.runs() == [["a.csv"]]
    assert (await place.store.schedules.get("ada", "in")).status.troubles == ()


async def test_a_change_of_the_schedule_ends_what_was_wrong_with_the_former(place: Place) -> None:
    await place.watch(settle=0)
    place.folder.rmdir()
    await place.triggers().look()
    before = await place.store.schedules.get("ada", "in")
    assert len(before.status.troubles) == 1
    await place.store.schedules.pause("ada", "in", True, ADA)
    assert (await place.store.schedules.get("ada", "in")).status.troubles == ()
    assert not await place.store.schedules.trouble(before, "files", before.status.troubles[0]), (
        "it is another one by now"
    )


async def test_a_place_that_never_answers_is_told_and_holds_up_no_other(place: Place) -> None:
    await place.watch("here", settle=0)
    for number in range(10):
        await place.watch(f"away{number}", settle=0, pattern="*.away")

    class Silent:
        """A place that never answers some."""

        async def look(self, wanted: OnFiles, whose: Watcher) -> list[Listed]:
            if wanted.pattern == "*.away":
                await asyncio.Event().wait()
            return await place.places.look(wanted, whose)

    triggers = FileTriggers(place.store.schedules, Silent(), wait=1, patience=4)
    await asyncio.wait_for(triggers.look(), 5)
    place.put("a.csv")

    async def told() -> bool:
        await triggers.look()
        return bool((await place.store.schedules.get("ada", "away9")).status.skipped)

    await asyncio.wait_for(triggers.look(), 5)
    assert await place.runs("here") == [["a.csv"]], "before anything is told of the others"
    await eventually_async(told, timeout=20, what="a note that the place does not answer")
    (note,) = (await place.store.schedules.get("ada", "away9")).status.skipped
    assert note.reason == "FilesUnavailable"
    assert "was not listed in time" in note.message


async def test_switching_changed_runs_no_file_again(place: Place) -> None:
    place.put("old.csv")
    await place.watch(settle=0)
    triggers, expected = place.triggers(), list[list[str]]()
    await triggers.look()
    for turn, changed in enumerate((True, False, True)):
        place.put(f"{turn}.csv")
        await triggers.look()
        expected.append([f"{turn}.csv"])
        await asyncio.to_thread(eventually_later, place.folder / f"{turn}.csv")
        schedule = await place.store.schedules.get("ada", "in")
        assert schedule.spec.on_files is not None
        other = schedule.spec.on_files.model_copy(update={"changed": changed})
        spec = schedule.spec.model_copy(update={"on_files": other})
        await place.store.schedules.write("ada", "in", spec, schedule.generation, ADA)
        await triggers.look()
        assert await place.runs() == expected


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("sales.2026-11-26.csv", "sales.2026-11-26"),
        ("deep/b.PARQUET", "deep/b"),
        ("a.csv.gz", "a"),
        ("a.b.zst", "a.b"),
        ("v1.2", "v1.2"),
    ],
)
def test_where_the_answers_of_a_file_go(name: str, stem: str) -> None:
    work = ScoreWork(model="churn", data="{file}", output="/out/{stem}")
    run = RunSpec(kind="score", score=work, resources=SMALL)
    for watched, folder in (("/in", "/in"), ("file:///in/", "/in"), ("s3://lake/in", "s3://lake/in")):
        found = filled(run, f"{folder}/{name}", watched)
        assert found == {"data": f"{folder}/{name}", "output": f"/out/{stem}"}


async def test_files_that_come_while_a_new_schedule_is_paused(place: Place) -> None:
    place.put("old.csv")
    await asyncio.to_thread(eventually_later, place.folder / "old.csv")
    await place.watch(settle=0)
    await place.store.schedules.pause("ada", "in", True, ADA)
    triggers = place.triggers()
    await triggers.look()
    place.put("new.csv")
    await triggers.look()
    await asyncio.to_thread(eventually_later, place.folder / "new.csv")
    assert await place.runs() == []
    await place.store.schedules.pause("ada", "in", False, ADA)
    await triggers.look()
    assert await place.runs() == [["new.csv"]]


@pytest.mark.parametrize("catch_up", list(CatchUp))
async def test_files_that_come_in_a_pause_before_anybody_looked(place: Place, catch_up: CatchUp) -> None:
    """The hub service was away from the making of the schedule to the end of the pause."""
    place.put("old.csv")
    await asyncio.to_thread(eventually_later, place.folder / "old.csv")
    await place.watch(settle=0)
    schedule = await place.store.schedules.get("ada", "in")
    changed = schedule.spec.model_copy(update={"catch_up": catch_up})
    await place.store.schedules.write("ada", "in", changed, schedule.generation, ADA)
    await place.store.schedules.pause("ada", "in", True, ADA)
    place.put("new.csv")
    await asyncio.to_thread(eventually_later, place.folder / "new.csv")
    await place.store.schedules.pause("ada", "in", False, ADA)
    await asyncio.to_thread(eventually_later, place.folder / "new.csv")
    await place.triggers().look()
    assert await place.runs() == ([] if catch_up is CatchUp.skip else [["new.csv"]])
    place.put("later.csv")
    await place.triggers().look()
    assert (await place.runs())[-1:] == [["later.csv"]]


async def test_a_pause_that_is_skipped_skips_what_came_in_it_alone(place: Place) -> None:
    await place.watch(settle=0)
    triggers = place.triggers()
    schedule = await place.store.schedules.get("ada", "in")
    skips = schedule.spec.model_copy(update={"catch_up": CatchUp.skip})
    schedule = await place.store.schedules.write("ada", "in", skips, schedule.generation, ADA)
    await triggers.look()
    place.put("before.csv")
    await triggers.look()
    for turn, by_write in enumerate((False, True)):
        paused = schedule.spec.model_copy(update={"paused": True})
        schedule = await place.store.schedules.write("ada", "in", paused, schedule.generation, ADA)
        await triggers.look()
        place.put(f"in-pause-{turn}.csv", "before.csv")
        await asyncio.to_thread(eventually_later, place.folder / "before.csv")
        if by_write:
            schedule = await place.store.schedules.write("ada", "in", skips, schedule.generation, ADA)
        else:
            schedule = await place.store.schedules.pause("ada", "in", False, ADA)
        await triggers.look()
        assert await place.runs() == [["before.csv"], *([f"after-{n}.csv"] for n in range(turn))]
        place.put(f"after-{turn}.csv")
        await triggers.look()
    assert await place.runs() == [["before.csv"], ["after-0.csv"], ["after-1.csv"]]


async def test_files_of_one_stem_are_scored_to_outputs_of_their_own(place: Place) -> None:
    work = ScoreWork(model="churn", data="{file}", output="/out/{stem}/{run}")
    run = RunSpec(kind="score", score=work, resources=SMALL)
    place.put("x.arrow")
    watched = OnFiles(location=str(place.folder), settle=0, at_most=1, changed=True)
    await place.store.schedules.create("ada", "in", ScheduleSpec(run=run, on_files=watched, overlap=True), ADA)
    await place.triggers().look()
    seen = list[str]()
    for turn, name in enumerate(("x.csv", "x.parquet", "deep/x.csv", "x.csv", "x.parquet", "x.arrow")):
        place.put(name, text="x" * (turn + 2))
        await place.triggers().look()
        newest = (await place.store.list_runs(RunQuery(schedule="ada/in", limit=1)))[0].spec.score
        assert newest is not None
        assert newest.data == f"{place.folder}/{name}"
        seen.append(newest.output)
    stems = ("x", "x.parquet", "deep/x", "x", "x.parquet", "x.arrow")
    assert seen == [f"/out/{stem}/{{run}}" for stem in stems], "written anew, a file keeps its own"


@pytest.mark.parametrize(
    "names",
    [
        ("x.csv", "x.parquet", "x.csv.gz", "x.parquet.csv", "x"),
        ("x.parquet.csv", "x.parquet", "x.csv", "x"),
        ("x", "x.csv", "x.CSV", "x.csv.csv.csv"),
        ("x.csv", "x", "x~2.csv"),
    ],
)
def test_no_two_stems_are_alike_and_none_changes(names: tuple[str, ...]) -> None:
    found = stems([f"/in/{name}" for name in names], "/in")
    assert len(set(found.values())) == len(names)
    for count in range(1, len(names)):
        some = [f"/in/{name}" for name in names[:count]]
        assert stems(some, "/in").items() <= found.items()
    assert {root_of(f"/in/{name}") for name in names} == {"/in/x"}


@BOTH
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", range(1, 13))
async def test_killed_at_any_point_each_file_has_one_run(place: Place, point: int, after: bool) -> None:
    await place.watch(settle=0)
    plug = Plug(point, after)
    triggers = place.triggers(plug.pulled(place.store.schedules))
    for name in ("a.csv", "b.csv", "c.csv"):
        try:
            await triggers.look()
        except Killed:
            triggers = place.triggers()
        place.put(name)
    await place.triggers().look()
    counted = Counter(name for names in await place.runs() for name in names)
    assert counted == {"a.csv": 1, "b.csv": 1, "c.csv": 1}


CONTROLLER = """
import asyncio, sys
from pathlib import Path
from modelyard_hub.reconcile.file_triggers import FileTriggers
from modelyard_hub.settings import Settings
from modelyard_hub.store.store import Store
from modelyard_hub.watched import Places, folder_rule

async def main():
    store = Store(sys.argv[1])
    await store.open()
    places = Places(None, folder_rule(Settings(home=Path(sys.argv[2]))))
    work = FileTriggers(store.schedules, places)
    while True:
        await work.look()
        print("looked", flush=True)

asyncio.run(main())
"""


@BOTH
async def test_two_hub_services_killed_again_and_again(place: Place, tmp_path: Path) -> None:
    await place.watch(settle=0, at_most=3)
    chance = random.Random(7)
    command = [sys.executable, "-c", CONTROLLER, place.url, str(tmp_path / "home")]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def end(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    await place.triggers().look()
    running, expected = [start(), start()], []
    try:
        for turn in range(5):
            names = [f"{turn}-{number}.csv" for number in range(12)]
            expected += names
            place.put(*names)
            victim = running.pop(0)
            assert victim.stdout is not None
            await asyncio.to_thread(victim.stdout.readline)
            with pytest.raises(subprocess.TimeoutExpired):
                victim.wait(chance.uniform(0.0, 0.05))
            end(victim)
            running.append(start())

        async def all_there() -> bool:
            return sum(map(len, await place.runs())) >= len(expected)

        await eventually_async(all_there, timeout=60, what="a run for each file")
    finally:
        for process in running:
            end(process)
    counted = Counter(name for names in await place.runs() for name in names)
    assert counted == dict.fromkeys(expected, 1)
