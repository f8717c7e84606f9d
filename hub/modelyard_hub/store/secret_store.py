"""The store's face for secrets."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import Connection

from modelyard_api.secrets import Secret
from modelyard_hub.store import history_rows, secret_rows
from modelyard_hub.store.database import Database
from modelyard_hub.store.records import Actor


class SecretStore:
    """Names and sealed values, each change one transaction with its row in the audit."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def put(self, owner: str, name: str, sealed: str, description: str, actor: Actor) -> Secret:
        """A new secret, or a new value of one."""

        def change(connection: Connection) -> Secret:
            found = secret_rows.put(connection, (owner, name), sealed, description, actor, self._now())
            self._audit(connection, actor, "secret.set", owner, name)
            return found

        return await self._database.write(change)

    async def get(self, owner: str, name: str) -> Secret:
        """Without the value; NotFound."""
        return await self._database.read(lambda c: secret_rows.get(c, owner, name))

    async def sealed(self, owner: str, name: str) -> str:
        """The value as it was sealed; NotFound."""
        return await self._database.read(lambda c: secret_rows.sealed(c, owner, name))

    async def list(self, owners: Collection[str] | None = None) -> tuple[Secret, ...]:
        """By owner and name; `owners` None: of all."""
        return await self._database.read(lambda c: secret_rows.list_(c, owners))

    async def remove(self, owner: str, name: str, actor: Actor) -> None:
        """NotFound."""

        def change(connection: Connection) -> None:
            secret_rows.remove(connection, owner, name)
            self._audit(connection, actor, "secret.delete", owner, name)

        await self._database.write(change)

    async def all_sealed(self) -> builtins.list[tuple[str, str, str]]:
        """(owner, name, sealed) of all."""
        return builtins.list(await self._database.read(secret_rows.all_sealed))

    async def reseal(self, owner: str, name: str, before: str, after: str) -> bool:
        """The same value, sealed anew; False where it has another one by now."""
        return await self._database.write(lambda c: secret_rows.reseal(c, (owner, name), before, after))

    def _audit(self, connection: Connection, actor: Actor, action: str, owner: str, name: str) -> None:
        history_rows.write_audit(connection, actor, action, secret_rows.subject(owner, name), {}, self._now())
