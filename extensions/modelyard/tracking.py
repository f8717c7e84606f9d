"""MLflow over its REST API: experiments, runs, artifacts, the registry.

Not through MLflow's client: importing it takes longer than a whole publish, and its uploads go one file at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from modelyard.errors import Conflict, InvalidInput, MalformedRequest, ModelyardError, NotFound, Unsupported
from modelyard.transport import Request
from modelyard_api.models import MANIFEST_PATH, PackageManifest

if TYPE_CHECKING:
    from modelyard.client import AsyncClient

_UPLOADS = 8
_BATCH = 100
_METRICS = 900
"""Of a batch; MLflow takes 1,000 entries with parameters and tags."""
_VALUE = 500


@dataclass(frozen=True)
class TrackedRun:
    """A run of MLflow: its id, its experiment's id, the URI of its artifacts."""

    id: str
    experiment: str
    artifacts: str


@dataclass(frozen=True)
class Finished:
    """All that is told of a run that has ended. Times are seconds since 1970; `status` FINISHED, FAILED or KILLED;
    `curves`: (step, value) by name, which become histories of metrics; `files` become artifacts."""

    name: str
    started: float
    ended: float
    status: str = "FINISHED"
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    files: Sequence[Path] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracking:
    """MLflow behind Modelyard's sign-in, as the client's user."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._base = f"{client.connection.mlflow}/api/2.0"

    def link(self, run: TrackedRun) -> str:
        """The page of a run."""
        return f"{self._client.connection.mlflow_page}/#/experiments/{run.experiment}/runs/{run.id}"

    def model_link(self, model: str, version: str) -> str:
        """The page of a model version."""
        return f"{self._client.connection.mlflow_page}/#/models/{quote(model)}/versions/{version}"

    async def experiment(self, name: str) -> str:
        """The id of the experiment of that name, made when there is none."""
        try:
            return await self._experiment(name)
        except NotFound:
            try:
                return str((await self._post("experiments/create", {"name": name}))["experiment_id"])
            except Conflict:  # somebody made it in between
                return await self._experiment(name)

    async def _experiment(self, name: str) -> str:
        found = await self._get("experiments/get-by-name", experiment_name=name)
        return str(found["experiment"]["experiment_id"])

    async def run(self, run_id: str) -> TrackedRun:
        """A run by its id; NotFound."""
        return _run((await self._get("runs/get", run_id=run_id))["run"])

    async def start(
        self, experiment: str, name: str, started: float | None = None, tags: Mapping[str, str] | None = None
    ) -> TrackedRun:
        """A new run in the experiment of that id."""
        begun = int(1000 * (started or time.time()))
        all_tags = {"mlflow.user": (await self._client.me()).username, **(tags or {})}
        given = [{"key": key, "value": value} for key, value in all_tags.items()]
        body = {"experiment_id": experiment, "run_name": name, "start_time": begun, "tags": given}
        return _run((await self._post("runs/create", body))["run"])

    async def finish(self, run: TrackedRun, status: str = "FINISHED", ended: float | None = None) -> None:
        """End a run."""
        body = {"run_id": run.id, "status": status, "end_time": int(1000 * (ended or time.time()))}
        await self._post("runs/update", body)

    async def record(self, experiment_name: str, finished: Finished) -> TrackedRun:
        """A run that has ended, with all that it logged."""
        run = await self.start(await self.experiment(experiment_name), finished.name, finished.started)
        at = int(1000 * finished.ended)
        metrics = [_metric(name, value, at, 0) for name, value in finished.metrics.items()]
        metrics += [_metric(name, v, at, round(step)) for name, points in finished.curves.items() for step, v in points]
        tags = [{"key": k, "value": v} for k, v in finished.tags.items()]
        params = [{"key": k[:250], "value": v[:_VALUE]} for k, v in finished.params.items()]
        for start in range(0, max(len(params), 1), _BATCH):
            first = start == 0
            body = {"run_id": run.id, "params": params[start : start + _BATCH]}
            body |= {"metrics": metrics[:_METRICS], "tags": tags} if first else {}
            await self._post("runs/log-batch", body)
        for start in range(_METRICS, len(metrics), _METRICS):
            await self._post("runs/log-batch", {"run_id": run.id, "metrics": metrics[start : start + _METRICS]})
        await self._put(run, [(file, file.name) for file in finished.files])
        await self.finish(run, finished.status, finished.ended)
        return run

    async def complete(
        self,
        run: TrackedRun,
        params: Mapping[str, str],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        """Log these of a run that goes on."""
        at = int(1000 * time.time())
        given = [{"key": k[:250], "value": v[:_VALUE]} for k, v in params.items()]
        body = {
            "run_id": run.id,
            "params": given[:_BATCH],
            "metrics": [_metric(name, value, at, 0) for name, value in metrics.items()][:_METRICS],
            "tags": [{"key": k, "value": v} for k, v in tags.items()],
        }
        await self._post("runs/log-batch", body)

    async def upload(self, run: TrackedRun, folder: Path, path: str) -> str:
        """Put all files of `folder` at `path` of the run's artifacts, several at a time; the URI of that place."""
        files = await asyncio.to_thread(lambda: [f for f in sorted(folder.rglob("*")) if f.is_file()])
        await self._put(run, [(file, f"{path}/{file.relative_to(folder).as_posix()}") for file in files])
        return f"{run.artifacts}/{path}"

    async def _put(self, run: TrackedRun, files: Sequence[tuple[Path, str]]) -> None:
        """Files and the paths that they get among the run's artifacts."""
        gate = asyncio.Semaphore(_UPLOADS)

        async def put(file: Path, path: str) -> None:
            async with gate:
                content = await asyncio.to_thread(file.read_bytes)
                url = self._artifact(f"{run.artifacts}/{path}")
                headers = {"Content-Type": "application/octet-stream"}
                await self._client.send(Request("PUT", url, content=content, headers=headers))

        await _all(put(file, path) for file, path in files)

    async def register(self, model: str, source: str, run: TrackedRun) -> str:
        """A new version of the registered model, which is made when there is none; its number."""
        try:
            await self._get("registered-models/get", name=model)
        except NotFound:
            with contextlib.suppress(Conflict):  # somebody made it in between
                await self._post("registered-models/create", {"name": model})
        body = {"name": model, "source": source, "run_id": run.id}
        return str((await self._post("model-versions/create", body))["model_version"]["version"])

    async def note(self, model: str, version: str, text: str) -> None:
        """Put a text where the registry describes a version."""
        body = {"name": model, "version": version, "description": text}
        await self._ask(Request("PATCH", f"{self._base}/mlflow/model-versions/update", body=body))

    async def manifest(self, model: str, version: str) -> PackageManifest:
        """The manifest of a registered version's package. NotFound says what there is."""
        found = await self._version(model, version)
        url = self._artifact(f"{found['model_version']['source']}/{MANIFEST_PATH}")
        return PackageManifest.model_validate_json((await self._client.send(Request("GET", url))).content)

    async def version(self, model: str, alias: str = "") -> str:
        """The number of the version that has the alias, or of the newest one. NotFound."""
        if alias:
            try:
                found = await self._get("registered-models/alias", name=model, alias=alias)
            except (NotFound, InvalidInput, MalformedRequest) as error:
                raise await self._missing(model, f"alias {alias!r}") from error
            return str(found["model_version"]["version"])
        versions = await self._versions(model)
        if not versions:
            raise await self._missing(model, "version")
        return str(max(versions))

    async def _version(self, model: str, version: str) -> Any:
        try:
            return await self._get("model-versions/get", name=model, version=version)
        except NotFound as error:
            raise await self._missing(model, f"version {version}") from error

    async def _versions(self, model: str) -> list[int]:
        query = {"filter": f"name='{model.replace(chr(39), '')}'", "max_results": "1000"}
        found = (await self._get("model-versions/search", **query)).get("model_versions", [])
        return sorted(int(one["version"]) for one in found)

    async def _missing(self, model: str, what: str) -> NotFound:
        """What to say of a model, or of a version of one, that is not there."""
        versions = await self._versions(model)
        owner = model.partition(".")[0]
        if versions:
            listed = ", ".join(map(str, versions[-20:]))
            return NotFound(f"the model {model!r} has no {what}", remedy=f"It has the versions {listed}.")
        query = {"filter": f"name LIKE '{owner.replace(chr(39), '')}.%'", "max_results": "20"}
        others = (await self._get("registered-models/search", **query)).get("registered_models", [])
        names = ", ".join(str(one["name"]) for one in others)
        known = f"{owner!r} has {names}." if names else f"{owner!r} has none yet: yard.publish(…) makes one."
        return NotFound(f"there is no model {model!r} that has a version", remedy=known)

    async def download(self, model: str, version: str, folder: Path) -> None:
        """All files of a registered version's package, into the new folder. NotFound says what there is."""
        source = await self._source(model, version)
        gate = asyncio.Semaphore(_UPLOADS)

        async def get(path: str) -> None:
            async with gate:
                answer = await self._client.send(Request("GET", self._artifact(f"{source}/{path}")))
            await asyncio.to_thread(_write, folder, path, answer.content)

        await _all(get(path) for path in await self._files(source))

    async def _source(self, model: str, version: str) -> str:
        """Where a version's files are; MLflow's own clients register `models:/…` of a logged model."""
        found = await self._version(model, version)
        source = str(found["model_version"]["source"]).rstrip("/")
        if urlsplit(source).scheme == "mlflow-artifacts":
            return source
        told = await self._get("model-versions/get-download-uri", name=model, version=version)
        return str(told["artifact_uri"]).rstrip("/")

    async def _files(self, source: str, below: str = "") -> list[str]:
        base = self._artifact(source).removeprefix(f"{self._base}/mlflow-artifacts/artifacts/")
        where = f"{self._base}/mlflow-artifacts/artifacts"
        path = unquote(base) + (f"/{below}" if below else "")
        answer = (await self._client.send(Request("GET", where, query={"path": path}))).json()
        found = []
        for entry in answer.get("files", ()):
            name = str(entry["path"]).rsplit("/", 1)[-1]
            inside = f"{below}/{name}" if below else name
            found += await self._files(source, inside) if entry.get("is_dir") else [inside]
        return found

    def _artifact(self, uri: str) -> str:
        parts = urlsplit(uri)
        if parts.scheme != "mlflow-artifacts":
            raise Unsupported(f"MLflow keeps artifacts at {uri}", remedy="Let it serve them: --serve-artifacts.")
        return f"{self._base}/mlflow-artifacts/artifacts/{quote(parts.path.lstrip('/'))}"

    async def _get(self, what: str, **query: str) -> Any:
        return await self._ask(Request("GET", f"{self._base}/mlflow/{what}", query=query))

    async def _post(self, what: str, body: Any) -> Any:
        return await self._ask(Request("POST", f"{self._base}/mlflow/{what}", body=body))

    async def _ask(self, request: Request) -> Any:
        try:
            return (await self._client.send(request)).json()
        except ModelyardError as error:
            if "RESOURCE_ALREADY_EXISTS" in str(error.extra.get("error_code", "")) or "already exists" in error.detail:
                raise Conflict(error.detail) from error
            raise


def _write(folder: Path, path: str, content: bytes) -> None:
    target = folder / path
    if not target.resolve().is_relative_to(folder.resolve()):
        raise Unsupported(f"the package has a file outside of its folder: {path!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _metric(name: str, value: float, at: int, step: int) -> dict[str, Any]:
    return {"key": name, "value": value, "timestamp": at, "step": step}


def _run(document: Mapping[str, Any]) -> TrackedRun:
    info = document["info"]
    return TrackedRun(info["run_id"], info["experiment_id"], info["artifact_uri"].rstrip("/"))


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Everything at once; the first error is raised, and what still runs is cancelled."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
