"""What a task left at its output, read back: for whoever asks after its runtime has forgotten it."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_api.locations import S3Access, S3Location, S3Trouble, parse_s3, s3_trouble
from modelyard_api.tasks import LOG, OLDER_LOG, STATUS, TaskStatus, shard_output
from modelyard_hub.runtimes.task import joined

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Config, S3Store

_PATIENCE = timedelta(seconds=5)
_LONGEST = 4000
_BYTES = 4 * 1024 * 1024
"""Of the end of a log are read, however many lines are asked for."""


class TaskOutput(Protocol):
    """One task's output."""

    async def read(self, path: str, last: int | None = None) -> bytes | None:
        """A file below it, or its `last` bytes; None where it is not there. Unavailable where nobody answers."""


def open_output(location: str) -> TaskOutput:
    """The output at an absolute path or `s3://bucket/key`. InvalidInput for anything else."""
    place = parse_s3(location)
    if place is not None:
        return _S3Output(place)
    if not location.startswith("/"):
        raise InvalidInput(f"{location!r} is neither an absolute path nor s3://bucket/key")
    return _FolderOutput(Path(location))


async def read_status(output: TaskOutput) -> TaskStatus | None:
    """How the task ended, or how far it was; None where it never began, or left nothing that can be read."""
    found = await output.read(STATUS)
    try:
        return None if found is None else TaskStatus.from_json(found)
    except ValueError:
        return None


async def read_end(location: str, shards: int = 0) -> TaskStatus | None:
    """How the task with that output ended, as it says itself; None where it, or a shard of it, does not."""
    if not shards:
        said = await read_status(open_output(location))
        return said if said is not None and said.state.ended else None
    found = await asyncio.gather(*(read_status(open_output(shard_output(location, i))) for i in range(shards)))
    return joined([said if said is not None and said.state.ended else None for said in found])


async def read_log(output: TaskOutput, lines: int) -> tuple[str, ...]:
    """The last `lines` lines of its log; very long ones are cut."""
    found: list[str] = []
    for name in (LOG, OLDER_LOG):
        if len(found) < lines:
            data = await output.read(name, _BYTES)
            found = (data or b"").decode(errors="replace").splitlines() + found
    return tuple(line[:_LONGEST] for line in found[-lines:])


class _FolderOutput:
    def __init__(self, root: Path) -> None:
        self._root = root

    async def read(self, path: str, last: int | None = None) -> bytes | None:
        try:
            return await asyncio.to_thread(_end_of, self._root / path, last)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{self._root / path} cannot be read: {error.strerror}") from error


class _S3Output:
    def __init__(self, place: S3Location) -> None:
        self._place, self._access = place, S3Access.of(os.environ)

    async def read(self, path: str, last: int | None = None) -> bytes | None:
        # Imported here: it takes 16 MB of a process that may have no use for it.
        import obstore
        from obstore.exceptions import BaseError

        file = self._place.below(path)
        try:
            options: GetOptions = {} if last is None else {"range": {"suffix": last}}
            answer = await obstore.get_async(self._bucket(), file.key, options=options)
            return bytes(await answer.bytes_async())
        except (BaseError, FileNotFoundError) as error:
            trouble, code = s3_trouble(str(error))
            if last is not None and trouble is S3Trouble.other:
                return await self.read(path)  # an empty file has no last bytes; stores differ in how they say so
            if trouble is not S3Trouble.denied and code != "NoSuchBucket" and isinstance(error, FileNotFoundError):
                return None
            why = f"refuses it ({code})" if trouble is S3Trouble.denied else "does not answer"
            raise Unavailable(f"the store of {file} {why}") from error

    def _bucket(self) -> S3Store:
        from obstore.store import S3Store

        config: S3Config = {"region": self._access.region}
        if self._access.endpoint:
            config["endpoint"] = self._access.endpoint
        return S3Store(
            self._place.bucket,
            config=config,
            client_options={"allow_http": self._access.allow_http, "connect_timeout": _PATIENCE},
            retry_config={"max_retries": 3, "retry_timeout": _PATIENCE},
        )


def _end_of(path: Path, last: int | None) -> bytes:
    with path.open("rb") as file:
        if last is not None:
            file.seek(max(0, file.seek(0, os.SEEK_END) - last))
        return file.read()
