"""What starts runs of schedules besides the clock: new files in a folder or a bucket."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Protocol

from modelyard_api.errors import Conflict, ModelyardError
from modelyard_api.runs import Run, RunSpec
from modelyard_api.schedules import NewFile, OnFiles, Schedule, Skipped, Trouble
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on
from modelyard_hub.listing import Listed, too_slow
from modelyard_hub.watched import PATIENCE, Watcher

log = logging.getLogger(__name__)
EVERY = 10.0
"""Seconds between looks, and for which one waits for its places."""
_ENDING = re.compile(
    r"(\.(csv|tsv|txt|json|jsonl|ndjson|parquet|arrow|feather|ipc))?(\.(gz|bz2|zst|xz))?$", re.IGNORECASE
)
"""Of a file's name; other dots are part of it, such as those of a date."""


class Schedules(Protocol):
    """What this asks of the store; of two that do it at once, one makes a run for a file."""

    async def list(self) -> tuple[Schedule, ...]: ...

    async def begin_files(self, schedule: Schedule, mark: NewFile, there: Sequence[NewFile]) -> bool: ...

    async def new_files(self, schedule: Schedule, mark: NewFile, files: Sequence[NewFile]) -> frozenset[str] | None: ...

    async def watched_since(self, schedule: Schedule) -> datetime: ...

    async def start_for_files(
        self,
        schedule: Schedule,
        files: Sequence[NewFile],
        spec: Callable[[Sequence[NewFile], Sequence[str]], RunSpec],
        beginning: str | None = None,
    ) -> Run | None: ...

    async def note(self, schedule: Schedule, what: Skipped) -> None: ...

    async def trouble(self, schedule: Schedule, trigger: str, what: Trouble | None) -> bool: ...


class Listing(Protocol):
    """Who lists a place: `watched.Places`."""

    async def look(self, wanted: OnFiles, whose: Watcher) -> list[Listed]: ...


class FileTriggers:
    """Starts runs for files, each once: which ones have a run is in the store, written with the run. What is kept here
    is only since when a file has not changed, so that a look after a restart waits for that once more."""

    def __init__(
        self,
        schedules: Schedules,
        places: Listing,
        clock: Callable[[], float] = time.monotonic,
        *,
        wait: float = EVERY,
        patience: float = PATIENCE,
    ) -> None:
        self._schedules, self._places, self._clock, self._wait, self._patience = (
            schedules,
            places,
            clock,
            wait,
            patience,
        )
        self._steady: dict[str, dict[str, tuple[str, float]]] = {}
        self._busy: dict[str, asyncio.Task[Run | None]] = {}

    async def run(self) -> None:
        """For ever. What fails is tried again with the next look."""
        await keep_on("looking for new files", self.look, Backoff(first=EVERY), every=EVERY)

    async def look(self) -> list[Run]:
        """Once; the runs that it started. A place that does not answer holds up no other one: what takes longer goes on
        beside the next look."""
        known = [schedule for schedule in await self._schedules.list() if schedule.spec.on_files is not None]
        for key in self._steady.keys() - {schedule.key for schedule in known}:
            del self._steady[key]
        mine = []
        for schedule in known:
            if schedule.key not in self._busy:
                task = self._busy[schedule.key] = asyncio.create_task(self._look_at(schedule))
                task.add_done_callback(partial(self._done, schedule.key))
                mine.append(task)
        if not mine:
            return []
        try:
            done, _ = await asyncio.wait(mine, timeout=self._wait)
        except asyncio.CancelledError:
            for task in list(self._busy.values()):
                task.cancel()
            raise
        return [run for task in mine if task in done and (run := task.result()) is not None]

    def _done(self, key: str, _: asyncio.Task[Run | None]) -> None:
        del self._busy[key]

    async def _look_at(self, schedule: Schedule) -> Run | None:
        try:
            try:
                run = await self._start(schedule)
            except Conflict:
                run = None  # a run of it has not ended
            except ModelyardError as error:
                await self._tell(schedule, str(error))
                return None
            await self._schedules.trouble(schedule, "files", None)
            return run
        except Exception:  # one schedule's trouble is not the others'
            log.exception("schedule %s: looking for new files", schedule.key)
        return None

    async def _start(self, schedule: Schedule) -> Run | None:
        wanted = schedule.spec.on_files
        assert wanted is not None, "it was chosen by that"
        mark, paused = mark_of(wanted), schedule.spec.paused
        if paused and await self._schedules.new_files(schedule, mark, []) is not None:
            return None  # what comes from now on is new after the pause
        files = await self._listed(schedule, wanted)
        named = [NewFile(digest=digest, location=one.location) for digest, one in files.items()]
        fresh = await self._schedules.new_files(schedule, mark, named)
        if fresh is None:
            since = await self._schedules.watched_since(schedule)
            there = [file for file in named if files[file.digest].since <= since]
            await self._schedules.begin_files(schedule, mark, there)
            fresh = await self._schedules.new_files(schedule, mark, named) or frozenset()
        chosen = [] if paused else self._settled(schedule, wanted, {digest: files[digest] for digest in fresh})
        if not chosen:
            return None
        beginning = root_of(chosen[0].location) if schedule.spec.run.score is not None else None
        run = await self._schedules.start_for_files(schedule, chosen, partial(spec_for, schedule), beginning)
        if run is not None:
            log.info("schedule %s: run %s for %d new files", schedule.key, run.id, len(chosen))
        return run

    async def _listed(self, schedule: Schedule, wanted: OnFiles) -> dict[str, Listed]:
        """Its files by what stands for them."""
        whose = Watcher(schedule.owner, schedule.runs_as, schedule.spec.run)
        try:
            async with asyncio.timeout(self._patience):
                found = await self._places.look(wanted, whose)
        except TimeoutError:
            raise too_slow(wanted.location) from None
        return {digest_of(wanted, f): f for f in found if fnmatchcase(f.location.rsplit("/", 1)[-1], wanted.pattern)}

    def _settled(self, schedule: Schedule, wanted: OnFiles, fresh: Mapping[str, Listed]) -> list[NewFile]:
        """Those that have not changed for long enough, the oldest first, as many as one run takes."""
        before, now = self._steady.get(schedule.key, {}), self._clock()
        steady: dict[str, tuple[str, float]] = {}
        for digest, one in fresh.items():
            known = before.get(digest)
            steady[digest] = known if known is not None and known[0] == one.stamp else (one.stamp, now)
        self._steady[schedule.key] = steady
        ready = [digest for digest, (_, since) in steady.items() if now - since >= wanted.settle]
        ready.sort(key=lambda digest: (fresh[digest].since, fresh[digest].location))
        return [NewFile(digest=d, location=fresh[d].location) for d in ready[: wanted.at_most]]

    async def _tell(self, schedule: Schedule, why: str) -> None:
        """As what keeps the schedule from starting runs, while it lasts; once for each also among what it missed."""
        now, reason, message = datetime.now(UTC), "FilesUnavailable", why[:1000]
        trouble = Trouble(trigger="files", reason=reason, message=message, since=now)
        if await self._schedules.trouble(schedule, "files", trouble):
            log.warning("schedule %s: looking for new files: %s", schedule.key, why)
            await self._schedules.note(schedule, Skipped(due=now, reason=reason, message=message))


