"""`Endpoint`: what `yard.publish` and `yard.endpoint` return. The blocking face of `AsyncEndpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard import changes
from modelyard.command import CommandLine
from modelyard.errors import ModelyardError
from modelyard.loop import run
from modelyard.remote import AsyncEndpoint
from modelyard.tables import Inference
from modelyard_api.endpoints import Endpoint as Resource
from modelyard_api.endpoints import EndpointMetrics, EndpointSpec, EndpointStatus, Key, RevisionSpec

_SETTLE = 120.0


class Endpoint:
    """A stable URL with a model behind it. Shown in a notebook it tells its state as it is now.

    `wait=` of what changes it: seconds until the change must be observed (TimedOut then; the change stays), 0 not to
    wait.
    """

    def __init__(self, remote: AsyncEndpoint) -> None:
        self._remote = remote

    @property
    def remote(self) -> AsyncEndpoint:
        """The same for `async` code."""
        return self._remote

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self._remote.name

    @property
    def owner(self) -> str:
        """The user or group that it belongs to."""
        return self._remote.owner

    @property
    def url(self) -> str:
        """Where callers reach it, without a trailing slash."""
        return self._remote.url

    @property
    def status(self) -> EndpointStatus:
        """What is observed now: conditions, revisions with their replicas and applied traffic."""
        return run(self._remote.status())

    @property
    def spec(self) -> EndpointSpec:
        """What is wanted now."""
        return run(self._remote.read()).spec

    @property
    def traffic(self) -> dict[int, int]:
        """Percent of the calls by revision number, as wanted."""
        return changes.traffic(self.spec)

    @property
    def revisions(self) -> tuple[RevisionSpec, ...]:
        """All revisions, oldest first: `number`, `model`, `version`, `resources`, `active`."""
        return run(self._remote.revisions())

    @property
    def candidate(self) -> int | None:
        """The number of the newest revision, when it has not all the traffic."""
        spec = self.spec
        newest = max(r.number for r in spec.revisions)
        return None if spec.percent(newest) == 100 else newest

    def predict(self, X: Any, *, revision: int | None = None) -> Any:
        """What the model's `predict(X)` gives; see `AsyncEndpoint.predict`."""
        return run(self._remote.predict(X, revision=revision))

    def predict_proba(self, X: Any, *, revision: int | None = None) -> Any:
        """A classifier's probabilities, of shape (rows, classes)."""
        return run(self._remote.predict_proba(X, revision=revision))

    def infer(self, X: Any, *, revision: int | None = None) -> Inference:
        """All that the model answers, and which version it was; see `AsyncEndpoint.infer`."""
        return run(self._remote.infer(X, revision=revision))

    def curl(self, X: Any = None, *, token: str | None = None) -> CommandLine:
        """A line for a terminal that asks the endpoint; see `AsyncEndpoint.curl`. `print(endpoint.curl())`."""
        return run(self._remote.curl(X, token=token))

    def canary(self, version: int | str, percent: int = 10, *, wait: float = _SETTLE) -> Endpoint:
        """Give `percent` of the traffic to the revision of that model version, the rest to the one that has most."""
        run(self._remote.canary(version, percent, wait=wait))
        return self

    def split(
        self, shares: Mapping[int, int], *, expected: Mapping[int, int] | None = None, wait: float = _SETTLE
    ) -> Endpoint:
        """Give each revision its percent of the calls, such as `{1: 90, 2: 10}`; see `AsyncEndpoint.split`."""
        run(self._remote.split(shares, expected=expected, wait=wait))
        return self

    def promote(self, version: int | str | None = None, *, wait: float = _SETTLE) -> Endpoint:
        """Give all traffic to the revision of that model version; None: to the newest."""
        run(self._remote.promote(version, wait=wait))
        return self

    def rollback(self, *, wait: float = _SETTLE) -> Endpoint:
        """All traffic back to the revision that had all of it before. Conflict says why there is none."""
        run(self._remote.rollback(wait=wait))
        return self

    def scale(
        self, replicas: int | None = None, *, min: int | None = None, max: int | None = None, wait: float = _SETTLE
    ) -> Endpoint:
        """Run `replicas` of each active revision, or from `min` to `max`."""
        run(self._remote.scale(replicas, min=min, max=max, wait=wait))
        return self

    def logs(self, *, revision: int | None = None, lines: int = 200) -> str:
        """The last lines of each replica as text, oldest first."""
        found = run(self._remote.logs(revision=revision, lines=lines)).items
        blocks = [(f"── revision {log.revision}, replica {log.replica} ──", log.lines) for log in found]
        return _Text("\n".join("\n".join([title, *text]) for title, text in blocks))

    def metrics(self) -> EndpointMetrics:
        """Requests, errors, latency (ms) and memory (bytes) per revision, since its replicas started."""
        return run(self._remote.metrics())

    def keys(self) -> list[Key]:
        """The named keys of callers, without their secrets."""
        return run(self._remote.keys())

    def create_key(self, name: str, expires_in: int | None = None) -> Key:
        """A key for a caller outside; its `secret` is answered this once. `expires_in` seconds; None: it lasts."""
        return run(self._remote.create_key(name, expires_in))

    def remove_key(self, key: Key | str) -> None:
        """Make a key useless; by its id, its name, or itself."""
        run(self._remote.remove_key(key))

    def delete(self, *, wait: float = 60.0) -> None:
        """Stop it and forget it; model versions stay in the registry."""
        run(self._remote.delete(wait=wait))

    def _now(self) -> tuple[Resource | None, str]:
        """The endpoint for showing it, and why it is not the present one."""
        try:
            return run(self._remote.read()), ""
        except ModelyardError as error:
            return self._remote.last, str(error)

    def __repr__(self) -> str:
        from modelyard.portrait import as_text

        resource, problem = self._now()
        return as_text(self.owner, self.name, self.url, resource, problem)

    def _repr_html_(self) -> str:
        from modelyard.portrait import as_html

        resource, problem = self._now()
        return as_html(self.owner, self.name, self.url, resource, problem)


class _Text(str):
    """Text that a notebook cell shows with its line ends."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
