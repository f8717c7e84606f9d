"""Folders and buckets that schedules watch: who may watch which, and what is in them."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from modelyard_api.errors import Forbidden, InvalidInput, Unavailable
from modelyard_api.locations import parse_s3
from modelyard_api.runs import Run, RunSpec
from modelyard_api.schedules import OnFiles
from modelyard_hub.listing import KEYS, Listed, in_bucket, in_folder, too_slow
from modelyard_hub.settings import Settings

PATIENCE = 30.0
"""Seconds in which a place must be listed."""
_THREADS = 32
_EACH = 4
"""Places of one owner that are listed at a time: folders that never answer keep that many threads of the others' at
most."""


class Secrets(Protocol):
    """Who knows the values that a run is given; see `reconcile.run_steps.Secrets`."""

    async def given(self, run: Run) -> tuple[Mapping[str, str], Mapping[str, str]]: ...


@dataclass(frozen=True)
class Watcher:
    """On whose behalf a place is listed: the runs' owner, and as whom they run."""

    owner: str
    runs_as: str
    run: RunSpec


class Places:
    """Lists watched places. `folders`: the folder that is listed for one that an owner names, without links; raises
    where it may not be watched (see `folder_rule`). `patience`: seconds for one place."""

    def __init__(self, secrets: Secrets, folders: Callable[[str, Path], Path], patience: float = PATIENCE) -> None:
        self._secrets, self._folders, self._patience = secrets, folders, patience
        # Its own: a folder of a file server that is away keeps its thread for ever.
        self._threads = ThreadPoolExecutor(_THREADS, "listing")
        self._gates: dict[str, asyncio.Semaphore] = {}

    async def look(self, wanted: OnFiles, whose: Watcher) -> list[Listed]:
        """Its files. InvalidInput for a location that may not be watched, or has too many; NotFound, Forbidden,
        Unavailable."""
        gate = self._gates.setdefault(whose.owner, asyncio.Semaphore(_EACH))
        try:
            async with asyncio.timeout(self._patience):
                s3 = parse_s3(wanted.location)
                if s3 is None:
                    return await self._in_folder(gate, whose.owner, wanted.location)
                environment = await self._environment(whose)
                async with gate:
                    return await in_bucket(s3, environment)
        except TimeoutError:
            raise too_slow(wanted.location) from None

    async def _environment(self, whose: Watcher) -> dict[str, str]:
        """What the run finds. Never ours: the hub service's own keys open what is not the user's."""
        now = datetime.now(UTC)
        run = Run(id="0" * 16, owner=whose.owner, created_by=whose.runs_as, created_at=now, spec=whose.run)
        variables, _ = await self._secrets.given(run)
        found = {**whose.run.environment, **variables}
        missing = next((name for name in KEYS if not found.get(name)), None)
        if missing is not None:
            raise InvalidInput(
                f"the run has no variable {missing}, with which the bucket is listed",
                remedy=f"Give the keys as secrets of the run: secrets={{{missing!r}: NAME, …}}.",
            )
        return found

    async def _in_folder(self, gate: asyncio.Semaphore, owner: str, location: str) -> list[Listed]:
        root = Path(location.removeprefix("file://"))
        if not root.is_absolute():
            raise InvalidInput(f"{location!r} is neither an absolute path nor s3://bucket/key")
        until = time.monotonic() + self._patience
        await gate.acquire()
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._walked, owner, root, until)

        def ended(done: asyncio.Future[list[Listed]]) -> None:
            gate.release()  # only now: a thread cannot be given up, whoever waits for it
            if not done.cancelled():
                done.exception()

        work.add_done_callback(ended)
        return await asyncio.shield(work)

    def _walked(self, owner: str, root: Path, until: float) -> list[Listed]:
        try:
            return in_folder(root, self._folders(owner, root), until)
        except PermissionError as error:
            raise Forbidden(
                f"the hub service may not enter {error.filename or root}", remedy="Let its account read the folder."
            ) from error
        except (ValueError, RuntimeError) as error:  # a NUL in it; links that lead in a circle
            raise InvalidInput(f"{str(root)!r} is no path of a folder: {error}") from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
                raise InvalidInput(f"{str(root)!r} is no path of a folder: {error.strerror}") from error
            raise Unavailable(f"{root} cannot be listed: {error.strerror}") from error


def folder_rule(settings: Settings) -> Callable[[str, Path], Path]:
    """Which folder an owner watches who names one: that without links; InvalidInput, Forbidden where they may not."""

    def on_this_machine(owner: str, folder: Path) -> Path:
        # Runs are processes of the same account and read what it reads: only the yard's own state is none of theirs.
        home, resolved = settings.home.resolve(), folder.resolve()
        if resolved.is_relative_to(home) and not resolved.is_relative_to(home / "users" / owner):
            raise Forbidden(f"{folder} is not a folder of {owner!r}", remedy="Name one of yours, or one outside.")
        if home.is_relative_to(resolved):
            raise Forbidden(f"{folder} holds the state of Modelyard", remedy="Name a folder of yours.")
        return resolved

    def in_a_cluster(owner: str, folder: Path) -> Path:
        resolved = folder.resolve()
        if not any(resolved.is_relative_to(root.resolve()) for root in settings.watch_folders):
            known = ", ".join(map(str, settings.watch_folders))
            raise InvalidInput(
                f"the hub service, which looks for new files, does not see the folder {folder}",
                remedy="Name s3://bucket/key" + (f", or a folder below {known}." if known else "."),
            )
        return resolved

    return in_a_cluster if settings.runtime == "kubernetes" else on_this_machine
