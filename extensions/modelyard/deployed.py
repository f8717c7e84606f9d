"""An endpoint in the notebook: what it is, calls, and changes that return when they are in effect."""

from __future__ import annotations

import functools
from typing import Any, TypeVar


from numpy.typing import NDArray

from modelyard import encoding, sync, traffic
from modelyard.client import AsyncClient
from modelyard.curl import command
from modelyard.endpoint_html import html
from modelyard.waiting import until_applied, until_gone
from modelyard_api import endpoints as api
from modelyard_api.errors import InvalidInput
from modelyard_api.names import REVISION_HEADER, check_label, serve_path
from modelyard_api.resources import Scaling

E = TypeVar("E", bound="Endpoint")


class Endpoint:
    """One endpoint; every attribute asks the hub service anew. Blocking; `AsyncClient` has the async twins."""

    def __init__(self, client: AsyncClient, owner: str, name: str) -> None:
        """See `yard.endpoint` and `yard.publish`, which make these."""
        self.owner, self.name = owner, name
        self._client = client
        self._metadata: dict[int | None, tuple[int, dict[str, Any]]] = {}
        self.last_revision: int | None = None
        """The number of the revision that answered the last call."""

    @property
    def url(self) -> str:
        """Where it is called, without a trailing slash."""
        return f"{self._client.url}{serve_path(self.owner, self.name)}"

    @property
    def resource(self) -> api.Endpoint:
        """Desired and observed state as the API answers them. Raises NotFound."""
        return sync.run(self._client.get_endpoint(self.owner, self.name))

    @property
    def status(self) -> api.EndpointStatus:
        """What is observed now."""
        return self.resource.status

    @property
    def revisions(self) -> tuple[api.RevisionSpec, ...]:
        """Its revisions, oldest first."""
        return tuple(sorted(self.resource.spec.revisions, key=lambda r: r.number))

    @property
    def traffic(self) -> dict[int, int]:
        """Percent of the calls by revision number, as wanted."""
        return {t.revision: t.percent for t in self.resource.spec.traffic if t.percent > 0}

    def predict(self, rows: Any, *, revision: int | None = None) -> NDArray[Any]:
        """The labels (classification) or values (regression) for n rows: a numpy array of shape (n,) or (n, k).

        `rows`: as the model takes them. `revision`: ask that one, whatever the traffic says. Raises InvalidInput with
        the column at fault, ModelFailed, Unavailable.
        """
        outputs = self.outputs(rows, revision=revision)
        return next(iter(outputs.values()))

    def predict_proba(self, rows: Any, *, revision: int | None = None) -> NDArray[Any]:
        """A classifier's probabilities, shape (n, number of classes). Raises InvalidInput when it has none."""
        outputs = self.outputs(rows, revision=revision)
        if "probabilities" not in outputs:
            raise InvalidInput(f"{self.name} answers {', '.join(outputs)}, no probabilities", remedy="Use .predict().")
        return outputs["probabilities"]

    def outputs(self, rows: Any, *, revision: int | None = None) -> dict[str, NDArray[Any]]:
        """All outputs by name. One call for all rows."""
        return sync.run(self._outputs(rows, revision))

    async def _outputs(self, rows: Any, revision: int | None) -> dict[str, NDArray[Any]]:
        body = encoding.encode(await self._describe(revision), rows)
        path = f"/v2/models/{self.name}/infer"
        answer = await self._client.call(self.owner, self.name, path, body, revision=revision)
        number = answer.headers.get(REVISION_HEADER, "")
        self.last_revision = int(number) if number.isdigit() else None
        return encoding.decode(answer.json())

    async def _describe(self, revision: int | None) -> dict[str, Any]:
        """The endpoint's inputs, asked for once per generation of its spec that this object knows of."""
        if revision not in self._metadata:
            answer = await self._client.call(self.owner, self.name, f"/v2/models/{self.name}", revision=revision)
            self._metadata[revision] = (0, answer.json())
        return self._metadata[revision][1]

    def curl(self, rows: Any = None) -> str:
        """A line for bash that calls it, with a token of its own that ends in 15 minutes. `rows`: by default, zeros
        and empty texts in the shape that it takes."""

        async def line() -> str:
            metadata = await self._describe(None)
            body = encoding.encode(metadata, encoding.blank(metadata) if rows is None else rows)
            token = await self._client.call_token(fresh=True)
            return command(f"{self.url}/v2/models/{self.name}/infer", token.token, body)

        return sync.run(line())

    def canary(self: E, version: str | int, percent: int, *, timeout: float = 180.0) -> E:
        """Send `percent` of the calls to the revision that serves `version`; returns when the router does.

        A version that is registered, but not behind this endpoint yet, becomes its next revision.
        """

        def change(spec: api.EndpointSpec) -> api.EndpointSpec:
            if traffic.of_version(spec, str(version)) is None:
                fields = {"version": str(version), "active": True}
                spec = traffic.appended(spec, traffic.newest(spec).model_copy(update=fields))
            return traffic.shared(spec, traffic.revision_of(spec, version).number, percent)

        return self._change(change, timeout)

    def promote(self: E, version: str | int | None = None, *, timeout: float = 180.0) -> E:
        """Send all calls to the revision that serves `version`, by default to the newest; returns when the router
        does."""

        def change(spec: api.EndpointSpec) -> api.EndpointSpec:
            chosen = traffic.newest(spec) if version is None else traffic.revision_of(spec, version)
            return traffic.shared(spec, chosen.number, 100)

        return self._change(change, timeout)

    def rollback(self: E, *, timeout: float = 180.0) -> E:
        """Send all calls back to the revision that had all of them before. Raises Conflict when there is none."""

        async def back() -> None:
            written = await self._client.rollback(self.owner, self.name)
            await until_applied(self._client, written, timeout=timeout)

        sync.run(back())
        self._metadata.clear()
        return self

    def scale(
        self: E,
        replicas: int | None = None,
        *,
        min: int | None = None,  # noqa: A002 — the words of the API
        max: int | None = None,  # noqa: A002
        timeout: float = 180.0,
    ) -> E:
        """`replicas` of each revision that runs, or from `min` to `max`; returns when they are ready."""
        low, high = (replicas, replicas) if replicas is not None else (min, max)
        if low is None and high is None:
            raise InvalidInput("no number of replicas", remedy="Use .scale(2), or .scale(min=1, max=4).")

        def change(spec: api.EndpointSpec) -> api.EndpointSpec:
            now = spec.scaling
            lowest = low if low is not None else now.min
            highest = high if high is not None else (now.max if now.max >= lowest else lowest)
            return spec.model_copy(update={"scaling": Scaling(min=lowest, max=highest)})

        return self._change(change, timeout)

    def _change(self: E, change: Any, timeout: float) -> E:
        async def apply() -> None:
            written = await self._client.change_endpoint(self.owner, self.name, change)
            serving = max(written.spec.traffic, key=lambda t: t.percent).revision
            await until_applied(self._client, written, revision=serving, timeout=timeout)

        sync.run(apply())
        self._metadata.clear()
        return self

    def logs(self, *, revision: int | None = None, lines: int = 200) -> str:
        """The replicas' last log lines, oldest first."""
        found = sync.run(self._client.logs(self.owner, self.name, revision=revision, lines=lines)).items
        parts = [f"── revision {log.revision}, replica {log.replica}\n" + "\n".join(log.lines) for log in found]
        return "\n".join(parts)

    def metrics(self) -> list[api.RevisionMetrics]:
        """Calls, errors and latencies (ms) of each revision since its replicas started."""
        return sync.run(self._client.metrics(self.owner, self.name)).items

    def create_key(self, name: str, *, expires_in: int | None = None) -> api.Key:
        """A named key for callers outside. Its `secret` is shown this once; `expires_in` in seconds."""
        return sync.run(self._client.create_key(self.owner, self.name, name, expires_in=expires_in))

    def keys(self) -> list[api.Key]:
        """Its keys, without their secrets."""
        return sync.run(self._client.list_keys(self.owner, self.name))

    def delete(self, *, timeout: float = 60.0) -> None:
        """Stop and forget it; returns when nothing of it runs. Its models stay in the registry."""

        async def gone() -> None:
            await self._client.delete_endpoint(self.owner, self.name)
            await until_gone(self._client, self.owner, self.name, timeout=timeout)

        sync.run(gone())

    def __repr__(self) -> str:
        return f"Endpoint({self.owner}/{self.name}, {self.url})"

    def _repr_html_(self) -> str:
        return html(self.resource, self.url)


@functools.cache
def default_client() -> AsyncClient:
    """The client of this process's environment; kept, so that connections and the call token are used again."""
    return AsyncClient()


def endpoint(name: str, owner: str | None = None) -> Endpoint:
    """The endpoint `name`, or `owner/name`, of the caller by default. Raises NotFound."""
    client = default_client()
    first, slash, rest = name.partition("/")
    if slash:
        owner, name = first, rest
    check_label(name)
    whose = owner or sync.run(client.me()).owner
    sync.run(client.get_endpoint(whose, name))
    return Endpoint(client, whose, name)


def endpoints(owner: str | None = None) -> list[Endpoint]:
    """The endpoints that the caller may see."""
    client = default_client()
    return [Endpoint(client, found.owner, found.name) for found in sync.run(client.list_endpoints(owner))]
