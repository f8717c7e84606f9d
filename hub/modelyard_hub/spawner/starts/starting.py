"""A start that says what it waits for, what it failed for, and how long each part of it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar

from jupyterhub.utils import url_escape_path, url_path_join, wait_for_http_server
from kubernetes_asyncio.client.exceptions import ApiException
from traitlets import Float

from modelyard_api.errors import ModelyardError
from modelyard_hub.spawner.homes import HomeSpawner
from modelyard_hub.spawner.starts import phases
from modelyard_hub.spawner.starts.away import AGAIN, AWAY_NOW, again, api_said, words
from modelyard_hub.spawner.starts.causes.base import Object
from modelyard_hub.spawner.starts.causes.held import Hold
from modelyard_hub.spawner.starts.causes.words import duration
from modelyard_hub.spawner.starts.diagnosis import Diagnosis, refused, shm_too_large
from modelyard_hub.spawner.starts.holding import hold, prefer
from modelyard_hub.spawner.starts.looking import Look
from modelyard_hub.spawner.starts.routes import announce, until_open, withdraw
from modelyard_hub.spawner.starts.telling import REPEAT, NotStarted, event
from modelyard_hub.spawner.starts.watching import LASTING
from modelyard_hub.spawner.starts.wide import AWAY, Wide

RESERVE = 20
"""Seconds of the start's timeout that are kept for saying why it failed."""
PATIENCE = 3.0
"""Seconds that a start waits to be told where its volume is."""
LOOKS_EVERY = 0.05
"""Seconds between looks at what the watch told; they cost no call."""
SLOW = 2.0
"""Seconds from which on a pod's preparation is worth one look at its events."""


