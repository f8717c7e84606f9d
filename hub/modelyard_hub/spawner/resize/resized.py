"""A spawner whose servers get another size while they run, where the cluster can do that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
from jupyterhub.utils import url_path_join
from kubernetes_asyncio.client.exceptions import ApiException
from sqlalchemy.orm import object_session

from modelyard_api.activity import Activity
from modelyard_api.choices import Sizes
from modelyard_api.errors import Conflict, ModelyardError, TimedOut, Unavailable
from modelyard_api.servers import ResizeOrder, ServerSize
from modelyard_hub.spawner.pods import PROFILE
from modelyard_hub.spawner.resize import resizing
from modelyard_hub.spawner.resize.resizing import AT_NEXT_START, Now
from modelyard_hub.spawner.starts.away import api_said
from modelyard_hub.spawner.starts.causes.base import Object
from modelyard_hub.spawner.starts.starting import ExplainedSpawner
from modelyard_hub.spawner.starts.wide import AWAY

SECONDS = 20.0
"""For which the node may take its time."""
_ASKING = 3.0
_TOKEN_LASTS = 60
_KEPT = ("sizes", "cpu_limit", "cpu_guarantee", "mem_limit", "mem_guarantee", "user_options")


class ResizedPods(ExplainedSpawner):
    """The sizes are this spawner's before the cluster is asked, so that quotas count them at once and a hub that dies
    meanwhile counts too much rather than too little; what the cluster refuses is taken back."""

    _resizing: asyncio.Lock | None = None

    async def has_size(self) -> ServerSize:
        """What it has; Conflict where it does not run."""
        _, now = self._runs()
        return self._size(now)

    async def resize(self, order: ResizeOrder) -> ServerSize:
        """Give it another size, or say why it cannot have it."""
        self._resizing = self._resizing or asyncio.Lock()
        async with self._resizing:
            pod, now = self._runs()
            used = None
            if order.memory is not None and order.memory < now.memory:
                used = await self._used()
                self._same(pod)
            sizes, options = self.again(self, order, now)
            resizing.check(sizes, now, used)
            if (sizes.cpu, sizes.memory) != (now.cpu, now.memory):
                with self._reserved(sizes, options):
                    await self._carry_out(pod, sizes, now)
                self.log.info("%s has %g CPUs and %d bytes of memory now", self._log_name, sizes.cpu, sizes.memory)
            return self._size(replace(now, cpu=sizes.cpu, cpu_sure=sizes.cpu_sure, memory=sizes.memory))

    def size_changed(self) -> None:
        """Whoever counts sizes counts anew."""

    def _runs(self) -> tuple[Object, Now]:
        pod: Object | None = self._there() if self.ready and self.pod_reflector else None
        if pod is None or not self.is_pod_running(pod):
            raise Conflict("the server does not run", remedy="Choose its size when you start it.")
        if (now := Now.of(pod)) is None:
            raise Conflict("the server has no size of a profile", remedy=AT_NEXT_START)
        return pod, now

    def _size(self, now: Now) -> ServerSize:
        profile = (self._there() or {}).get("metadata", {}).get("labels", {}).get(PROFILE, "")
        has = {"cpu": now.cpu, "memory": now.memory, "shm": now.shm, "gpus": now.gpus}
        return ServerSize(user=self.user.name, server=self.name or "", profile=profile, **has)

    def _same(self, pod: Object) -> Object:
        """`pod` as it is now; Conflict where the server has none of that start any more."""
        found: Object | None = self._there()
        if found is None or found["metadata"]["uid"] != pod["metadata"]["uid"]:
            raise Conflict("the server has ended meanwhile", remedy="Start it anew.")
        return found

    def _own_token(self) -> str:
        """One that opens this server and nothing else of anybody's: its user may read whatever reaches it. Its own is
        not known to a hub that was restarted."""
        if self.api_token:
            return str(self.api_token)
        scope = f"access:servers!server={self.user.name}/{self.name or ''}"
        # With other notes JupyterHub takes what the token does for something that its user does.
        note = f"Server at {self.server.base_url}: its size"
        return str(self.user.new_api_token(scopes=[scope], expires_in=_TOKEN_LASTS, note=note))

    async def _used(self) -> int | None:
        """Bytes, as the server says; None where it does not."""
        try:
            address = url_path_join(self.server.url, "modelyard/activity")
            headers = {"Authorization": f"token {self._own_token()}"}
            async with httpx.AsyncClient(trust_env=False, timeout=_ASKING) as http:
                answer = await http.get(address, headers=headers)
            answer.raise_for_status()
            return Activity.model_validate_json(answer.content).use.memory
        except (httpx.HTTPError, ValueError) as error:
            self.log.info("%s does not say how much memory it uses: %r", self._log_name, error)
            return None

    @contextmanager
    def _reserved(self, sizes: Sizes, options: Mapping[str, Any]) -> Any:
        before = {name: getattr(self, name) for name in _KEPT}
        try:
            self.take(sizes)
            self._settle_size(dict(options))
            yield
        except BaseException:
            if self.user.spawners.get(self.name) is not self or self.sizes is not sizes:
                raise  # it was started anew meanwhile: all of this is that start's now
            for name, value in before.items():
                setattr(self, name, value)
            self._settle_size(before["user_options"])
            raise

    def _settle_size(self, options: dict[str, Any]) -> None:
        """As it is now, also for the next process of the hub, and the next start."""
        self.user_options = self.orm_spawner.user_options = options
        self.size_changed()
        self.orm_spawner.state = self.get_state()
        if session := object_session(self.orm_spawner):
            session.commit()

    async def _carry_out(self, pod: Object, sizes: Sizes, now: Now) -> None:
        generation = await self._ask(pod, resizing.patch(pod, sizes.cpu, sizes.cpu_sure, sizes.memory))
        try:
            await self._until_it_has(pod, sizes, generation)
        except (ModelyardError, asyncio.CancelledError):
            # Else the node would do it at some later time, when nobody reckons with it.
            await asyncio.shield(self._take_back(pod, now))
            raise

    async def _until_it_has(self, asked: Object, sizes: Sizes, generation: int) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + SECONDS
        while clock() < until:
            found = resizing.outcome(self._same(asked), sizes, generation)
            if isinstance(found, Conflict):
                raise found
            if found:
                return
            await asyncio.sleep(0.1)
        raise TimedOut(f"the server's node has not done it within {SECONDS:g} s", remedy=AT_NEXT_START)

    async def _take_back(self, pod: Object, now: Now) -> None:
        try:
            await self._ask(pod, resizing.patch(pod, now.cpu, now.cpu_sure, now.memory))
        except ModelyardError as error:
            self.log.warning("The size of %s is not taken back: %s", self._log_name, error)

    async def _ask(self, pod: Object, patch: dict[str, Any]) -> int:
        """The generation of the pod that is told so."""
        name = pod["metadata"]["name"]
        call = self.api.patch_namespaced_pod_resize(name, self.namespace, patch)
        try:
            made = await asyncio.wait_for(call, self.k8s_api_request_timeout)
        except ApiException as error:
            raise resizing.refused(error.status, api_said(error), name) from error
        except AWAY as error:
            raise Unavailable("the cluster does not answer") from error
        return int(made.metadata.generation or 0)