def spec_for(schedule: Schedule, files: Sequence[NewFile], before: Sequence[str] = ()) -> RunSpec:
    """What runs for files: a notebook with their list, a scoring with the one of them. `before`: see `stems`."""
    run, wanted = schedule.spec.run, schedule.spec.on_files
    assert wanted is not None, "it is a run for files"
    if run.score is not None:
        return run.model_copy(
            update={"score": run.score.model_copy(update=filled(run, files[0].location, wanted.location, before))}
        )
    return run.model_copy(update={"parameters": {**run.parameters, wanted.parameter: [f.location for f in files]}})


def filled(run: RunSpec, location: str, watched: str, before: Sequence[str] = ()) -> dict[str, str]:
    """Data and output of a scoring, with `{file}` and `{stem}` filled in. `before`: see `stems`."""
    assert run.score is not None, "it is a scoring"
    stem = stems([*before, location], watched)[location]
    places = {"data": run.score.data, "output": run.score.output}
    return {key: text.replace("{file}", location).replace("{stem}", stem) for key, text in places.items()}


def stems(locations: Iterable[str], watched: str) -> dict[str, str]:
    """What `{stem}` is for each file, no two alike: where it lies below the watched folder, without its ending, or with
    it where one before has that stem. So `x.csv` has `x`, and `x.parquet` that comes later has `x.parquet`."""
    folder, found = f"{watched.removeprefix('file://').rstrip('/')}/", dict[str, str]()
    taken = set[str]()
    for location in locations:
        below = location.removeprefix(folder).lstrip("/")
        wanted = itertools.chain((_ENDING.sub("", below) or below, below), (f"{below}~{n}" for n in itertools.count(2)))
        if location not in found:
            found[location] = next(stem for stem in wanted if stem not in taken)
            taken.add(found[location])
    return found


def root_of(location: str) -> str:
    """What the locations begin with of all files whose stems could be like that of this one."""
    while True:
        shorter = re.sub(r"~\d+$", "", _ENDING.sub("", location))
        if shorter in (location, "") or shorter.endswith("/"):
            return location
        location = shorter


def mark_of(wanted: OnFiles) -> NewFile:
    """What stands for having begun to watch a place; with `changed` other things stand for its files."""
    place = f"{wanted.location}\0{wanted.pattern}" + ("\0changed" if wanted.changed else "")
    return NewFile(digest=hashlib.sha256(place.encode()).hexdigest(), location="")


def digest_of(wanted: OnFiles, one: Listed) -> str:
    """What stands for a file."""
    parts = ["file", one.location, one.stamp if wanted.changed else ""]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