class ExplainedSpawner(HomeSpawner):
    """KubeSpawner whose progress and failures are diagnoses.

    It looks at more than its pod only while somebody waits, or to say why a start failed. A start here also waits until
    the server answers, so that a server that does not is a failed start with its log's end.
    """

    queue_timeout = Float(0.0, config=True, help="Seconds of the start's timeout for Kueue's queue.")
    _wide: ClassVar[tuple[asyncio.AbstractEventLoop, Wide] | None] = None
    _look: Look | None = None
    _clock: phases.Clock | None = None
    _made: str = ""
    _hold: Hold | None = None
    _took: dict[str, float]
    waited = 0.0
    """Seconds that the start waited for its turn."""

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the start waits for, for those who wait, until it has ended. See `telling.event`."""
        told, at = ("", ""), 0.0
        while not (self._start_future and self._start_future.done()):
            said, clock = await self.says(), self._clock
            if said and clock is not None:
                now = (said["phase"], said["reason"])
                if now != told or clock.since("begun") - at >= REPEAT:
                    told, at = now, clock.since("begun")
                    yield said
            if self._start_future:
                await asyncio.wait({self._start_future}, timeout=1)
            else:
                await asyncio.sleep(0.1)

    async def says(self) -> dict[str, Any]:
        """What the start waits for now: see `telling.event`. Empty where none is on its way."""
        look, clock = self._look, self._clock
        if look is None or clock is None:
            return {}
        found = await look.diagnosis()
        clock.mark(f"phase {found.phase}")
        left = phases.HISTORY.remaining(found.phase, clock.since(f"phase {found.phase}"))
        return event(found, clock.since("begun"), left, url_path_join(self.hub.base_url, "home"))

    async def _start(self) -> str:
        """Make the pod, wait until it runs and answers. NotStarted says why it does not."""
        self._made = ""
        return await self._explained(self._make())

    async def _make(self) -> str:
        """Make the pod and wait until it runs, unless what is there already forbids it; its URL."""
        await self._when_it_answers(self.prepare_volumes)
        self._hold = await self.hold()
        before = self._hold.diagnosis() if self._hold else None
        if self._look:
            self._look.before = before
        if before and before.final:
            raise self._not_started(before)
        return await self.unless_it_runs(super()._start())

    async def _when_it_answers(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Ask the cluster, again while it does not answer; NotStarted after as long as KubeSpawner is patient."""
        now = asyncio.get_running_loop().time
        until = now() + self.k8s_api_request_retry_timeout
        while True:
            try:
                return await ask()
            except Exception as error:
                if not again(error):
                    raise
                if now() > until:
                    said = replace(AWAY_NOW, evidence=(words(error),), remedy="Try again in a minute.")
                    raise self._not_started(said) from error
                self._away(error)
            await asyncio.sleep(AGAIN)

    def _away(self, error: BaseException) -> None:
        self.log.warning("The cluster does not answer for %s: %s", self._log_name, words(error))
        if self._look:
            self._look.before = AWAY_NOW

    async def _explained(self, running: Awaitable[str]) -> str:
        """Wait for the pod to run, as `running` does, which gives its URL, and to answer. NotStarted: it does not."""
        self._clock = clock = phases.Clock()
        self._took = {}
        look = self._look = Look(self.api, self.namespace, self.wide_view(), self._pod)
        try:
            patience = self.start_timeout - self.queue_timeout - RESERVE - self.http_timeout
            url: str = await self._unless_hopeless(running, patience)
            clock.mark("running")
            if not self.internal_ssl and self.server is not None:
                address = url_path_join(url, self.server.base_url, "api")
                await self._unless_hopeless(self._answers(url, address), self.http_timeout)
            clock.mark("answering")
            await self._measure(look, clock)
            return url
        finally:
            self._look = None
            await look.close()

    async def unless_it_runs(self, starting: Awaitable[str]) -> str:
        """The server's URL, from the moment on in which the watch says that its pod runs: KubeSpawner looks less and
        less often, and is late by a second."""
        start = asyncio.ensure_future(starting)
        try:
            while not start.done():
                await asyncio.wait({start}, timeout=LOOKS_EVERY)
                pod = self._pod() if self._made else None
                if not start.done() and not self._more_to_do() and self.is_pod_running(pod):
                    assert pod is not None
                    self.pod_id = pod["metadata"]["uid"]
                    return str(self._get_pod_url(pod))
            return str(start.result())
        finally:
            if not start.done():
                start.cancel()
                await asyncio.wait({start})

    async def _answers(self, url: str, address: str) -> None:
        """Returns when the server answers. Its route is made as soon as its port is open, where calls can wait."""
        await until_open(url, LOOKS_EVERY)
        announce(self, url)
        # Its own waiting never ends first.
        await wait_for_http_server(address, timeout=self.start_timeout)

    def _more_to_do(self) -> bool:
        """Whether KubeSpawner does something with a pod that was made beside waiting for it."""
        return bool(self.internal_ssl or self.services_enabled or self.after_pod_created_hook)

    async def stop(self, now: bool = False) -> None:
        """See `KubeSpawner.stop`."""
        withdraw(self)
        await super().stop(now)

    async def hold(self) -> Hold | None:
        """Where the home volume is, before there is a pod; None where it is nowhere, or that is not known in time."""
        try:
            return await asyncio.wait_for(self._held(), PATIENCE)
        except AWAY:
            return None

    async def _held(self) -> Hold | None:
        home = None if self._pvc_exists else await self.find_home()
        name = home["metadata"]["name"] if home else self.pvc_name
        return await hold(self.api, self.namespace, self.wide_view(), name)

    async def get_pod_manifest(self) -> Any:
        """KubeSpawner's pod, placed where its volume is already, if another server there uses it too."""
        pod = await super().get_pod_manifest()
        if self._hold and self._hold.shared_by:
            prefer(pod, self._hold.shared_by)
        return pod

    async def _unless_hopeless(self, waiting: Awaitable[Any], seconds: float) -> Any:
        """Its result; NotStarted when it cannot succeed any more, was refused, or takes longer than `seconds`, not
        counting those in Kueue's queue."""
        task, now = asyncio.ensure_future(waiting), asyncio.get_running_loop().time
        deadline, limit = now() + max(seconds, 1.0), now() + max(seconds, 1.0) + self.queue_timeout
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=1.0)
                found = self._look.at_once() if self._look and not task.done() else None
                if found and found.reason == "kueue":
                    self.step_aside()
                    deadline = min(now() + max(seconds, 1.0), limit)
                late = now() > deadline
                if found and self._look and (late or found.final):
                    raise self._not_started(_after(await _why(self._look), seconds if late else 0.0))
            return task.result()
        except ApiException as error:
            if found := refused(error.status, api_said(error)):
                raise self._not_started(found) from error
            raise
        except ModelyardError as error:
            raise self._not_started(Diagnosis("attach", "volume", f"{error.detail}.", (), error.remedy)) from error
        except TimeoutError as error:
            # Only what the API server did not take in time ends here: the hub's fault, or the cluster's.
            error.jupyterhub_message = "The cluster does not answer. Try again in a minute."  # type: ignore[attr-defined]
            raise
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def step_aside(self) -> None:
        """The cluster makes it wait: others may start meanwhile."""

    async def _make_create_pod_request(self, pod: Any, request_timeout: float) -> bool:
        """See KubeSpawner's. That one writes a refused pod into the log, with the user's token in it."""
        plain = self.api.api_client.sanitize_for_serialization(pod)
        if found := shm_too_large(plain):
            raise self._not_started(found)
        try:
            made = await asyncio.wait_for(self.api.create_namespaced_pod(self.namespace, pod), request_timeout)
        except AWAY as error:
            if again(error):
                self._away(error)
                return False
            if getattr(error, "status", None) != 409:
                raise
            self.log.info("There is a pod %s already; it is stopped first", self.pod_name)
            await self.stop(True)
            return False
        self._made = made.metadata.uid
        self.taken()
        if self._clock:
            self._clock.mark("created")
        return True

    def taken(self) -> None:
        """The cluster has the pod now, and its quotas count it."""

    async def _measure(self, look: Look, clock: phases.Clock) -> None:
        """Record how long the parts of this start took."""
        pod = self._pod()
        events = look.events()
        if pod and not events and sum(phases.of_pod(pod).values()) > SLOW:
            await look.diagnosis()
            events = look.events()
        took = {
            "queue": self.waited + (clock.between("begun", "created") or 0.0),
            **(phases.of_pod(pod, events) if pod else {}),
            "ready": clock.between("running", "answering"),
        }
        self._took = {phase: seconds for phase, seconds in took.items() if seconds is not None}
        for phase, seconds in self._took.items():
            phases.record(phase, seconds)

    def get_state(self) -> dict[str, Any]:
        """KubeSpawner's, with how long the start took: what the next process of the hub estimates with."""
        state: dict[str, Any] = super().get_state()
        if getattr(self, "_took", None):
            state["phases"] = self._took
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        super().load_state(state)
        if took := state.get("phases"):
            self._took = dict(took)
            phases.HISTORY.seed(f"{self.namespace}/{state.get('pod_name')}", took)

    def clear_state(self) -> None:
        """Forget the start with the server."""
        super().clear_state()
        self._took = {}

    def _pod(self) -> Object | None:
        """The pod of this start as the hub's own watch has it, or one of the same name that is on its way out."""
        reflector = self.pod_reflector
        found: Object | None = reflector.pods.get(f"{self.namespace}/{self.pod_name}") if reflector else None
        metadata = (found or {}).get("metadata") or {}
        return found if metadata.get("uid") == self._made or "deletionTimestamp" in metadata else None

    def _there(self) -> Any:
        """The pod of this server's name, as the hub's own watch has it."""
        return self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}")

    async def _start_reflector(self, kind: str, reflector_class: Any, replace: bool = False, **fields: Any) -> Any:
        """See KubeSpawner's, which takes one that was refused at its first list for one that watches."""
        try:
            return await super()._start_reflector(kind, LASTING[reflector_class], replace, **fields)
        except Exception:
            self.reflectors.pop(self._get_reflector_key(kind), None)
            raise

    def wide_view(self) -> Wide:
        """One for all spawners of a process, and of an event loop."""
        loop = asyncio.get_running_loop()
        if ExplainedSpawner._wide is None or ExplainedSpawner._wide[0] is not loop:
            ExplainedSpawner._wide = (loop, Wide(self.api))
        return ExplainedSpawner._wide[1]

    def _not_started(self, found: Diagnosis) -> NotStarted:
        name = url_escape_path(self.name) if self.name else ""
        base = self.hub.base_url
        again = url_path_join(base, "spawn", self.user.escaped_name, name)
        return NotStarted(found, again=again, home=url_path_join(base, "home"))


async def _why(look: Look) -> Diagnosis:
    """In time: JupyterHub ends a start that takes longer, without a reason."""
    try:
        return await asyncio.wait_for(look.diagnosis(anew=True), RESERVE / 2)
    except TimeoutError:
        return look.at_once()


def _after(found: Diagnosis, seconds: float) -> Diagnosis:
    """Where nothing was wrong but the time it took, that is the cause."""
    if found.wrong or not seconds:
        return found
    cause = f"It has not started within {duration(seconds)}. {found.cause}"
    return replace(found, cause=cause, remedy="Try again: what was done so far is mostly kept.", wrong=True)
