"""An S3 store as the packages' readers and the tasks' writers reach it, and its refusals in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import S3Store

from modelyard_api.errors import Forbidden, NotFound, Unavailable
from modelyard_api.locations import S3Access, S3Location, S3Trouble, s3_trouble

if TYPE_CHECKING:
    from obstore.store import BackoffConfig, S3Config

_ASK_AGAIN: BackoffConfig = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5)}


def open_bucket(place: S3Location, access: S3Access, patience: float) -> S3Store:
    """The bucket of a place. A store that does not answer is asked again for `patience` seconds."""
    config: S3Config = {"region": access.region}
    if access.endpoint:
        config["endpoint"] = access.endpoint
    return S3Store(
        place.bucket,
        config=config,
        client_options={"allow_http": access.allow_http, "connect_timeout": timedelta(seconds=5)},
        retry_config={"max_retries": 1000, "retry_timeout": timedelta(seconds=patience), "backoff": _ASK_AGAIN},
    )


@contextmanager
def in_our_words(place: S3Location, access: S3Access) -> Iterator[None]:
    """Raises Forbidden, NotFound or Unavailable for what the store's client raises."""
    where = access.endpoint or "Amazon S3"
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        trouble, code = s3_trouble(str(error))
        if trouble is S3Trouble.denied:
            raise Forbidden(
                f"{where} refuses access to {place} ({code or 'no reason given'})",
                remedy="Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            ) from error
        if trouble is S3Trouble.missing or isinstance(error, FileNotFoundError):
            raise NotFound(f"there is no {place} in {where} ({code or 'not found'})") from error
        cause = f"answers {code}" if code else f"does not answer: {_cause(error)}"
        raise Unavailable(f"{where} {cause}") from error


def _cause(error: Exception) -> str:
    """The innermost sentence of a client's error, which says what happened on the wire."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first.rsplit(" - ", 1)[-1].removesuffix(":").strip()
