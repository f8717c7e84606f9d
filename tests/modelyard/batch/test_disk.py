"""Runs on disks that are full or cannot be written, for real: they end, say why, and what was made is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import api
from harness.disk import Disk, small_disk
from harness.instant_tasks import Wallet
from harness.local import LocalYard
from harness.runs import notebook, snapshot, spec
from harness.wait import eventually_async
from harness.web import serving_here
from modelyard_api.resources import MiB
from modelyard_api.runs import NOTEBOOK, SNAPSHOT, Run, RunState, attempt_folder, snapshot_folder
from modelyard_api.tasks import RESULTS
from modelyard_hub.artifacts import FolderArtifacts
from modelyard_hub.reconcile.run_loop import Queue, RunController
from modelyard_hub.reconcile.run_steps import NoSecrets, RunOptions, RunSteps
from modelyard_hub.runtimes.local import stop_everything

FILLS = """
print("before")
with open("/proc/self/mountinfo") as told, open({path!r}, "wb") as file:
    while True:
        file.write(bytes(1 << 16))
"""
WAITS = "import pathlib, time\nprint('waiting')\nwhile not pathlib.Path({gate!r}).exists():\n    time.sleep(0.05)"


class Adas(Wallet):
    """Makes tokens that the API knows: a token's name is its user's."""

    async def make(self, user: str, note: str, lifetime: float) -> tuple[str, str]:
        token_id, _ = await super().make(user, note, lifetime)
        return token_id, user


@dataclass
class Place:
    """A hub service's parts: its tasks work below `work`, its artifacts lie below `kept`, each on a disk of its own."""

    yard: api.Yard
    runtime: LocalYard
    controller: RunController
    files: FolderArtifacts
    work: Disk
    kept: Disk

    async def run(self, *cells: str, **members: Any) -> Run:
        """Submitted."""
        digest, content = snapshot(train__ipynb=notebook(*cells))
        await self.files.write(self.files.place(snapshot_folder("ada", digest)), SNAPSHOT, content)
        return await self.yard.parts.store.submit_run("ada", spec(digest, **members))

    async def ended(self, run: Run) -> Run:
        """As it is at its end."""

        async def look() -> Run | None:
            await self.controller.look_once()
            found = (await self.yard.parts.store.get_run(run.id)).run
            return found if found.ended else None

        return await eventually_async(look, timeout=120, interval=0.2, what="it ends")

    async def output(self, run: Run) -> str:
        """What its cells printed and raised so far: not what is written in them."""
        found = await self.files.read(self.files.place(attempt_folder("ada", run.id, 1)), f"{RESULTS}/{NOTEBOOK}")
        cells = json.loads(found)["cells"] if found else ()
        return json.dumps([cell.get("outputs") for cell in cells])

    async def says(self, run: Run, text: str) -> None:
        async def look() -> bool:
            await self.controller.look_once()
            return text in await self.output(run)

        await eventually_async(look, timeout=120, interval=0.2, what=f"its output says {text!r}")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    with small_disk(tmp_path / "work", 24 * MiB) as work, small_disk(tmp_path / "kept", 8 * MiB) as kept:
        async with api.yard(tmp_path) as yard:
            files = FolderArtifacts(kept.path)
            object.__setattr__(yard.parts, "artifacts", files)
            async with serving_here(yard.app) as url:
                runtime = LocalYard(work.path)
                await runtime.runtime.open()
                steps = RunSteps(
                    yard.parts.store,
                    runtime.runtime,
                    Adas(),
                    NoSecrets(),
                    RunOptions(files.place, {"MODELYARD_URL": url, "HOME": str(work.path)}),
                )
                controller = RunController(yard.parts.store, runtime.runtime, steps, Queue(), 0)
                try:
                    yield Place(yard, runtime, controller, files, work, kept)
                finally:
                    await runtime.runtime.close()
                    stop_everything(work.path, drain_timeout=0.5)


async def test_a_cell_that_fills_the_disk_fails_and_its_notebook_is_kept(place: Place) -> None:
    run = await place.ended(await place.run("print('first')", FILLS.format(path=str(place.work.path / "huge"))))
    assert (run.status.state, run.status.reason) == (RunState.failed, "CellFailed"), run.status
    assert "No space left on device" in run.status.message
    output = await place.output(run)
    assert "first" in output
    assert "before" in output
    assert "No space left on device" in output, "the traceback is in it"


async def test_a_disk_that_others_fill_while_it_runs(place: Place, tmp_path: Path) -> None:
    """It goes on; its last words find room, or the run says that they did not."""
    gate = tmp_path / "gate"
    run = await place.run("print('first')", WAITS.format(gate=str(gate)), "print('x' * (3 << 20))")
    await place.says(run, "waiting")
    place.work.fill()
    gate.touch()
    ended = await place.ended(run)
    assert (ended.status.state, ended.status.reason) == (RunState.failed, "StorageFull"), ended.status
    assert "no space left" in ended.status.message
    assert "first" in await place.output(run)


async def test_a_small_notebook_ends_well_also_on_a_full_disk(place: Place, tmp_path: Path) -> None:
    """There is room for its last words."""
    gate = tmp_path / "gate"
    run = await place.run(WAITS.format(gate=str(gate)), "print('last')")
    await place.says(run, "waiting")
    place.work.fill()
    gate.touch()
    ended = await place.ended(run)
    assert ended.status.state is RunState.succeeded, ended.status
    assert "last" in await place.output(run)


async def test_where_its_output_does_not_fit_it_fails_and_says_so(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = await place.run("print('first')", WAITS.format(gate=str(gate)), "print('x' * 100_000)")
    await place.says(run, "waiting")
    place.kept.fill()
    gate.touch()
    ended = await place.ended(run)
    assert (ended.status.state, ended.status.reason) == (RunState.failed, "UploadFailed"), ended.status
    assert "No space left on device" in ended.status.message
    assert "first" in await place.output(run), "what was brought before is still there"


async def test_where_its_output_cannot_be_written_it_fails_and_says_so(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = await place.run("print('first')", WAITS.format(gate=str(gate)))
    await place.says(run, "waiting")
    place.kept.close()
    gate.touch()
    ended = await place.ended(run)
    assert (ended.status.state, ended.status.reason) == (RunState.failed, "UploadFailed"), ended.status
    assert "Read-only file system" in ended.status.message
    assert "first" in await place.output(run)


async def test_one_whose_start_finds_no_room_waits_and_starts_when_there_is(place: Place) -> None:
    place.work.fill()
    run = await place.run("print('first')")
    await place.controller.look_once()
    waits = (await place.yard.parts.store.get_run(run.id)).run
    assert (waits.status.state, waits.status.reason) == (RunState.queued, "StartFailed"), waits.status
    assert "disk" in waits.status.message or "space" in waits.status.message
    place.work.free()
    assert (await place.ended(run)).status.state is RunState.succeeded
