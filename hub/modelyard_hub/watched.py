"""Folders and buckets that schedules watch: who may watch which, and what is in them."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelyard_api.errors import Forbidden, InvalidInput, NotFound, Unavailable
from modelyard_api.locations import S3Access, S3Location, S3Trouble, parse_s3, s3_trouble
from modelyard_api.runs import Run, RunSpec
from modelyard_api.schedules import OnFiles
from modelyard_hub.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Config

MOST = 50_000
"""Files that a watched place may hold; a listing of more takes longer than the time between two looks."""
_PATIENCE = timedelta(seconds=10)
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True)
class Listed:
    """A file: where it is, what changes when it changes, and since when it has been there, as far as the place says."""

    location: str
    stamp: str
    since: datetime


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
    """Lists watched places. `folders`: whether an owner may watch a folder; raises where not (see `folder_rule`)."""

    def __init__(self, secrets: Secrets, folders: Callable[[str, Path], None]) -> None:
        self._secrets, self._folders = secrets, folders

    async def look(self, wanted: OnFiles, whose: Watcher) -> list[Listed]:
        """Its files. InvalidInput for a location that may not be watched, or has too many; NotFound, Forbidden,
        Unavailable."""
        s3 = parse_s3(wanted.location)
        if s3 is not None:
            return await asyncio.to_thread(_in_bucket, s3, await self._environment(whose))
        root = Path(wanted.location.removeprefix("file://"))
        if not root.is_absolute():
            raise InvalidInput(f"{wanted.location!r} is neither an absolute path nor s3://bucket/key")
        return await asyncio.to_thread(self._in_folder, whose.owner, root)

    async def _environment(self, whose: Watcher) -> dict[str, str]:
        """What the run finds. Never ours: the hub service's own keys open what is not the user's."""
        now = datetime.now(UTC)
        run = Run(id="0" * 16, owner=whose.owner, created_by=whose.runs_as, created_at=now, spec=whose.run)
        variables, _ = await self._secrets.given(run)
        found = {**whose.run.environment, **variables}
        missing = next((name for name in _KEYS if not found.get(name)), None)
        if missing is not None:
            raise InvalidInput(
                f"the run has no variable {missing}, with which the bucket is listed",
                remedy=f"Give the keys as secrets of the run: secrets={{{missing!r}: NAME, …}}.",
            )
        return found

    def _in_folder(self, owner: str, root: Path) -> list[Listed]:
        self._folders(owner, root)
        if not root.is_dir():
            raise NotFound(f"there is no folder {root}")
        return _bounded(_walk(root), root)


def folder_rule(settings: Settings) -> Callable[[str, Path], None]:
    """Whether an owner may watch a folder: InvalidInput, Forbidden where not."""

    def on_this_machine(owner: str, folder: Path) -> None:
        # Runs are processes of the same account and read what it reads: only the yard's own state is none of theirs.
        home, resolved = settings.home.resolve(), folder.resolve()
        if resolved.is_relative_to(home) and not resolved.is_relative_to(home / "users" / owner):
            raise Forbidden(f"{folder} is not a folder of {owner!r}", remedy="Name one of yours, or one outside.")
        if home.is_relative_to(resolved):
            raise Forbidden(f"{folder} holds the state of Modelyard", remedy="Name a folder of yours.")

    def in_a_cluster(owner: str, folder: Path) -> None:
        if not any(folder.resolve().is_relative_to(root) for root in settings.watch_folders):
            known = ", ".join(map(str, settings.watch_folders))
            raise InvalidInput(
                f"the hub service, which looks for new files, does not see the folder {folder}",
                remedy="Name s3://bucket/key" + (f", or a folder below {known}." if known else "."),
            )

    return in_a_cluster if settings.runtime == "kubernetes" else on_this_machine


def _walk(root: Path) -> Iterator[Listed]:
    def fail(error: OSError) -> None:
        if error.filename == str(root):
            raise Unavailable(f"{root} cannot be listed: {error.strerror}") from error

    for folder, folders, names in os.walk(root, onerror=fail):
        folders[:] = [name for name in folders if name[0] not in "._"]
        for name in names:
            if name[0] in "._":
                continue
            path = Path(folder) / name
            try:
                about = path.lstat()
            except OSError:
                continue  # it is gone again
            if stat.S_ISREG(about.st_mode):  # a link could lead anywhere
                # When it came here: unlike the time of its content, a copy or a move does not keep this one.
                since = datetime.fromtimestamp(about.st_ctime, UTC)
                yield Listed(str(path), f"{about.st_size}/{about.st_mtime_ns}", since)


def _in_bucket(place: S3Location, environment: Mapping[str, str]) -> list[Listed]:
    # Imported here: it takes 16 MB of a process that may have no use for it.
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    access = S3Access.of(environment)
    config: S3Config = {
        "region": access.region,
        "access_key_id": environment[_KEYS[0]],
        "secret_access_key": environment[_KEYS[1]],
        "endpoint": access.endpoint or f"https://s3.{access.region}.amazonaws.com",
    }
    bucket = S3Store(
        place.bucket,
        config=config,
        client_options={"allow_http": access.allow_http, "connect_timeout": _PATIENCE, "timeout": _PATIENCE},
        retry_config={"max_retries": 2, "retry_timeout": _PATIENCE},
    )

    def entries() -> Iterator[Listed]:
        prefix = f"{place.key}/" if place.key else ""
        for page in obstore.list(bucket, prefix or None):
            for entry in page:
                path = str(entry["path"]).removeprefix(prefix)
                if any(part[:1] in ("", ".", "_") for part in path.split("/")):
                    continue
                # Stores tell whole seconds, so it may have come that much later.
                since = entry["last_modified"] + timedelta(seconds=1)
                stamp = str(entry["e_tag"] or entry["last_modified"])
                yield Listed(str(place.below(path)), f"{entry['size']}/{stamp}", since)

    try:
        return _bounded(entries(), place)
    except (BaseError, FileNotFoundError) as error:
        trouble, code = s3_trouble(str(error))
        if trouble is S3Trouble.denied:
            raise Forbidden(f"the store refuses to list {place} ({code or 'no reason given'})") from None
        if code == "NoSuchBucket":
            raise NotFound(f"there is no bucket {place.bucket}") from None
        # Not the client's own words: they are of an address that somebody chose.
        raise Unavailable(f"the store of {place} does not answer") from None


def _bounded(found: Iterator[Listed], where: object) -> list[Listed]:
    listed = []
    for one in found:
        listed.append(one)
        if len(listed) > MOST:
            raise InvalidInput(
                f"{where} holds more than {MOST:,} files", remedy="Watch a folder from which files are moved on."
            )
    return listed
