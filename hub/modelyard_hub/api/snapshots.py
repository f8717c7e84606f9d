"""`/snapshots`: files for runs to come."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import IO, Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.requests import ClientDisconnect

from modelyard_api.errors import InvalidInput, MalformedRequest, StorageFull, Unavailable
from modelyard_api.names import Label
from modelyard_api.runs import SNAPSHOT, SnapshotLimits, snapshot_folder
from modelyard_hub.api.problems import responses
from modelyard_hub.api.runs import whose
from modelyard_hub.artifacts import PIECE, is_full_error
from modelyard_hub.parts import PartsDep, Reader, Writer

router = APIRouter(tags=["runs"], responses=responses(401, 403, 503))
DigestPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the body.")]


@router.get("/snapshots", summary="How large files for runs may be")
async def get_limits(parts: PartsDep, identity: Reader) -> SnapshotLimits:
    """Bytes of a whole snapshot, packed."""
    return SnapshotLimits(largest=parts.settings.run_snapshot_max)


@router.put(
    "/snapshots/{digest}", status_code=204, responses=responses(400, 413, 422, 507), summary="Files for runs to come"
)
async def put_snapshot(
    digest: DigestPath,
    request: Request,
    parts: PartsDep,
    identity: Writer,
    owner: Annotated[Label | None, Query(description="A group of yours; left out: you.")] = None,
) -> None:
    """The body is a zip archive; once more is fine. Runs name it by its digest. Who may not send it, or sends too much,
    is told before the body is read."""
    place = parts.artifacts.place(snapshot_folder(whose(identity, owner, "a snapshot"), digest))
    async with _kept(request) as (file, found):
        if found != digest:
            raise InvalidInput("the body is not what the digest says", remedy="Send it again, with its SHA-256.")
        await parts.artifacts.send(place, SNAPSHOT, file)


@asynccontextmanager
async def _kept(request: Request) -> AsyncIterator[tuple[FilePath, str]]:
    """The body in a file, and its digest: what is in memory is a piece of it."""
    digest = hashlib.sha256()
    try:
        with tempfile.NamedTemporaryFile(prefix="snapshot-") as file:
            waiting = bytearray()
            try:
                async for piece in request.stream():
                    waiting += piece
                    if len(waiting) >= PIECE:
                        await asyncio.to_thread(_take, file, digest, bytes(waiting))
                        waiting.clear()
            except ClientDisconnect as error:
                raise MalformedRequest("the body ended too early") from error
            await asyncio.to_thread(_take, file, digest, bytes(waiting))
            await asyncio.to_thread(file.flush)
            yield FilePath(file.name), digest.hexdigest()
    except OSError as error:
        if is_full_error(error):
            raise StorageFull("the snapshot cannot be taken: the hub service's disk is full") from error
        raise Unavailable(f"the snapshot cannot be taken: {error.strerror}") from error


def _take(file: IO[bytes], digest: hashlib._Hash, data: bytes) -> None:
    digest.update(data)
    file.write(data)
