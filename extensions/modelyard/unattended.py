"""Runs, for `async` code: a notebook executed unattended, in a workload of its own."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.errors import InvalidInput, NotFound, RunFailed
from modelyard.polling import until
from modelyard.transport import Request
from modelyard_api.parameters import check
from modelyard_api.quantities import parse_bytes
from modelyard_api.resources import Resources
from modelyard_api.runs import ResultOf, RunList, RunLog, RunSpec, RunState, RunStatus, SnapshotLimits
from modelyard_api.runs import Run as Resource

if TYPE_CHECKING:
    from modelyard.client import AsyncClient
    from modelyard.snapshots import Snapshot

_SUBMIT_PATIENCE = 30.0


@dataclass(frozen=True)
class Submission:
    """What `yard.submit` takes; see there. `files`: further ones that go with the notebook."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    cpu: float | None = None
    memory: int | str | None = None
    gpu: int = 0
    shm: int | str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] | Sequence[str | Mapping[str, str]] = ()
    timeout: float | None = None
    retries: int = 0
    backoff: float = 30.0
    priority: int = 0
    needs: Sequence[Any] = ()
    name: str = ""
    owner: str | None = None
    files: Sequence[str | Path] = ()
    idempotency_key: str | None = None

    def spec(self, kind: Mapping[str, Any]) -> RunSpec:
        """The spec, with `kind`, such as {"notebook": …}. A parameter that is `other_run.result("auc")` becomes the
        result that the other run will have recorded."""
        from pydantic import ValidationError

        plain = {name: value for name, value in self.parameters.items() if not isinstance(value, Result)}
        later = {name: value for name, value in self.parameters.items() if isinstance(value, Result)}
        needs = [getattr(one, "id", one) for one in self.needs]
        needs += [result.run for result in later.values() if result.run not in needs]
        members: dict[str, Any] = {
            "parameters": _json(plain),
            "environment": dict(self.environment),
            "secrets": _uses(self.secrets),
            "needs": list(dict.fromkeys(needs)),
            "results_of": {name: ResultOf(run=r.run, result=r.name) for name, r in later.items()},
            "resources": self._resources(),
            "shm": None if self.shm is None else parse_bytes(self.shm),
        }
        same = ("profile", "timeout", "retries", "backoff", "priority", "name")
        members |= {name: getattr(self, name) for name in same}
        try:
            return RunSpec(**kind, **members)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            said = first["msg"].removeprefix("Value error, ")
            raise InvalidInput(f"{where}: {said}" if where else said) from None

    def _resources(self) -> Resources | None:
        if self.cpu is None and self.memory is None and not self.gpu:
            return None
        given = {"cpu": self.cpu, "memory": None if self.memory is None else parse_bytes(self.memory), "gpu": self.gpu}
        return Resources(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Result:
    """A result that a run records, or will have recorded."""

    run: str
    name: str


class AsyncRun:
    """One run, as it was when it was last read; `refresh` reads it again."""

    def __init__(self, client: AsyncClient, resource: Resource) -> None:
        self._client = client
        self.resource = resource

    @property
    def id(self) -> str:
        """Its id."""
        return self.resource.id

    @property
    def state(self) -> RunState:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
        return self.resource.status.state

    @property
    def status(self) -> RunStatus:
        """All that is observed."""
        return self.resource.status

    @property
    def results(self) -> dict[str, Any]:
        """What the notebook recorded by `yard.record`."""
        return dict(self.resource.status.results)

    def result(self, name: str) -> Result:
        """A parameter for a run that needs this one: what this one records by that name."""
        return Result(self.id, name)

    async def refresh(self) -> AsyncRun:
        """Itself, as it is now."""
        self.resource = await self._client.get(f"/runs/{self.id}", Resource)
        return self

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109
        told: Callable[[RunStatus], None] | None = None,
    ) -> AsyncRun:
        """Itself, once it has succeeded. RunFailed where it failed or was cancelled; TimedOut, and it goes on."""

        async def ended() -> bool:
            await self.refresh()
            if told is not None:
                told(self.status)
            return self.state.ended

        await until(ended, timeout, lambda: f"run {self.id} is {self.state.value}")
        if self.state is not RunState.succeeded:
            raise RunFailed(self.resource)
        return self

    async def cancel(self) -> AsyncRun:
        """Tell it to end; what it made so far is kept."""
        answer = await self._client.send(Request("DELETE", f"/runs/{self.id}"))
        self.resource = Resource.model_validate_json(answer.content)
        return self

    async def delete(self) -> None:
        """Away with it, and with its log, output and results: for good. Conflict where it has not ended."""
        await self._client.send(Request("DELETE", f"/runs/{self.id}", query={"remove": "true"}))

    async def logs(self, lines: int = 200, attempt: int | None = None) -> list[str]:
        """The last lines of an attempt's log, by default of the last one."""
        query = {"lines": lines} | ({} if attempt is None else {"attempt": attempt})
        request = Request("GET", f"/runs/{self.id}/logs", query=query)
        return list((await self._client.fetch(request, RunLog)).lines)

    async def notebook(self, *, html: bool = False, attempt: int | None = None) -> Any:
        """The output notebook as far as it is: a dict, as in an .ipynb file, or with `html` a page. NotFound before."""
        query = {"format": "html" if html else "ipynb"} | ({} if attempt is None else {"attempt": str(attempt)})
        answer = await self._client.send(Request("GET", f"/runs/{self.id}/notebook", query=query))
        return answer.text if html else json.loads(answer.content)


