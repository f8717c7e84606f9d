"""What is in a folder or a bucket: listed within a time, however slow or endless the place is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard_api.errors import Forbidden, InvalidInput, NotFound, Unavailable
from modelyard_api.locations import S3Access, S3Location, S3Trouble, s3_trouble

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

MOST = 50_000
"""Files that a watched place may hold; a listing of more takes longer than the time between two looks."""
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_PATIENCE = timedelta(seconds=10)
_PAGE = 1000


@dataclass(frozen=True)
class Listed:
    """A file: where it is, what changes when it changes, and since when it has been there, as far as the place says."""

    location: str
    stamp: str
    since: datetime


def in_folder(root: Path, resolved: Path, until: float) -> list[Listed]:
    """Files below `resolved`, told as below `root`; `until`: on the monotonic clock. Raises as `Places.look` does."""
    if not resolved.is_dir():
        raise NotFound(f"there is no folder {root}")
    found: list[Listed] = []
    for path, about in _walk(root, resolved, until):
        # When it came here: unlike the time of its content, a copy or a move does not keep this one.
        since = datetime.fromtimestamp(about.st_ctime, UTC)
        location = str(root / path.relative_to(resolved))
        found.append(Listed(location, f"{about.st_size}/{about.st_mtime_ns}", since))
        _check_number(found, root)
    return found


def _walk(root: Path, resolved: Path, until: float) -> Iterator[tuple[Path, os.stat_result]]:
    folders = [resolved]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if time.monotonic() > until:
                        raise too_slow(root)
                    if entry.name[0] in "._":
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):  # a link could lead anywhere
                        try:
                            yield Path(entry.path), entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue  # it is gone again
        except OSError:
            if folder == resolved:
                raise


async def in_bucket(place: S3Location, environment: Mapping[str, str]) -> list[Listed]:
    """Objects below a key. It ends when it is cancelled, also with a server that always has another, empty page: that
    is why it is not done in a thread."""
    # Imported here: it takes 16 MB of a process that may have no use for it.
    import obstore
    from obstore.exceptions import BaseError

    found: list[Listed] = []
    prefix = f"{place.key}/" if place.key else ""
    try:
        async for page in obstore.list(_store(place, environment), prefix or None, chunk_size=_PAGE):
            for entry in page:
                path = str(entry["path"]).removeprefix(prefix)
                if any(part[:1] in ("", ".", "_") for part in path.split("/")):
                    continue
                # Stores tell whole seconds, so it may have come that much later.
                since = entry["last_modified"] + timedelta(seconds=1)
                stamp = str(entry["e_tag"] or entry["last_modified"])
                found.append(Listed(str(place.below(path)), f"{entry['size']}/{stamp}", since))
            _check_number(found, place)
    except (BaseError, FileNotFoundError) as error:
        trouble, code = s3_trouble(str(error))
        if trouble is S3Trouble.denied:
            raise Forbidden(f"the store refuses to list {place} ({code or 'no reason given'})") from None
        if code == "NoSuchBucket":
            raise NotFound(f"there is no bucket {place.bucket}") from None
        # Not the client's own words: they are of an address that somebody chose.
        raise Unavailable(f"the store of {place} does not answer") from None
    return found


def _store(place: S3Location, environment: Mapping[str, str]) -> S3Store:
    from obstore.store import S3Store

    access = S3Access.of(environment)
    config: S3Config = {
        "region": access.region,
        "access_key_id": environment[KEYS[0]],
        "secret_access_key": environment[KEYS[1]],
        "endpoint": access.endpoint or f"https://s3.{access.region}.amazonaws.com",
    }
    return S3Store(
        place.bucket,
        config=config,
        client_options={"allow_http": access.allow_http, "connect_timeout": _PATIENCE, "timeout": _PATIENCE},
        retry_config={"max_retries": 2, "retry_timeout": _PATIENCE},
    )


def too_slow(where: object) -> Unavailable:
    """What is said of a place that takes too long."""
    return Unavailable(
        f"{where} was not listed in time",
        remedy="Watch a folder from which files are moved on, on a store that answers.",
    )


def _check_number(found: list[Listed], where: object) -> None:
    if len(found) > MOST:
        raise InvalidInput(
            f"{where} holds more than {MOST:,} files", remedy="Watch a folder from which files are moved on."
        )
