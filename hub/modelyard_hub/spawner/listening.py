"""What is done once JupyterHub listens. JupyterHub reads its configuration in its event loop, before its parts are
there, some of which later configuration still chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from jupyterhub.app import JupyterHub

_tasks: set[asyncio.Task[None]] = set()


def when_it_listens(work: Callable[[Any], None]) -> None:
    """Do `work` with JupyterHub's application then; never where only the configuration is wanted."""
    if JupyterHub.initialized():
        task = asyncio.create_task(_wait(work), name=f"{work.__module__}.{work.__qualname__}")
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _wait(work: Callable[[Any], None]) -> None:
    app: Any = JupyterHub.instance()
    while app.http_server is None:  # noqa: ASYNC110 - JupyterHub tells nobody that it listens
        await asyncio.sleep(0.02)
    work(app)
