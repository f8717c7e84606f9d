"""JupyterHub's own database: after it was away, nobody's first request fails.

JupyterHub keeps one session, whose transaction holds a connection most of the time. When the database restarts, that
connection is dead, and JupyterHub learns it only from a request that fails with 500. So the session is tried before.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from jupyterhub.app import JupyterHub
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

EVERY = 1.0
"""Seconds between two looks; one takes less than a millisecond."""
log = logging.getLogger(__name__)
_tasks: set[asyncio.Task[None]] = set()


def begin() -> None:
    """Look after the session of the JupyterHub that reads its configuration; nothing where there is none."""
    if JupyterHub.initialized():
        task = asyncio.create_task(_guarded(), name="look after JupyterHub's session")
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _guarded() -> None:
    app: Any = JupyterHub.instance()
    while True:
        await asyncio.sleep(EVERY)
        try:
            if app.db is not None:
                renew(app.db)
        except Exception:
            log.exception("JupyterHub's session cannot be looked after just now")


def renew(session: Any) -> bool:
    """End the session's transaction if its connection is dead, so that the next one gets another; whether it was.

    A session without a transaction is left alone: JupyterHub tries each connection that it takes up.
    """
    if not session.in_transaction():
        return False
    try:
        session.connection().scalar(select(1))
    except SQLAlchemyError as error:
        log.warning("JupyterHub's connection to its database is gone, and begun anew: %s", error)
        session.rollback()
        return True
    return False
