"""Where a package lies: an absolute path, or `s3://bucket/key` in the S3 store that the usual AWS_* variables name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from modelyard_api.errors import InvalidInput

_DENIED = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AccountProblem"}
)
_MISSING = frozenset({"NoSuchBucket", "NoSuchKey"})
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first one that is set counts, as in Amazon's own tools


@dataclass(frozen=True)
class S3Location:
    """A folder in a bucket; `key` without slashes around it, empty for the whole bucket."""

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    def below(self, path: str) -> S3Location:
        """The folder or file `path`, relative to this folder."""
        return S3Location(self.bucket, f"{self.key}/{path}".strip("/"))

    def holds(self, other: S3Location) -> bool:
        """Whether `other` is this folder or something in it."""
        return other.bucket == self.bucket and (not self.key or f"{other.key}/".startswith(f"{self.key}/"))


def parse_s3(location: str) -> S3Location | None:
    """The place that an `s3://` URL names; None for any other location. InvalidInput for one that names none."""
    # Not quoted: a key may hold any character, so neither ? nor # starts something else.
    if not location.startswith("s3://"):
        return None
    bucket, _, key = location.removeprefix("s3://").partition("/")
    parts = [part for part in key.split("/") if part]
    if not bucket or "@" in bucket or any(part in (".", "..") for part in parts):
        raise InvalidInput(f"{location!r} is no s3://bucket/key")
    return S3Location(bucket, "/".join(parts))


@dataclass(frozen=True)
class S3Access:
    """How an S3 store is reached. `endpoint` is empty for Amazon's own; keys are read by the client that uses this."""

    endpoint: str = ""
    region: str = "us-east-1"

    @property
    def allow_http(self) -> bool:
        """Whether the endpoint is one without TLS."""
        return urlsplit(self.endpoint).scheme == "http"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> S3Access:
        """What the AWS_* variables say."""
        endpoint = next((environment[name] for name in _ENDPOINTS if environment.get(name)), "")
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        return cls(endpoint.rstrip("/"), region or cls.region)


class S3Trouble(StrEnum):
    """What an S3 store's refusal comes down to."""

    denied = "denied"
    missing = "missing"
    other = "other"


def s3_trouble(error: str) -> tuple[S3Trouble, str]:
    """The kind of an S3 client's error, and its code where the store sent one.

    Read from the store's own document, not from the HTTP status: stores differ in which status they give a wrong key.
    """
    found = re.search(r"<Code>(\w+)</Code>", error)
    code = found[1] if found else ""
    if code in _DENIED or (not code and re.search(r"status code: 40[13]\b", error)):
        return S3Trouble.denied, code
    return (S3Trouble.missing if code in _MISSING else S3Trouble.other), code
