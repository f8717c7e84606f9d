"""One endpoint, one step: look, plan, publish the route, carry the actions out, write the status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import assert_never

from modelyard_api.access import Access
from modelyard_api.errors import ModelyardError, NotFound
from modelyard_api.names import serve_path
from modelyard_hub.reconcile.names import ENDPOINT, OWNER
from modelyard_hub.reconcile.needs import AccessSource, DesiredState, Key, Router
from modelyard_hub.reconcile.plan import Action, Apply, Delete, Forget, Plan, plan
from modelyard_hub.reconcile.state import DesiredEndpoint, Failure, RoutedState
from modelyard_hub.routing.document import EndpointRoute
from modelyard_hub.runtimes.base import ObservedServer, Runtime
from modelyard_hub.store.records import StoredEndpoint

log = logging.getLogger(__name__)
_SLICE = 20


class EndpointReconciler:
    """Carries plans out. Each step starts from what is; what it remembers only saves work or explains a failure."""

    def __init__(
        self, store: DesiredState, runtime: Runtime, router: Router, access: AccessSource, base_url: str
    ) -> None:
        self._store, self._runtime, self._router, self._access = store, runtime, router, access
        self._base_url = base_url
        self._failures: dict[Key, dict[str, Failure]] = {}
        self._unsaved: set[Key] = set()

    async def step(self, key: Key) -> bool:
        """One step for an endpoint. Whether nothing more is expected to happen by itself.

        Raises ModelyardError when an action failed, after the others were carried out and the status was written.
        """
        observed = of_endpoint(await self._runtime.observe(), key)
        try:
            stored = await self._store.get(*key)
        except NotFound:
            return await self._sweep(key, observed)
        desired = self._desired(stored, await self._access.access(stored))
        routed = RoutedState(self._router.route(key), await self._router.applied(key))
        step = plan(desired, observed, routed, datetime.now(UTC), self._failures.get(key))
        await self._publish(key, step.route)
        failures = await self._carry_out(key, step)
        self._failures[key] = failures
        if failures and not any(isinstance(a, Forget) for a in step.actions):
            routed = RoutedState(self._router.route(key), confirmed=False)
            step = plan(desired, observed, routed, datetime.now(UTC), failures)
        if not any(isinstance(a, Forget) for a in step.actions) and step.status != stored.endpoint.status:
            await self._store.write_status(*key, step.status)
        if failures:
            raise ModelyardError("; ".join(f"{name}: {f.message}" for name, f in sorted(failures.items())))
        return step.settled

    async def restless(self) -> tuple[Key, ...]:
        """Endpoints that a step would do something for, of all there are: of those of the store, and of those that only
        the runtime or the router still knows. They are read at once; a step of each would be thousands of queries."""
        endpoints = await self._store.list()
        access = await self._access.all(endpoints)
        observed: dict[Key, dict[str, ObservedServer]] = {}
        for name, server in (await self._runtime.observe()).items():
            if (key := owner_of(server)) is not None:
                observed.setdefault(key, {})[name] = server
        found = []
        for number, stored in enumerate(endpoints):
            if number % _SLICE == 0:
                await asyncio.sleep(0)  # others have their turn
            if not await self._at_rest(stored, access[stored.key], observed.get(stored.key, {})):
                found.append(stored.key)
        known = {stored.key for stored in endpoints}
        return (*found, *sorted((observed.keys() | set(self._router.published())) - known))

    async def _at_rest(self, stored: StoredEndpoint, access: Access, observed: Mapping[str, ObservedServer]) -> bool:
        key = stored.key
        if self._failures.get(key) or key in self._unsaved:
            return False
        routed = RoutedState(self._router.route(key), await self._router.applied(key))
        step = plan(self._desired(stored, access), observed, routed, datetime.now(UTC))
        return step.settled and step.route == routed.route and step.status == stored.endpoint.status

    def failed(self, key: Key) -> Collection[str]:
        """Workloads that something could not be done for in the last step."""
        return self._failures.get(key, {})

    async def _publish(self, key: Key, route: EndpointRoute | None) -> None:
        """Have the route in the router's document, and keep it for the next process. Calls go on without that, so that
        a failure is only logged; the next step tries again."""
        if self._router.publish(key, route):
            self._unsaved.add(key)
        if key not in self._unsaved:
            return
        try:
            await self._store.save_route(*key, self._router.dump(key))
            self._unsaved.discard(key)
        except ModelyardError as error:
            log.warning("keeping the route of %s/%s: %s", *key, error)

    async def _sweep(self, key: Key, observed: Mapping[str, ObservedServer]) -> bool:
        """An endpoint that the store does not know: no route, then no workloads."""
        self._failures.pop(key, None)
        await self._publish(key, None)
        if not observed:
            return True
        if await self._router.applied(key):
            for name in observed:
                log.info("deleting the workload %s: its endpoint is gone", name)
                await self._runtime.delete(name)
        return False

    def _desired(self, stored: StoredEndpoint, access: Access) -> DesiredEndpoint:
        endpoint = stored.endpoint
        return DesiredEndpoint(
            owner=endpoint.owner,
            name=endpoint.name,
            generation=endpoint.generation,
            spec=endpoint.spec,
            deleting=endpoint.deleting,
            packages=stored.packages,
            stable_history=stored.stable_history,
            access=access.model_dump_json(),
            url=self._base_url + serve_path(endpoint.owner, endpoint.name),
            status=endpoint.status,
        )

    async def _carry_out(self, key: Key, step: Plan) -> dict[str, Failure]:
        """Do all actions, each whether or not another one fails; failures by workload."""
        failures: dict[str, Failure] = {}
        for action in step.actions:
            try:
                await self._do(key, action)
            except ModelyardError as error:
                name = _subject(action)
                log.warning("%s/%s: %s: %s", *key, name, error)
                failures[name] = Failure(type(error).__name__, str(error))
        return failures

    async def _do(self, key: Key, action: Action) -> None:
        match action:
            case Apply(server):
                log.info("%s/%s: running %s with %s replicas", *key, server.name, server.replicas)
                await self._runtime.apply(server)
            case Delete(name):
                log.info("%s/%s: deleting %s", *key, name)
                await self._runtime.delete(name)
            case Forget():
                log.info("%s/%s: gone", *key)
                await self._store.remove(*key)
                self._failures.pop(key, None)
            case _:
                assert_never(action)


def of_endpoint(observed: Mapping[str, ObservedServer], key: Key) -> dict[str, ObservedServer]:
    """The workloads that belong to an endpoint, by their labels."""
    owner, endpoint = key
    # Each step looks through all of them; the name, which most do not share, is asked first.
    return {n: s for n, s in observed.items() if s.labels.get(ENDPOINT) == endpoint and s.labels.get(OWNER) == owner}


def owner_of(server: ObservedServer) -> Key | None:
    """The endpoint that a workload belongs to; None where it is not one of ours."""
    owner, name = server.labels.get(OWNER), server.labels.get(ENDPOINT)
    return (owner, name) if owner and name else None


def _subject(action: Action) -> str:
    match action:
        case Apply(server):
            return server.name
        case Delete(name):
            return name
        case Forget():
            return "store"
