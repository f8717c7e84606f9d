"""Who has a server that runs or starts is not deleted, whoever signs users in."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.app import JupyterHub
from jupyterhub.utils import maybe_future
from tornado.web import HTTPError

_tasks: set[asyncio.Task[None]] = set()


def begin() -> None:
    """Have JupyterHub's authenticator refuse it. JupyterHub reads its configuration in its event loop, before it makes
    the authenticator, whose class later configuration may still choose."""
    if JupyterHub.initialized():  # else only the configuration is wanted
        task = asyncio.create_task(_begin(), name="guard the deletion of users")
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _begin() -> None:
    app: Any = JupyterHub.instance()
    while app.http_server is None:  # noqa: ASYNC110 - JupyterHub tells nobody that it listens
        await asyncio.sleep(0.05)
    guard(app.authenticator)


def guard(authenticator: Any) -> None:
    """Its `delete_user` refuses users with servers. JupyterHub stops only a default one that is ready, and fails on the
    others with an error of its own, some of it forgotten by then."""
    delete = authenticator.delete_user

    async def delete_user(user: Any) -> None:
        try:
            check_nothing_runs(user)
        except RuntimeError as error:
            raise HTTPError(400, f"{error}. Stop them first.") from None
        await maybe_future(delete(user))

    authenticator.delete_user = delete_user


def check_nothing_runs(user: Any) -> None:
    """RuntimeError while a server of the user runs or starts. JupyterHub stops only the default one before it deletes a
    user, and finds out about the others after it has forgotten that one."""
    active = [one.name or "the default one" for one in user.spawners.values() if one.active]
    if active:
        raise RuntimeError(f"{user.name} has servers that run or start: {', '.join(active)}")
