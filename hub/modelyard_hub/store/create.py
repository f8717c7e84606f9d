"""Wait for a database, and make it where it is missing: before any program opens it."""

from __future__ import annotations

import logging
import time

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from modelyard_api.errors import Unavailable

log = logging.getLogger(__name__)
PATIENCE = 300.0
_MAINTENANCE = "postgres"
"""The database that every PostgreSQL has, to ask for others in."""


def create(target: str, patience: float = PATIENCE) -> None:
    """Wait for a database, `patience` seconds at most, and make it where it is missing. Unavailable says why not."""
    url = make_url(target)
    deadline = time.monotonic() + patience
    while True:
        try:
            _connect(url)
            return
        except OperationalError as error:
            if "does not exist" in str(error) and "database" in str(error):
                _make(url)
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"the database {url!r} does not answer: {error.orig}") from error
            log.info("waiting for %r: %s", url, str(error.orig).strip().splitlines()[-1])
            time.sleep(1)


def _connect(url: URL) -> None:
    engine = create_engine(url)
    with engine.connect():
        pass
    engine.dispose()


def _make(url: URL) -> None:
    engine = create_engine(url.set(database=_MAINTENANCE), isolation_level="AUTOCOMMIT")
    quoted = engine.dialect.identifier_preparer.quote(url.database or "")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {quoted} ENCODING 'UTF8' TEMPLATE template0"))
        log.info("made the database %s", url.database)
    except DBAPIError as error:
        if "already exists" not in str(error):  # somebody else made it just now
            raise Unavailable(
                f"the database {url.database} does not exist and cannot be made: {error.orig}",
                remedy=f"Make it, owned by {url.username}.",
            ) from error
    finally:
        engine.dispose()
