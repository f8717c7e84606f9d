"""After JupyterHub has started again: the servers that waited for their turn before, or were just starting, go on.

Who waits is in the spawners' states (`queued.STATE`), in JupyterHub's own database. They are asked for anew by
JupyterHub's API, so that everything that belongs to a start happens to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.utils import url_escape_path
from sqlalchemy import text

from modelyard_hub.spawner.queueing.queue import Queue
from modelyard_hub.spawner.queueing.queued import STATE

SERVICE = "modelyard-queue"
AT_ONCE = 100
"""Requests at once: JupyterHub answers each only after a second, if the server has to wait."""
TRIES = 600
"""Half-seconds for which JupyterHub may be busy with a server before it takes its start."""
log = logging.getLogger(__name__)


def begin(c: Any, queue: Queue) -> None:
    """Fill JupyterHub's config object `c`, and begin the task: JupyterHub reads its configuration in its event loop."""
    c.JupyterHub.services.append({"name": SERVICE, "display": False})
    c.JupyterHub.load_roles.append({"name": SERVICE, "scopes": ["start:servers"], "services": [SERVICE]})
    if JupyterHub.initialized():  # else only the configuration is wanted
        queue.resuming = asyncio.create_task(_guarded(queue), name="resume the queue of starts")


@dataclass(frozen=True)
class Waiting:
    """A start to ask for again. `since`: when it was asked for first."""

    since: float
    user: str
    name: str

    @property
    def key(self) -> str:
        """The queue's."""
        return f"{self.user}/{self.name}"


async def _guarded(queue: Queue) -> None:
    """What waited and is not taken up now would wait for ever, and nobody be told: that is said."""
    try:
        await _resume(queue)
    except Exception:
        log.exception("Servers that waited for their turn before JupyterHub's restart are not started")
    finally:
        queue.expect(())


async def _resume(queue: Queue) -> None:
    app: Any = JupyterHub.instance()
    while app.http_server is None:  # noqa: ASYNC110 - JupyterHub tells nobody that it listens
        await asyncio.sleep(0.05)
    found = [one for one in waiting(app.db) if not queue.has(one.key)]
    if not found:
        return
    log.warning("%d servers waited for their turn to start, or had just begun: they go on", len(found))
    for one in found:
        queue.marks[one.key] = one.since
    queue.expect(one.key for one in found)
    at = urlsplit(app.hub.bind_url)
    host = at.netloc.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    token = orm.Service.find(app.db, SERVICE).new_api_token(note="the queue, after a restart", expires_in=1800)
    base, headers = f"{at.scheme}://{host}{app.hub.base_url}api", {"Authorization": f"token {token}"}
    many = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, limits=many, trust_env=False) as http:
        await asyncio.gather(*(_again(http, app.db, queue, one, turn) for turn, one in _paced(found)))


def waiting(session: Any) -> list[Waiting]:
    """Those whose state says so, the oldest first."""
    rows = session.query(orm.Spawner).filter(text("spawners.state LIKE :part")).params(part=f'%"{STATE}"%')
    found = [(row.state[STATE], row) for row in rows if "since" in (row.state.get(STATE) or {})]
    return sorted(
        (Waiting(float(told["since"]), row.user.name, row.name) for told, row in found), key=lambda w: w.since
    )


def _paced(found: Iterable[Waiting]) -> Iterable[tuple[asyncio.Semaphore, Waiting]]:
    turn = asyncio.Semaphore(AT_ONCE)
    return ((turn, one) for one in found)


async def _again(http: httpx.AsyncClient, session: Any, queue: Queue, one: Waiting, turn: asyncio.Semaphore) -> None:
    user, name = url_escape_path(one.user), url_escape_path(one.name)
    path, said = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server", "no answer"
    async with turn:
        for _ in range(TRIES):
            try:
                answer = await http.post(path)
            except httpx.HTTPError as error:
                log.warning("Asking for %s again: %r", one.key, error)
            else:
                if answer.is_success:
                    return
                said = answer.text[:300]
                if answer.is_client_error and " is pending " not in answer.text:
                    break  # it runs, or may not start any more
            await asyncio.sleep(0.5)
            if one.key not in queue.marks:
                return  # somebody gave up, or it failed
    log.warning("%s is not started again: %s", one.key, said)
    _settle(session, queue, one)


def _settle(session: Any, queue: Queue, one: Waiting) -> None:
    """It does not wait any more: the next restart is not to start it."""
    queue.forget(one.key)
    mine = (orm.User.name == one.user, orm.Spawner.name == one.name)
    row = session.query(orm.Spawner).join(orm.User).filter(*mine).first()
    if row is not None and row.state and "since" in row.state.get(STATE, {}):
        told = {name: value for name, value in row.state[STATE].items() if name != "since"}
        row.state = {**row.state, STATE: told}
        session.commit()
