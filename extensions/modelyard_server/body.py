"""Bodies of requests and answers: limits and compression."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from modelyard_api.errors import MalformedRequest, TooLarge, Unsupported

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_COMPRESS_FROM = 4096
_THREAD_FROM = 256 * 1024


async def read(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The body, decompressed. Raises TooLarge (as soon as it is), Unsupported, MalformedRequest."""
    too_large = TooLarge(f"the body is larger than {limit} bytes", remedy="Send fewer rows at once.")
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise too_large
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise Unsupported(f"content encoding {encoding!r}", remedy="Send gzip or none.")
    unzip = zlib.decompressobj(31) if encoding == "gzip" else None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedRequest("the caller went away")
        part = message.get("body", b"")
        try:
            part = unzip.decompress(part, limit + 1 - size) if unzip else part
        except zlib.error as error:
            raise MalformedRequest(f"the body is not gzip: {error}") from None
        parts.append(part)
        size += len(part)
        if size > limit:
            raise too_large
        if not message.get("more_body", False):
            break
    if unzip and not unzip.eof:
        raise MalformedRequest("the body's gzip stream is cut off")
    return b"".join(parts)


async def compress(body: bytes, headers: Mapping[str, str]) -> bytes | None:
    """The body as gzip where the caller takes that and it is worth it; else None."""
    if len(body) < _COMPRESS_FROM or not _takes_gzip(headers.get("accept-encoding", "")):
        return None
    if len(body) < _THREAD_FROM:
        return gzip.compress(body, 1)
    return await asyncio.to_thread(gzip.compress, body, 1)


def _takes_gzip(accepted: str) -> bool:
    for choice in accepted.lower().split(","):
        coding, _, quality = choice.partition(";")
        if coding.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
