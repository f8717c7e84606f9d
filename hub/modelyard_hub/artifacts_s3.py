"""The artifact store in S3, such as a Ceph RGW, as the hub service reads it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from modelyard_api.errors import InvalidInput, NotFound, Unavailable
from modelyard_api.locations import S3Access, S3Location, S3Trouble, parse_s3, s3_trouble
from modelyard_api.resources import MiB
from modelyard_hub.artifacts import PIECE, Stat

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_MANIFEST_LIMIT = 64 * MiB
_PATIENCE = timedelta(seconds=5)


class S3Artifacts:
    """Artifacts below `s3://bucket/prefix`, such as in a Ceph RGW."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInput when `url` is no `s3://bucket/prefix`. Keys and endpoint: the AWS_* variables."""
        root = parse_s3(url)
        if root is None:
            raise InvalidInput(f"the artifact store is at {url!r}, which is no s3://bucket/prefix")
        self._root = root
        self._access = S3Access.of(os.environ)

    def locate(self, uri: str) -> str | None:
        """See `Artifacts.locate`."""
        try:
            if uri.startswith("mlflow-artifacts:"):
                path = unquote(urlsplit(uri).path).strip("/")
                found = parse_s3(str(self._root.below(path)))
            else:
                found = parse_s3(uri)
        except (InvalidInput, ValueError):
            return None
        return str(found) if found is not None and self._root.holds(found) else None

    async def read(self, location: str, path: str) -> bytes | None:
        """See `Artifacts.read`."""
        folder = parse_s3(location)
        assert folder is not None, "locate() made it"
        file = folder.below(path)
        # Imported here: it takes 16 MB of a process that may have no use for it.
        import obstore
        from obstore.exceptions import BaseError

        try:
            answer = await obstore.get_async(self._bucket(file), file.key)
            if answer.meta["size"] > _MANIFEST_LIMIT:
                raise InvalidInput(f"{file} has {answer.meta['size'] // MiB} MiB, which is no manifest")
            return bytes(await answer.bytes_async())
        except (BaseError, FileNotFoundError) as error:
            trouble, code = s3_trouble(str(error))
            if trouble is S3Trouble.denied or code == "NoSuchBucket":
                raise Unavailable(
                    f"the artifact store refuses the hub service {file} ({code or 'no reason given'})",
                    remedy="Check MODELYARD_ARTIFACTS_URL and the AWS_* variables of the hub service.",
                ) from error
            if isinstance(error, FileNotFoundError):
                return None
            raise Unavailable(f"the artifact store does not answer for {file}") from error

    def place(self, path: str) -> str:
        """See `Artifacts.place`."""
        return str(self._root.below(path))

    async def write(self, location: str, path: str, data: bytes) -> None:
        """See `Artifacts.write`."""
        folder = parse_s3(location)
        assert folder is not None, "place() made it"
        file = folder.below(path)
        import obstore
        from obstore.exceptions import BaseError

        try:
            await obstore.put_async(self._bucket(file), file.key, data)
        except (BaseError, FileNotFoundError) as error:
            trouble, code = s3_trouble(str(error))
            why = f"refuses it ({code})" if trouble is S3Trouble.denied else "does not answer"
            raise Unavailable(f"{file} cannot be written: the artifact store {why}") from error

    async def stat(self, location: str, path: str) -> Stat | None:
        """See `Artifacts.stat`."""
        import obstore

        file = _below(location, path)
        try:
            async with _in_our_words(file):
                about = await obstore.head_async(self._bucket(file), file.key)
        except NotFound:
            return None
        return Stat(int(about["size"]), about["last_modified"])

    async def send(self, location: str, path: str, file: Path) -> None:
        """See `Artifacts.send`."""
        import obstore

        target = _below(location, path)
        async with _in_our_words(target):
            await obstore.put_async(self._bucket(target), target.key, file, max_concurrency=2)

    async def stream(self, location: str, path: str) -> AsyncIterator[bytes]:
        """See `Artifacts.stream`."""
        import obstore

        file = _below(location, path)
        async with _in_our_words(file):
            answer = await obstore.get_async(self._bucket(file), file.key)
            async for piece in answer.stream(min_chunk_size=PIECE):
                yield bytes(piece)

    async def folders(self, location: str) -> list[str]:
        """See `Artifacts.folders`."""
        import obstore

        folder = _below(location, "")
        async with _in_our_words(folder):
            found = await obstore.list_with_delimiter_async(self._bucket(folder), f"{folder.key}/")
        return sorted(str(prefix).rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])

    async def remove(self, location: str) -> None:
        """See `Artifacts.remove`."""
        import obstore

        folder = _below(location, "")
        bucket = self._bucket(folder)
        async with _in_our_words(folder):
            async for page in obstore.list(bucket, f"{folder.key}/"):
                await _delete(bucket, [str(entry["path"]) for entry in page])

    def _bucket(self, file: S3Location) -> S3Store:
        from obstore.store import S3Store

        config: S3Config = {"region": self._access.region}
        if self._access.endpoint:
            config["endpoint"] = self._access.endpoint
        return S3Store(
            file.bucket,
            config=config,
            client_options={"allow_http": self._access.allow_http, "connect_timeout": _PATIENCE},
            retry_config={"max_retries": 3, "retry_timeout": _PATIENCE},
        )


def _below(location: str, path: str) -> S3Location:
    folder = parse_s3(location)
    assert folder is not None, "place() made it"
    return folder.below(path)


@asynccontextmanager
async def _in_our_words(file: S3Location) -> AsyncIterator[None]:
    """Raises NotFound or Unavailable for what the store's client raises."""
    # Imported here: it takes 16 MB of a process that may have no use for it.
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        trouble, code = s3_trouble(str(error))
        if trouble is S3Trouble.denied or code == "NoSuchBucket":
            raise Unavailable(
                f"the artifact store refuses the hub service {file} ({code or 'no reason given'})",
                remedy="Check MODELYARD_ARTIFACTS_URL and the AWS_* variables of the hub service.",
            ) from error
        if isinstance(error, FileNotFoundError):
            raise NotFound(f"there is no {file}") from error
        raise Unavailable(f"the artifact store does not answer for {file}") from error


async def _delete(bucket: S3Store, paths: list[str]) -> None:
    """Also where somebody was faster, which some stores answer as an error of the whole page: then one by one."""
    import obstore
    from obstore.exceptions import GenericError

    try:
        await obstore.delete_async(bucket, paths)
    except (FileNotFoundError, GenericError) as error:
        if len(paths) > 1:
            for path in paths:
                await _delete(bucket, [path])
        elif isinstance(error, GenericError) and "NoSuchKey" not in str(error):
            raise
