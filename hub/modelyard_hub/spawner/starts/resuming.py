"""A start outlives the hub's process: the next one goes on with it, or says why it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.utils import exponential_backoff
from sqlalchemy.orm import object_session

from modelyard_hub.spawner.starts.causes.base import Diagnosis
from modelyard_hub.spawner.starts.starting import ExplainedSpawner

AWAY = Diagnosis(
    "queue", "hub-restarted", "JupyterHub was restarted before the server was made.", (), "Start it again."
)


GIVEN_UP = 10.0
"""Seconds within which who cancels a start stops its server; JupyterHub waits for one."""


class ResumedSpawner(ExplainedSpawner):
    """What is kept of a server says whether its start has ended. JupyterHub itself would take one that the last process
    began for one that runs, wait for its answer for a while, and remove it without a word."""

    _settled = False
    _interrupted = True
    _spawn_future: Any
    _stop_future: asyncio.Future[Any] | None = None
    """JupyterHub's, while it stops the server."""

    async def _start(self) -> str:
        """See ExplainedSpawner's."""
        self._settled = False
        url = await super()._start()
        self._settled = True
        return url

    def get_state(self) -> dict[str, Any]:
        """Also whether its start has ended."""
        state = super().get_state()
        return {**state, "settled": True} if self._settled else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        super().load_state(state)
        self._settled = bool(state.get("settled"))
        self._interrupted = not self._settled

    def clear_state(self) -> None:
        """Forget the start with the server."""
        super().clear_state()
        self._settled = self._interrupted = False

    async def poll(self) -> int | None:
        """See KubeSpawner's. JupyterHub's first question after it was started waits for the end of a start that the
        last process began."""
        status: int | None = await super().poll()
        if not (self._check_pending and self._interrupted):
            return status
        self._interrupted = False
        if self.asked_again() and (status is not None or self._there() is None):
            return 1
        self.goes_on()
        try:
            return await self._resume(status)
        finally:
            self.went_on()

    def asked_again(self) -> bool:
        """Whether somebody asks for it again by themselves, now that the hub was restarted."""
        return False

    def goes_on(self) -> None:
        """A start that the last process began is this one's."""

    def went_on(self) -> None:
        """It has ended, however."""

    async def _resume(self, status: int | None) -> int | None:
        """Seen from outside this is a start like any other: it is pending, has its progress, and may fail."""
        self.log.info("Going on with the start of %s", self._log_name)
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._spawn_future, self._spawn_pending = ended, True
        self._start_future = start = asyncio.ensure_future(self._rest(status))
        await asyncio.wait({start, ended}, return_when=asyncio.FIRST_COMPLETED)  # it can be stopped meanwhile
        if ended.cancelled():
            start.cancel()
            await asyncio.wait({start})
            await self._given_up()
            return 1
        if error := start.exception():
            self.log.warning("%s was not started: %s", self._log_name, error)
            ended.set_exception(error)
            ended.exception()  # kept for the page that asks for it
            self._spawn_pending = False
            return 1
        self._settled = True
        self.orm_spawner.state = self.get_state()
        if session := object_session(self.orm_spawner):
            session.commit()
        self._closing = asyncio.create_task(self._close(ended), name=f"start of {self.pod_name}")
        found: int | None = await super().poll()
        return found

    async def _given_up(self) -> None:
        """Returns when who cancelled it has stopped it. JupyterHub refuses to stop what is still being checked, and
        would stop it by itself, and be in the way, if its check ended now."""
        self._spawn_future, self._spawn_pending, self._check_pending = None, False, False
        until = asyncio.get_running_loop().time() + GIVEN_UP
        while self._stop_future is None and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if stopping := self._stop_future:
            await asyncio.wait({stopping})

    async def _close(self, ended: asyncio.Future[str]) -> None:
        """Who waits is told that it is ready when JupyterHub has made its own check, and gives it away."""
        while self._check_pending:  # noqa: ASYNC110  # JupyterHub's, a plain attribute
            await asyncio.sleep(0.05)
        self._spawn_future, self._spawn_pending = None, False
        if not ended.done():
            ended.set_result(self.pod_name)

    async def _rest(self, status: int | None) -> str:
        """From the pod on."""
        pod = None if status is not None else self._there()
        if pod is None:
            raise self._not_started(AWAY)
        self._made = pod["metadata"]["uid"]
        return await self._explained(self._until_running())

    async def _until_running(self) -> str:
        def running() -> bool:
            return bool(self.is_pod_running(self._there()))

        await exponential_backoff(running, f"pod {self.pod_name} did not start", timeout=self.start_timeout)
        url: str = self._get_pod_url(self._there())
        return url
