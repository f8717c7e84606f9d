"""An endpoint for `async` code: look at it, call it, change it. `modelyard.handle` is its blocking face."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelyard import changes, tables
from modelyard.command import CommandLine
from modelyard.errors import InvalidInput, NotFound, StaleWrite, TimedOut, Unauthenticated
from modelyard.transport import Request
from modelyard_api.conditions import ConditionStatus, find
from modelyard_api.endpoints import Endpoint as Resource
from modelyard_api.endpoints import (
    EndpointMetrics,
    EndpointSpec,
    EndpointStatus,
    EndpointWrite,
    Key,
    KeyCreate,
    KeyList,
    Logs,
    RevisionSpec,
)
from modelyard_api.names import REVISION_HEADER, serve_path
from modelyard_api.resources import Scaling

if TYPE_CHECKING:
    from modelyard.client import AsyncClient

_WRITE_ATTEMPTS = 8
_SETTLE = 120.0


class AsyncEndpoint:
    """An endpoint of `owner`. Reading methods ask anew each time; changing ones repeat when somebody else wrote first.

    `wait=` on those that change: seconds until the change must be observed (TimedOut then; the change stays), 0 not to
    wait.
    """

    def __init__(self, client: AsyncClient, owner: str, name: str, resource: Resource | None = None) -> None:
        self._client = client
        self.owner = owner
        self.name = name
        self.last = resource
        """The endpoint as it was when last read."""
        self._metadata: dict[int | None, tables.Metadata] = {}

    @property
    def path(self) -> str:
        """Below the REST API."""
        return f"/endpoints/{self.owner}/{self.name}"

    @property
    def url(self) -> str:
        """Where callers reach it, without a trailing slash."""
        return self._client.connection.url + serve_path(self.owner, self.name)

    async def read(self) -> Resource:
        """The endpoint as it is now."""
        self.last = await self._client.get(self.path, Resource)
        return self.last

    async def status(self) -> EndpointStatus:
        """What is observed."""
        return (await self.read()).status

    async def revisions(self) -> tuple[RevisionSpec, ...]:
        """All revisions, oldest first."""
        return (await self.read()).spec.revisions

    async def predict(self, X: Any, *, revision: int | None = None) -> Any:
        """What the model's `predict(X)` gives: an array with one answer per row (a dict of arrays for several outputs).

        `X`: a DataFrame, an array, a list of rows, or of dicts; columns that the model does not know are left out.
        `revision` asks that one, whatever the traffic.
        """
        metadata = await self.metadata(revision)
        names = [str(o["name"]) for o in metadata.outputs]
        main = {"classification": "label", "regression": "prediction"}.get(metadata.task)
        if main in names:
            return (await self.infer(X, revision=revision, outputs=(main,))).outputs[main]
        found = (await self.infer(X, revision=revision)).outputs
        return found[names[0]] if len(found) == 1 else found

    async def predict_proba(self, X: Any, *, revision: int | None = None) -> Any:
        """A classifier's probabilities, of shape (rows, classes). InvalidInput when the model has none."""
        metadata = await self.metadata(revision)
        if "probabilities" not in [o["name"] for o in metadata.outputs]:
            raise InvalidInput(f"the model of {self.owner}/{self.name} gives no probabilities", remedy="Use predict.")
        return (await self.infer(X, revision=revision, outputs=("probabilities",))).outputs["probabilities"]

    async def infer(self, X: Any, *, revision: int | None = None, outputs: tuple[str, ...] = ()) -> tables.Inference:
        """All outputs of the model for `X` (as `predict` takes it), or those named, and the version that answered."""
        metadata = await self.metadata(revision)
        path = f"/v2/models/{self.name}/infer"
        try:
            documents = [
                await self._call("POST", path, revision, body) for body in tables.requests(X, metadata, outputs)
            ]
        except InvalidInput:
            self._metadata.pop(revision, None)  # another revision may have got the traffic meanwhile
            raise
        return tables.Inference(tables.answers(documents, metadata), str(documents[-1].get("model_version", "")))

    async def metadata(self, revision: int | None = None) -> tables.Metadata:
        """What the model takes and answers, as the endpoint says; kept."""
        if revision not in self._metadata:
            answer = await self._call("GET", f"/v2/models/{self.name}", revision)
            self._metadata[revision] = tables.Metadata.read(answer)
        return self._metadata[revision]

    async def curl(self, X: Any = None, *, token: str | None = None) -> CommandLine:
        """A line for a terminal that asks the endpoint. `X`: rows to send, by default the first of the example.

        The line carries a token that is valid for some minutes, unless `token` gives a key's secret.
        """
        note = ""
        if token is None:
            fresh = await self._client.call_token(fresh=True)
            token = fresh.token
            until = fresh.expires_at.strftime("%H:%M UTC")
            note = (
                f'The token in this line works until {until}; endpoint.create_key("my-service") makes one that lasts.'
            )
        metadata = await self.metadata()
        rows = X if X is not None else (await self.example())[:1]
        body = json.dumps(next(iter(tables.requests(rows, metadata))), allow_nan=False, ensure_ascii=False)
        parts = ["curl", "-sS", f"{self.url}/v2/models/{self.name}/infer"]
        parts += ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json", "-d", body]
        return CommandLine(" ".join(shlex.quote(part) for part in parts), note)

    async def example(self, revision: int | None = None) -> list[Any]:
        """The rows that the model was published with, as JSON; of the revision with most of the traffic, by default.
        From MLflow."""
        from modelyard.tracking import Tracking

        spec = (await self.read()).spec
        wanted = spec.revision(changes.stable(spec) if revision is None else revision)
        if wanted is None:
            raise NotFound(f"{self.owner}/{self.name} has no revision {revision}")
        return (await Tracking(self._client).manifest(wanted.model, wanted.version)).example

    async def canary(self, version: int | str, percent: int = 10, *, wait: float = _SETTLE) -> None:
        """Give `percent` of the traffic to the revision of that model version, the rest to the one that has most."""
        revision = await self._revision_of(version, wait)
        await self.update(lambda spec: changes.split(spec, revision, percent))
        await self.applied(wait)

    async def split(
        self, shares: Mapping[int, int], *, expected: Mapping[int, int] | None = None, wait: float = _SETTLE
    ) -> None:
        """Give each revision its percent of the traffic, such as `{1: 90, 2: 10}`; revisions left out get none.

        `expected`: what it was when that was decided; StaleWrite when somebody changed it meanwhile. Other changes of
        others are kept. InvalidTraffic when the shares do not sum to 100.
        """
        await self.update(lambda spec: changes.shared(spec, shares, expected))
        await self.applied(wait)

    async def promote(self, version: int | str | None = None, *, wait: float = _SETTLE) -> None:
        """Give all traffic to the revision of that model version; None: to the candidate, the newest one."""
        if version is None:
            await self.update(lambda spec: changes.promoted(spec, changes.candidate(spec)))
        else:
            revision = await self._revision_of(version, wait)
            await self.update(lambda spec: changes.promoted(spec, revision))
        await self.applied(wait)

    async def rollback(self, *, wait: float = _SETTLE) -> None:
        """All traffic back to the revision that had all of it before. Conflict says why there is none."""
        self.last = await self._client.fetch(Request("POST", f"{self.path}/rollback"), Resource)
        await self.applied(wait)

    async def scale(
        self, replicas: int | None = None, *, min: int | None = None, max: int | None = None, wait: float = _SETTLE
    ) -> None:
        """Run `replicas` of each revision that is active, or from `min` to `max`."""
        if (replicas is None) == (min is None and max is None):
            raise InvalidInput("scale needs replicas, or min and max", remedy="scale(2), or scale(min=1, max=4).")

        def scaled(spec: EndpointSpec) -> EndpointSpec:
            low = replicas or min or spec.scaling.min
            return spec.model_copy(update={"scaling": changes.checked(Scaling, min=low, max=replicas or max or low)})

        await self.update(scaled)
        await self.applied(wait, replicas=True)

    async def logs(self, *, revision: int | None = None, lines: int = 200) -> Logs:
        """The last lines of each replica, oldest first."""
        query = {"lines": lines} | ({} if revision is None else {"revision": revision})
        return await self._client.fetch(Request("GET", f"{self.path}/logs", query=query), Logs)

    async def metrics(self) -> EndpointMetrics:
        """Requests, errors, latency (ms) and memory (bytes) per revision, since its replicas started."""
        return await self._client.get(f"{self.path}/metrics", EndpointMetrics)

    async def keys(self) -> list[Key]:
        """The named keys of callers, without their secrets."""
        return (await self._client.get(f"{self.path}/keys", KeyList)).items

    async def create_key(self, name: str, expires_in: int | None = None) -> Key:
        """A key for a caller outside; its `secret` is answered this once. `expires_in` seconds; None: it lasts."""
        body = changes.checked(KeyCreate, name=name, expires_in=expires_in).model_dump()
        return await self._client.fetch(Request("POST", f"{self.path}/keys", body=body), Key)

    async def remove_key(self, key: Key | str) -> None:
        """Make a key useless; by its id, its name, or itself."""
        wanted = key.id if isinstance(key, Key) else key
        found = next((k for k in await self.keys() if wanted in (k.id, k.name)), None)
        if found is None:
            raise NotFound(f"{self.owner}/{self.name} has no key {wanted!r}")
        await self._client.send(Request("DELETE", f"{self.path}/keys/{found.id}"))

    async def delete(self, *, wait: float = 60.0) -> None:
        """Stop it and forget it; model versions stay in the registry. Fine when it is gone already."""
        try:
            for attempt in range(_WRITE_ATTEMPTS):
                match = {"If-Match": (await self.read()).etag}
                try:
                    await self._client.send(Request("DELETE", self.path, headers=match))
                    break
                except StaleWrite:
                    if attempt == _WRITE_ATTEMPTS - 1:
                        raise
            await self.until(lambda _: False, wait, "it is being deleted")
        except NotFound:
            return

    async def update(self, change: Callable[[EndpointSpec], EndpointSpec]) -> Resource:
        """Write `change(spec)`, done anew on what somebody else wrote in between; nothing without a change."""
        for attempt in range(_WRITE_ATTEMPTS):
            now = await self.read()
            spec = change(now.spec)
            if spec == now.spec:
                return now
            body = EndpointWrite(spec=spec).model_dump(mode="json", exclude_unset=False)
            for revision, original in zip(body["spec"]["revisions"], spec.revisions, strict=True):
                if "active" not in original.model_fields_set:
                    del revision["active"]
            try:
                request = Request("PUT", self.path, body=body, headers={"If-Match": now.etag})
                self.last = await self._client.fetch(request, Resource)
                return self.last
            except StaleWrite:
                if attempt == _WRITE_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def until(
        self,
        holds: Callable[[Resource], bool],
        seconds: float,
        missing: str,
        seen: Callable[[Resource], None] | None = None,
    ) -> Resource | None:
        """The endpoint once `holds(endpoint)`; None at once when `seconds` is 0. TimedOut says what is `missing`."""
        if seconds <= 0:
            return None
        deadline = time.monotonic() + seconds
        pause = 0.05
        while True:
            now = await self.read()
            if seen is not None:
                seen(now)
            if holds(now):
                return now
            if time.monotonic() > deadline:
                said = changes.reasons(now)
                raise TimedOut(f"{self.owner}/{self.name}: {missing} after {seconds:g} s. {said}".strip())
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    async def applied(self, seconds: float, replicas: bool = False) -> None:
        """Until the router does what the spec says."""

        def settled(now: Resource) -> bool:
            if now.status.observed_generation < now.generation:
                return False
            applied = find(now.status.conditions, "TrafficApplied")
            if applied is None or applied.status is not ConditionStatus.true:
                return False
            serving = [r for r in now.status.revisions if r.percent > 0]
            return not replicas or all(r.ready_replicas == r.desired_replicas for r in serving)

        await self.until(settled, seconds, "the change is written, but not applied")

    async def _revision_of(self, version: int | str, wait: float) -> int:
        """The number of the newest revision of that model version; one is added when there is none."""
        known = changes.of_version((await self.read()).spec, version)
        if known is not None:
            return known
        written = await self.update(lambda spec: changes.added(spec, changes.next_revision(spec, version=str(version))))
        number = max(r.number for r in written.spec.revisions)
        await self.until(lambda now: changes.revision_ready(now, number), wait, f"revision {number} is not ready")
        return number

    async def _call(self, method: str, path: str, revision: int | None, body: Any = None) -> Any:
        headers = {} if revision is None else {REVISION_HEADER: str(revision)}
        token = (await self._client.call_token()).token
        url = self._client.connection.reach + serve_path(self.owner, self.name) + path
        request = Request(method, url, body=body, headers=headers, token=token)
        try:
            return (await self._client.send(request)).json()
        except Unauthenticated:
            token = (await self._client.call_token(fresh=True)).token
            return (await self._client.send(Request(method, url, body=body, headers=headers, token=token))).json()