async def submit(client: AsyncClient, path: str | Path, submission: Submission) -> AsyncRun:
    """A run of a notebook, queued. Its parameters, its kernel and its files are checked before anything starts."""
    spec = await prepared(client, path, submission)
    return await post(client.patient(max(client.patience, _SUBMIT_PATIENCE)), spec, submission)


async def prepared(
    client: AsyncClient, path: str | Path, submission: Submission, later: frozenset[str] = frozenset()
) -> RunSpec:
    """What a run of the notebook is, whose snapshot is uploaded; parameters are checked. `later`: those that come when
    it starts."""
    client = client.patient(max(client.patience, _SUBMIT_PATIENCE))
    snapshot = await taken(client, Path(path), submission.files)
    spec = submission.spec({"kind": "notebook", "notebook": snapshot.work})
    check(snapshot.work.declared or (), spec.parameters, later | frozenset(spec.results_of))
    query = {} if submission.owner is None else {"owner": submission.owner}
    where = f"/snapshots/{snapshot.work.snapshot}"
    await client.send(Request("PUT", where, query=query, content=snapshot.content))
    return spec


async def taken(client: AsyncClient, path: Path, files: Sequence[str | Path] = ()) -> Snapshot:
    """The snapshot of a notebook, as large as the hub service takes one. Errors: see `snapshots.take`."""
    from modelyard import snapshots

    try:
        limit = (await client.get("/snapshots", SnapshotLimits)).largest
    except NotFound:  # an older one, whose limit was fixed
        limit = snapshots.LARGEST
    return await asyncio.to_thread(snapshots.take, path, files, limit)


async def post(client: AsyncClient, spec: RunSpec, submission: Submission) -> AsyncRun:
    """A run of any kind, queued: once, also where its answer was lost."""
    body = {
        "spec": spec.model_dump(mode="json"),
        "owner": submission.owner,
        "idempotency_key": submission.idempotency_key or uuid.uuid4().hex,
    }
    # The key makes it safe to send again.
    request = Request("POST", "/runs", body=body, headers={"If-None-Match": "*"})
    return AsyncRun(client, await client.fetch(request, Resource))


async def run(client: AsyncClient, run_id: str) -> AsyncRun:
    """The run of that id; NotFound."""
    return AsyncRun(client, await client.get(f"/runs/{run_id}", Resource))


async def runs(client: AsyncClient, **query: Any) -> list[AsyncRun]:
    """Runs of the user and of their groups, newest first: members of `GET /runs`'s query."""
    given = {name: value for name, value in query.items() if value is not None}
    found = await client.fetch(Request("GET", "/runs", query=given), RunList)
    return [AsyncRun(client, item) for item in found.items]


def _uses(secrets: Mapping[str, str] | Sequence[str | Mapping[str, str]]) -> list[dict[str, str]]:
    """Secrets by the variables that hold them; or names, for `yard.secret(name)` in the run; or as the API has them."""
    if isinstance(secrets, Mapping):
        return [{"secret": secret, "env": variable} for variable, secret in secrets.items()]
    if isinstance(secrets, str):
        raise InvalidInput(f"secrets={secrets!r} is no list", remedy=f"secrets=[{secrets!r}]")
    return [{"secret": one, "file": file_of(one)} if isinstance(one, str) else dict(one) for one in secrets]


def file_of(secret: str) -> str:
    """The file that holds a secret in the run, where nobody names another one."""
    return secret.replace("/", ".")


def _json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(parameters), allow_nan=False, default=_number))
        return found
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"a parameter cannot be sent: {error}", remedy="Give numbers, texts, and lists and dicts of them."
        ) from None


def _number(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no number, text, list or dict")
