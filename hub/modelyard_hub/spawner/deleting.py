"""Who has a server that runs or starts is not deleted, whoever signs users in."""

from __future__ import annotations

from typing import Any

from jupyterhub.utils import maybe_future
from tornado.web import HTTPError


def guard(app: Any) -> None:
    """Have the authenticator's `delete_user` refuse users with servers. JupyterHub stops only a default one that is
    ready, and fails on the others with an error of its own, some of it forgotten by then."""
    delete = app.authenticator.delete_user

    async def delete_user(user: Any) -> None:
        try:
            check_nothing_runs(user)
        except RuntimeError as error:
            raise HTTPError(400, f"{error}. Stop them first.") from None
        await maybe_future(delete(user))

    app.authenticator.delete_user = delete_user


def check_nothing_runs(user: Any) -> None:
    """RuntimeError while a server of the user runs or starts. JupyterHub stops only the default one before it deletes a
    user, and finds out about the others after it has forgotten that one."""
    active = [one.name or "the default one" for one in user.spawners.values() if one.active]
    if active:
        raise RuntimeError(f"{user.name} has servers that run or start: {', '.join(active)}")
