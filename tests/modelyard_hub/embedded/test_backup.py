"""A backup brings back what was there, also to another folder, while the database is written to."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from modelyard_api.errors import Conflict, InvalidInput, NotFound
from modelyard_hub.embedded.backup import backup, restore
from modelyard_hub.embedded.home import prepare
from modelyard_hub.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    prepare(home)
    with closing(sqlite3.connect(home / "store.sqlite")) as store, store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("CREATE TABLE endpoints (packages TEXT)")
        store.execute("INSERT INTO endpoints VALUES (?)", (f'{{"1": "{home}/mlflow/artifacts/m"}}',))
    (home / "mlflow" / "artifacts" / "m").write_text("model")
    (home / "users" / "ada").mkdir()
    (home / "users" / "ada" / "work.ipynb").write_text("{}")
    (home / "users" / "ada" / ".cache").mkdir()
    (home / "users" / "ada" / ".cache" / "big").write_text("")
    (home / "secrets" / "secrets.json").write_text("secret")
    return Settings(home=home)


def test_it_comes_back_elsewhere(settings: Settings, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "b.tar.gz", tmp_path / "new"
    with closing(sqlite3.connect(settings.home / "store.sqlite")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO endpoints VALUES ('unfinished')")
        backup(settings, file)
        writer.rollback()
    restore(Settings(home=elsewhere), file)
    with closing(sqlite3.connect(elsewhere / "store.sqlite")) as store:
        rows = store.execute("SELECT packages FROM endpoints").fetchall()
    assert rows == [(f'{{"1": "{elsewhere}/mlflow/artifacts/m"}}',)]
    assert (elsewhere / "mlflow" / "artifacts" / "m").read_text() == "model"
    assert (elsewhere / "users" / "ada" / "work.ipynb").exists()
    assert not (elsewhere / "users" / "ada" / ".cache").exists()
    assert (elsewhere / "secrets" / "secrets.json").read_text() == "secret"


def test_it_is_private_and_replaces_nothing(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    backup(settings, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(Conflict, match="exists"):
        backup(settings, file)
    with pytest.raises(Conflict, match="not empty"):
        restore(settings, file)


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    with pytest.raises(NotFound):
        restore(Settings(home=tmp_path / "new"), file)
    file.write_text("something else")
    with pytest.raises(InvalidInput):
        restore(Settings(home=tmp_path / "new"), file)
    with pytest.raises(NotFound, match="no store"):
        backup(Settings(home=tmp_path / "none"), tmp_path / "y")
