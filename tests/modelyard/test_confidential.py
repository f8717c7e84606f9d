"""Secrets from a notebook, over the whole API."""

from __future__ import annotations

import getpass
import io
import sys
from pathlib import Path

import pytest

from harness import api
from modelyard import confidential, sync_batch
from modelyard.client import AsyncClient
from modelyard.errors import Forbidden, InvalidInput, NotFound
from modelyard_api.redact import FILES, GIVEN, Given, told


async def test_a_secret_through_its_life(tmp_path: Path) -> None:
    async with api.yard(tmp_path) as yard, AsyncClient("http://yard.test", "ada", patience=0) as client:
        client._http = yard.client("ada")
        made = await client.set_secret("db", "hunter22", description="the warehouse")
        assert (made.owner, made.name, made.description) == ("ada", "db", "the warehouse")
        assert (await client.set_secret("team/s3", "hunter23")).owner == "team"
        assert [(s.owner, s.name) for s in await client.secrets()] == [("ada", "db"), ("team", "s3")]
        sealed = await yard.parts.store.secrets.sealed("ada", "db")
        assert yard.parts.vault().open("ada", "db", sealed) == "hunter22"
        with pytest.raises(Forbidden):
            await client.set_secret("db", "hunter22", owner="eve")
        await client.delete_secret("team/s3")
        with pytest.raises(NotFound):
            await client.delete_secret("s3")


def test_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.pem").write_text("from-file")
    with pytest.raises(NotFound, match="it has: none"):
        sync_batch.secret("db")
    monkeypatch.setenv(FILES, str(tmp_path))
    monkeypatch.setenv("DB", "from-env")
    monkeypatch.setenv(GIVEN, told((Given("ada/db", env="DB"), Given("team/key", env="KEY", file="key.pem"))))
    assert (sync_batch.secret("db"), sync_batch.secret("key")) == ("from-env", "from-file")
    assert (sync_batch.secret("ada/db"), sync_batch.secret("team/key")) == ("from-env", "from-file")
    with pytest.raises(NotFound, match="it has: ada/db, team/key"):
        sync_batch.secret("other")
    with pytest.raises(NotFound):
        sync_batch.secret("eve/db")
    monkeypatch.setenv("TEAMS", "of-the-team")
    monkeypatch.setenv(GIVEN, told((Given("ada/db", env="DB"), Given("team/db", env="TEAMS"))))
    with pytest.raises(InvalidInput, match="ada/db or team/db"):
        sync_batch.secret("db")
    assert (sync_batch.secret("ada/db"), sync_batch.secret("team/db")) == ("from-env", "of-the-team")


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.setattr(getpass, "getpass", getpass.fallback_getpass)
    with pytest.warns(getpass.GetPassWarning), pytest.raises(InvalidInput, match="nobody can be asked"):
        confidential.asked("db")
