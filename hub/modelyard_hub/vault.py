"""Values of secrets, encrypted for the store (Fernet: AES-128-CBC, HMAC-SHA256) by keys that the store never has."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from modelyard_api.errors import ModelyardError, Unavailable
from modelyard_hub.store.secret_store import SecretStore

log = logging.getLogger(__name__)
NAME = "vault.keys"
"""The file of keys in the folder of secrets of the embedded default."""


class Vault:
    """Seals values with the first key, and opens them with each."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Keys as `Fernet.generate_key` makes them. ModelyardError for none, or what is no such key."""
        try:
            self._newest = Fernet(keys[0])
            self._all = MultiFernet([Fernet(key) for key in keys])
        except (IndexError, ValueError) as error:
            raise ModelyardError(
                f"the keys of secrets cannot be used: {error}",
                remedy="A key is 32 bytes as URL-safe base64, one in each line.",
            ) from error

    def seal(self, owner: str, name: str, value: str) -> str:
        """The value as the store keeps it. What is sealed for one name does not open as another."""
        return self._newest.encrypt(json.dumps([owner, name, value]).encode()).decode()

    def open(self, owner: str, name: str, sealed: str) -> str:
        """The opposite. Unavailable where no key of ours opens it."""
        try:
            found = json.loads(self._all.decrypt(sealed.encode()))
        except InvalidToken as error:
            raise _lost(owner, name) from error
        if found[:2] != [owner, name]:
            raise _lost(owner, name)
        value: str = found[2]
        return value

    def is_newest(self, sealed: str) -> bool:
        """Whether the first key sealed it."""
        try:
            self._newest.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True


def open_vault(given: Path | None, home: Path) -> Vault:
    """Of the file that the settings name, else of the one in the state folder, made (mode 0600) where there is none."""
    path = given or home / "secrets" / NAME
    try:
        return Vault(_keys(path))
    except FileNotFoundError:
        if given is not None:
            raise Unavailable(
                f"the file {given} with the keys of secrets is not there",
                remedy="An administrator must put it where MODELYARD_VAULT_KEYS says.",
            ) from None
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
    try:
        os.link(temporary, path)  # never over keys that somebody else just made
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return Vault(_keys(path))


async def reseal(secrets: SecretStore, given: Path | None, home: Path) -> None:
    """Seal with the first key what an older one sealed, so that the older one can go. What no key opens stays."""
    known = await secrets.all_sealed()
    if not known:
        return
    try:
        vault = open_vault(given, home)
    except ModelyardError as error:
        log.warning("secrets stay as they are: %s", error)
        return
    for owner, name, sealed in known:
        if vault.is_newest(sealed):
            continue
        try:
            again = vault.seal(owner, name, vault.open(owner, name, sealed))
        except ModelyardError as error:
            log.warning("%s", error)
            continue
        await secrets.reseal(owner, name, sealed, again)
        log.info("the secret %s/%s is sealed with the newest key", owner, name)


def _keys(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _lost(owner: str, name: str) -> Unavailable:
    return Unavailable(
        f"the secret {owner}/{name} cannot be opened: none of the keys that there are sealed it",
        remedy="Bring back the key that did, or set the secret anew.",
    )
