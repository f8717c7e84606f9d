"""Engine, migrations and transactions: one writer thread, a few reader threads, database errors in our words."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from modelyard_api.errors import ModelyardError, StorageFull, Unavailable

T = TypeVar("T")
MIGRATIONS = Path(__file__).parent / "migrations"
_READERS = 3
_BUSY_MS = 10_000
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""libpq's: a server whose machine is gone says nothing; the one writer would wait for it for a quarter of an hour."""
_MIGRATION_LOCK = 0x6D796172  # 'myar': any number that nothing else on this database uses


class Database:
    """Runs functions of a connection in threads. Writes go one after another through one thread, so that events leave
    in the order of their ids; cancelling the caller never cuts a transaction in two."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._engine: Engine | None = None
        self._writer = ThreadPoolExecutor(1, "store-write")
        self._readers = ThreadPoolExecutor(_READERS, "store-read")

    @property
    def sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self._url.get_backend_name() == "sqlite"

    async def open(self) -> None:
        """Connect and migrate to the newest schema."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._open)

    async def close(self) -> None:
        """Finish what is queued and let go."""
        await asyncio.to_thread(self._close)

    async def write(self, change: Callable[[Connection], T], done: Callable[[T], None] | None = None) -> T:
        """Run `change` in a transaction; `done` is called in the writer thread right after the commit."""

        def work() -> T:
            with self._transaction(write=True) as connection:
                result = change(connection)
            if done is not None:
                done(result)
            return result

        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query` in a read transaction."""

        def work() -> T:
            with self._transaction(write=False) as connection:
                return query(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        if self._engine is None:
            raise Unavailable("the store is not open")
        with _in_our_words(), self._engine.connect().execution_options(modelyard_write=write) as connection:  # noqa: SIM117
            with connection.begin():
                yield connection

    def _open(self) -> None:
        with _in_our_words():
            if self.sqlite:
                _prepare_file(self._url.database)
            self._engine = _engine(self._url.render_as_string(hide_password=False), sqlite=self.sqlite)
            with self._transaction(write=True) as connection:
                if not self.sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                migrate(connection)

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to `revision`, within the connection's transaction."""
    # Imported here: only a process that opens a store needs it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise ModelyardError(
            f"the store's schema is not one that this version knows: {error}",
            remedy="Start the Modelyard version that wrote it, or a newer one.",
        ) from error


def _engine(url: str, *, sqlite: bool) -> Engine:
    if not sqlite:
        postgresql = make_url(url).get_backend_name() == "postgresql"
        found = _PATIENCE if postgresql else {}
        return create_engine(url, pool_size=_READERS + 1, pool_pre_ping=True, connect_args=found)
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in ("synchronous=NORMAL", f"busy_timeout={_BUSY_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("modelyard_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _prepare_file(path: str | None) -> None:
    """Make the database's file readable by its owner alone, and switch it to WAL for good.

    Two processes that switch at once get 'database is locked' at once, busy_timeout or not; so this tries again.
    """
    assert path, "SQLite in memory is no store: each connection would have a database of its own"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    deadline = time.monotonic() + _BUSY_MS / 1000
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL").close()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise _translated_sqlite(error) from error
                time.sleep(0.02)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk of the store is full") from error
        raise Unavailable(f"the store cannot be reached: {error}") from error
    except DBAPIError as error:
        raise _translated(error) from error


def _translated(error: DBAPIError) -> Exception:
    if isinstance(error.orig, sqlite3.OperationalError):
        return _translated_sqlite(error.orig)
    if getattr(error.orig, "sqlstate", None) == "53100":
        return StorageFull("the disk of the store is full")
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return Unavailable(f"the store cannot be reached: {' '.join(str(error.orig).split())}")
    return error


def _translated_sqlite(error: sqlite3.OperationalError) -> ModelyardError:
    if "disk is full" in str(error):
        return StorageFull("the disk of the store is full")
    return Unavailable(f"the store cannot be reached: {error}")
