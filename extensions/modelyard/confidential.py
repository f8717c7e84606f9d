"""Secrets from a notebook: set, list, forget; and, in a run, the value."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from modelyard.client import split_name
from modelyard.errors import InvalidInput, NotFound
from modelyard.transport import Request
from modelyard_api.redact import FILES, given_in
from modelyard_api.secrets import Secret, SecretList

if TYPE_CHECKING:
    from modelyard.client import AsyncClient


async def listed(client: AsyncClient) -> list[Secret]:
    """Those of the user and of their groups, without values."""
    return list((await client.get("/secrets", SecretList)).items)


async def put(client: AsyncClient, name: str, value: str, owner: str | None, description: str) -> Secret:
    """Set a secret, or give it a new value."""
    body = {"value": value, "description": description}
    return await client.fetch(Request("PUT", await _path(client, name, owner), body=body), Secret)


async def delete(client: AsyncClient, name: str, owner: str | None) -> None:
    """Forget a secret."""
    await client.send(Request("DELETE", await _path(client, name, owner)))


def asked(name: str) -> str:
    """The value, typed where nobody sees it; so it is in no notebook."""
    try:
        return getpass.getpass(f"Value of the secret {name}: ")
    except (EOFError, NotImplementedError) as error:
        raise InvalidInput(
            f"the secret {name} has no value, and nobody can be asked for it", remedy='Give one: value="…".'
        ) from error


def given(name: str) -> str:
    """The value of a secret that this run was given, by its name, or its owner and name (`team/warehouse`)."""
    files = os.environ.get(FILES)
    known = given_in(os.environ)
    fits = [one for one in known if name in (one.secret, one.secret.rpartition("/")[2])]
    if len(meant := sorted({one.secret for one in fits})) > 1:
        raise InvalidInput(
            f"the secret {name!r} may be {' or '.join(meant)}", remedy=f'Name its owner too: yard.secret("{meant[0]}").'
        )
    values = (one.value(os.environ, files) for one in fits)
    value = next((value for value in values if value is not None), None)
    if value is None:
        names = ", ".join(sorted(one.secret for one in known)) or "none"
        raise NotFound(
            f"the secret {name!r} was not given to this process; it has: {names}",
            remedy=f'Only runs get values: yard.submit(…, secrets=["{name}"]).',
        )
    return value


async def _path(client: AsyncClient, name: str, owner: str | None) -> str:
    owner, name = split_name(name, owner)
    return f"/secrets/{owner or (await client.me()).owner}/{name}"
