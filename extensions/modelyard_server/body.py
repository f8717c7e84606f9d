"""Bodies of requests and answers: decompressing within a limit, and compressing."""

from __future__ import annotations

import gzip
import zlib

from modelyard_api.errors import MalformedRequest, TooLarge

COMPRESS_FROM = 4096
THREAD_FROM = 256 * 1024
"""Bytes. What is larger is read, written, compressed and decompressed in a thread: it takes milliseconds."""
_NUMBERS_FROM = 2 * 1024 * 1024
_HEAD = 16 * 1024
"""Bytes of a body and of its JSON: numbers in memory up to there are looked at in less than a millisecond."""
UNZIP_FROM = 4096
"""Bytes of gzip, which may be a thousand times as many, from which on they are decompressed in a thread."""


def reads_quickly(length: bytes | None, body: bytes) -> bool:
    """Whether all but a little of a large body is numbers as they are in memory. `length`: of its JSON, as it says."""
    if length is None or len(body) > _NUMBERS_FROM or len(length) > 12 or not length.isdigit() or int(length) > _HEAD:
        return False
    head = body[: int(length)]
    return b"BYTES" not in head and b"\\" not in head  # texts take long; an escape may hide the word


def gunzip(body: bytes, limit: int) -> bytes:
    """The body, decompressed. Raises TooLarge before it is larger in memory, and MalformedRequest."""
    unzip = zlib.decompressobj(31)
    try:
        plain = unzip.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedRequest(f"the body is not gzip: {error}") from None
    if len(plain) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes", remedy="Send fewer rows at once.")
    if not unzip.eof:
        raise MalformedRequest("the body's gzip stream is cut off")
    if unzip.unused_data:
        raise MalformedRequest("bytes follow the body's gzip stream")
    return plain


def zip_small(body: bytes) -> bytes:
    """gzip, as fast as it goes."""
    return gzip.compress(body, 1)


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    for choice in accepted.lower().split(","):
        coding, _, quality = choice.partition(";")
        if coding.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
