"""The artifact store, as the hub service reads it: where an MLflow artifact is, and the little that it reads of one."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from modelyard_api.errors import InvalidInput, StorageFull, Unavailable
from modelyard_api.locations import S3Access, S3Location, S3Trouble, parse_s3, s3_trouble
from modelyard_api.resources import MiB

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_MANIFEST_LIMIT = 64 * MiB
_PATIENCE = timedelta(seconds=5)


class Artifacts(Protocol):
    """One store of artifacts."""

    def locate(self, uri: str) -> str | None:
        """The location (see `Package`) that an artifact URI stands for; None where it is not below this store."""

    async def read(self, location: str, path: str) -> bytes | None:
        """A small file of a package; None when there is no such file. Unavailable when the store does not answer."""

    def place(self, path: str) -> str:
        """The location of `path`, relative to the store's root: for what lies beside MLflow's experiments."""

    async def write(self, location: str, path: str, data: bytes) -> None:
        """Put a small file there, whole, in place of one of that name. Unavailable, StorageFull."""


class FolderArtifacts:
    """Artifacts in a folder that this process can read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def locate(self, uri: str) -> str | None:
        """See `Artifacts.locate`."""
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            path = self._root / unquote(parts.path).lstrip("/")
        elif parts.scheme in ("", "file") and parts.path.startswith("/"):
            path = Path(unquote(parts.path))
        else:
            return None
        try:
            resolved = path.resolve()
        except (OSError, ValueError):
            return None
        return str(resolved) if resolved.is_relative_to(self._root.resolve()) else None

    async def read(self, location: str, path: str) -> bytes | None:
        """See `Artifacts.read`."""
        try:
            return await asyncio.to_thread((Path(location) / path).read_bytes)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{location} cannot be read: {error.strerror}") from error

    def place(self, path: str) -> str:
        """See `Artifacts.place`."""
        return str(self._root.absolute() / path)

    async def write(self, location: str, path: str, data: bytes) -> None:
        """See `Artifacts.write`."""
        await asyncio.to_thread(_write, Path(location) / path, data)


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


def _write(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, pending = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(pending, target)
        except OSError:
            Path(pending).unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"{target} cannot be written: the disk is full") from error
        raise Unavailable(f"{target} cannot be written: {error.strerror}") from error
