"""Values are sealed by keys in a file of the service's own, which change without loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from modelyard_api.errors import ModelyardError, Unavailable
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store
from modelyard_hub.vault import Vault, open_vault, reseal

ADA = Actor("ada")


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    sealed = open_vault(None, tmp_path).seal("ada", "db", "hunter22")
    path = tmp_path / "secrets" / "vault.keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["vault.keys"]
    assert "hunter22" not in sealed
    assert open_vault(None, tmp_path).open("ada", "db", sealed) == "hunter22"


def test_a_value_opens_under_its_own_name_only(tmp_path: Path) -> None:
    vault = open_vault(None, tmp_path)
    sealed = vault.seal("ada", "db", "hunter22")
    with pytest.raises(Unavailable, match="eve/db cannot be opened"):
        vault.open("eve", "db", sealed)
    with pytest.raises(Unavailable, match="none of the keys"):
        Vault([Fernet.generate_key().decode()]).open("ada", "db", sealed)


@pytest.mark.parametrize("keys", [[], ["no key"], [""]])
def test_no_keys(keys: list[str]) -> None:
    with pytest.raises(ModelyardError, match="cannot be used"):
        Vault(keys)


def test_a_file_that_the_settings_name_is_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is not there"):
        open_vault(tmp_path / "keys", tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_new_key_takes_over_and_the_old_one_may_go(tmp_path: Path) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    keys = tmp_path / "keys"
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    await store.secrets.put("ada", "db", Vault([old]).seal("ada", "db", "hunter22"), "", ADA)
    await store.secrets.put("ada", "lost", Vault([Fernet.generate_key().decode()]).seal("ada", "lost", "x"), "", ADA)
    keys.write_text(f"{new}\n{old}\n\n")
    await reseal(store.secrets, keys, tmp_path)
    sealed = await store.secrets.sealed("ada", "db")
    assert Vault([new]).open("ada", "db", sealed) == "hunter22"
    await reseal(store.secrets, keys, tmp_path)
    assert await store.secrets.sealed("ada", "db") == sealed, "it is done once"
    assert (await store.secrets.get("ada", "db")).version == 1
    await reseal(store.secrets, tmp_path / "gone", tmp_path)
    await store.close()
    assert "hunter22" not in json.dumps((tmp_path / "store.sqlite").read_bytes().decode("latin-1"))
