"""The database itself: migrations, private files, a full disk, a newer schema."""

import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from harness.specs import packages, spec
from modelyard_api.errors import ModelyardError, StorageFull, Unavailable
from modelyard_hub.store.database import Database, migrate
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store
from modelyard_hub.store.tables import metadata

ADA = Actor("ada")


def test_the_migrations_make_the_tables(store_url: str) -> None:
    engine = create_engine(store_url)
    with engine.begin() as connection:
        migrate(connection)
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


async def test_a_newer_schema_is_refused(store_url: str) -> None:
    store = Store(store_url)
    await store.open()
    await store.close()
    engine = create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    again = Store(store_url)
    with pytest.raises(ModelyardError, match="schema is not one that this version knows"):
        await again.open()
    await again.close()


async def test_sqlite_files_are_private_and_in_wal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.sqlite"
    database = Database(f"sqlite:///{path}")
    await database.open()
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        pragmas = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 10000}
        for pragma, value in pragmas.items():
            assert await database.read(lambda c, p=pragma: c.exec_driver_sql(f"PRAGMA {p}").scalar()) == value
    finally:
        await database.close()


async def test_a_full_disk_says_so_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    created = await store.create("ada", "churn", spec(), packages(1), ADA)

    pages = await store._database.write(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
    await store._database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar())
    large = spec(description="x" * 2000, revisions=[
        {"number": 1, "model": "ada.churn", "version": "1"},
        *({"number": n, "model": "ada.churn" + "y" * 200, "version": "1"} for n in range(2, 150)),
    ])  # fmt: skip
    with pytest.raises(StorageFull):
        await store.write_spec("ada", "churn", large, 1, ADA)
    assert await store.get("ada", "churn") == created
    await store.close()


async def test_a_database_that_is_away() -> None:
    store = Store("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable):
        await store.open()
    await store.close()
