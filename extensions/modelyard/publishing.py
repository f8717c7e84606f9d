"""A model in, a ready endpoint out: package and try it, upload it, register it, write the endpoint, wait.

The endpoint changes in one write, after the package is in the registry; whoever is interrupted before leaves a
version in the registry at most, and after that write the hub service finishes by itself. A revision that does not
become ready is taken away again: with a new endpoint goes the whole endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard import changes
from modelyard.client import split_name
from modelyard.errors import (
    Conflict,
    Forbidden,
    InvalidTraffic,
    ModelyardError,
    NotFound,
    PublishFailed,
    StorageFull,
    TimedOut,
)
from modelyard.remote import AsyncEndpoint
from modelyard.sizes import of_replica
from modelyard.standstill import Hope, Say, Steps, failed
from modelyard.tracking import TrackedRun, Tracking
from modelyard.transport import Request
from modelyard_api.endpoints import Endpoint as Resource
from modelyard_api.endpoints import EndpointSpec, EndpointWrite, Identity, RevisionSpec, TrafficTarget
from modelyard_api.models import MANIFEST_PATH, PackageManifest
from modelyard_api.names import model_owner, registered_model
from modelyard_api.resources import MiB, Resources, Scaling
from modelyard_api.scoring import parse_model

if TYPE_CHECKING:
    from modelyard.client import AsyncClient
    from modelyard.training.run import TrainingRun

_PATIENCE = 60.0
_GIVE_UP = {"CrashLoop", "NoPackage"}


@dataclass(frozen=True)
class PublishOptions:
    """What `yard.publish` may be told; see there."""

    example: Any = None
    owner: str | None = None
    traffic: int | None = None
    requirements: tuple[str, ...] | None = None
    code_paths: tuple[str | Path, ...] = ()
    files: str | Path | None = None
    training: Any = None
    cpu: float | None = None
    memory: int | None = None
    gpu: int | None = None
    profile: str | None = None
    environment: Mapping[str, str] | None = None
    description: str | None = None
    replicas: int | None = None
    wait: float = 180.0

    def resources(self, before: Resources) -> Resources:
        """The resources of the revision: as given, else as before. `memory` is in MiB."""
        given = {"cpu": self.cpu, "memory": None if self.memory is None else int(self.memory * MiB), "gpu": self.gpu}
        return changes.checked(
            Resources, **{**before.model_dump(), **{k: v for k, v in given.items() if v is not None}}
        )


@dataclass
class _Job:
    """One publish on its way."""

    client: AsyncClient
    model: Any
    owner: str
    name: str
    options: PublishOptions
    say: Say
    run: TrainingRun | None = None
    tracking: Tracking = field(init=False)

    def __post_init__(self) -> None:
        self.tracking = Tracking(self.client)


async def publish(
    client: AsyncClient, model: Any, name: str, options: PublishOptions | None, say: Say | None, **fields: Any
) -> AsyncEndpoint:
    """See `modelyard.sync.publish`."""
    chosen = replace(options or PublishOptions(), **fields)
    owner, name = split_name(name, chosen.owner)
    _check_traffic(chosen.traffic)
    steps = Steps(say or (lambda step, detail: None))
    patient = client.patient(_PATIENCE, steps.waiting) if client.patience else client
    me = await patient.me()
    owner = owner or me.owner
    _check_owner(owner, me)
    if chosen.profile is not None:
        size = await of_replica(patient, chosen.profile, chosen.cpu, chosen.memory)
        chosen = replace(chosen, cpu=size.cpu, memory=size.memory // MiB)
    job = _Job(patient, model, owner, name, chosen, steps)
    if _is_run(model):
        job.run = model
        job.model = await asyncio.to_thread(model.wait_model)
        if chosen.example is None:
            job.options = replace(chosen, example=model.example)
    folder = await asyncio.to_thread(_folder)
    try:
        if not (_is_registered(model) and await _fetched(job, folder, me)):
            await _package(job, folder / "package")
        version = await _register(job, folder / "package")
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    made = await _serve(job, version)
    return AsyncEndpoint(client, owner, name, made.last)  # whoever asks it later is as patient as they were


def _folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="modelyard-"))
    except OSError as error:  # ENOSPC, or no folder at all in which a file can be written
        raise StorageFull(
            f"no temporary folder can be made: {error}", remedy="Free disk space, or name another folder in TMPDIR."
        ) from error


def _is_run(model: Any) -> bool:
    from modelyard.training.run import TrainingRun

    return isinstance(model, TrainingRun)


def _is_registered(model: Any) -> bool:
    return isinstance(model, str) and model.startswith("models:/")


async def _fetched(job: _Job, folder: Path, me: Identity) -> bool:
    """Bring the registered version that the job names. Whether it is a package already; else the job has its model."""
    ref = parse_model(job.model, me.owner)
    version = ref.version or await job.tracking.version(ref.name, ref.alias)
    job.say("package", f"fetching version {version} of {ref.name}")
    await job.tracking.download(ref.name, version, folder / "logged")
    if (folder / "logged" / MANIFEST_PATH).is_file():
        (folder / "logged").replace(folder / "package")
        return True

    def load() -> tuple[Any, Any]:
        from modelyard.packaging.logged import load_logged

        return load_logged(folder / "logged", pickles=model_owner(ref.name) in (me.owner, *me.groups))

    job.model, example = await asyncio.to_thread(load)
    if job.options.example is None:
        job.options = replace(job.options, example=example)
    return False


def _check_traffic(traffic: int | None) -> None:
    if traffic is not None and (isinstance(traffic, bool) or not isinstance(traffic, int) or not 0 <= traffic <= 100):
        raise InvalidTraffic(f"traffic={traffic!r} is not a whole number from 0 to 100", remedy="Percent, such as 10.")


def _check_owner(owner: str, me: Identity) -> None:
    if owner != me.owner and owner not in me.groups and not me.admin:
        yours = ", ".join([me.owner, *me.groups])
        raise Forbidden(f"you cannot publish for {owner!r}", remedy=f"You can for: {yours}.")


async def _package(job: _Job, folder: Path) -> PackageManifest:
    options = job.options
    job.say("package", type(job.model).__name__)

    def build() -> PackageManifest:
        from modelyard.packaging import build

        return build(
            job.model,
            options.example,
            directory=folder,
            requirements=None if options.requirements is None else tuple(options.requirements),
            code_paths=tuple(options.code_paths),
            files=options.files,
            training=options.training,
            progress=lambda step, detail: job.say("package", f"{step}: {detail}"),
        )

    manifest = await asyncio.to_thread(build)
    job.say("package", f"as {manifest.flavor}, {manifest.size_bytes / 1024:,.0f} KiB, tried in a fresh process")
    return manifest


async def _register(job: _Job, folder: Path) -> str:
    model = registered_model(job.owner, job.name)
    job.say("upload", "to MLflow")
    run, own = await _tracked(job)
    source = await job.tracking.upload(run, folder, f"packages/{job.name}-{time.time_ns():x}")
    version = await job.tracking.register(model, source, run)
    if own:
        await job.tracking.finish(run)
    job.say("register", f"{model} version {version}")
    return version


async def _tracked(job: _Job) -> tuple[TrackedRun, bool]:
    """The run of MLflow that gets the package, and whether it is made here: training's own, where that has one."""
    known = job.run.mlflow_run if job.run is not None else None
    if known is not None:
        with contextlib.suppress(NotFound):
            return await job.tracking.run(known), False
    experiment = await job.tracking.experiment(f"{job.owner}/{job.name}")
    return await job.tracking.start(experiment, f"publish {job.name}"), True


async def _serve(job: _Job, version: str) -> AsyncEndpoint:
    endpoint = AsyncEndpoint(job.client, job.owner, job.name)
    while True:
        try:
            now = await endpoint.read()
        except NotFound:
            if await _create(job, endpoint, version):
                return endpoint
            continue  # somebody else made it in between
        if now.deleting:
            job.say("endpoint", "waiting until the deleted one of that name is gone")
            await _gone(endpoint, job.options.wait)
            continue
        await _add(job, endpoint, version)
        return endpoint


async def _gone(endpoint: AsyncEndpoint, wait: float) -> None:
    with contextlib.suppress(NotFound):
        await endpoint.until(lambda now: not now.deleting, wait or _PATIENCE, "it is still being deleted")


async def _create(job: _Job, endpoint: AsyncEndpoint, version: str) -> bool:
    """Write the new endpoint and see it ready; False when it exists already."""
    if job.options.traffic is not None and job.options.traffic != 100:
        raise InvalidTraffic(
            f"{job.owner}/{job.name} is new, so its only revision gets all traffic, not {job.options.traffic} %",
            remedy="Leave traffic= out.",
        )
    spec = _first(job, version)
    body = EndpointWrite(spec=spec).model_dump(mode="json")
    job.say("endpoint", f"new endpoint {job.owner}/{job.name}")
    try:
        request = Request("PUT", endpoint.path, body=body, headers={"If-None-Match": "*"})
        endpoint.last = await job.client.fetch(request, Resource)
    except Conflict:
        return False
    try:
        await _ready(job, endpoint, 1)
    except (PublishFailed, TimedOut) as error:
        await _undo(endpoint.delete(wait=0), error, "the new endpoint is removed again")
        raise
    return True


def _first(job: _Job, version: str) -> EndpointSpec:
    options = job.options
    revision = changes.checked(
        RevisionSpec,
        number=1,
        model=registered_model(job.owner, job.name),
        version=version,
        resources=options.resources(Resources()),
        environment=dict(options.environment or {}),
    )
    scaling = changes.checked(Scaling, min=options.replicas or 1, max=options.replicas or 1)
    return changes.checked(
        EndpointSpec,
        description=options.description or "",
        revisions=(revision,),
        traffic=(TrafficTarget(revision=1, percent=100),),
        scaling=scaling,
    )


async def _add(job: _Job, endpoint: AsyncEndpoint, version: str) -> None:
    """Add the candidate without traffic, see it ready, then give it the traffic that was asked for."""
    options = job.options
    number = 0

    def add(spec: EndpointSpec) -> EndpointSpec:
        nonlocal number
        newest = max(spec.revisions, key=lambda r: r.number)
        fields: dict[str, Any] = {"model": registered_model(job.owner, job.name), "version": version}
        fields["resources"] = options.resources(newest.resources)
        if options.environment is not None:
            fields["environment"] = dict(options.environment)
        number = next((r.number for r in spec.revisions if (r.model, r.version) == (fields["model"], version)), 0)
        if number:
            return spec
        number = newest.number + 1
        after = changes.added(spec, changes.next_revision(spec, **fields))
        return after if options.description is None else after.model_copy(update={"description": options.description})

    await endpoint.update(add)
    job.say("endpoint", f"revision {number} of {job.owner}/{job.name}, a candidate without traffic")
    try:
        await _ready(job, endpoint, number)
    except (PublishFailed, TimedOut) as error:
        undo = endpoint.update(lambda spec: changes.removed(spec, number))
        await _undo(undo, error, f"revision {number} is removed again; the others serve on")
        raise
    if options.traffic:
        percent = options.traffic
        job.say("ready", f"{percent} % of the traffic to revision {number}")
        await endpoint.update(lambda spec: changes.split(spec, number, percent))
        await endpoint.applied(options.wait)


async def _ready(job: _Job, endpoint: AsyncEndpoint, number: int) -> None:
    told = ""
    hope = Hope()

    def look(now: Resource) -> None:
        nonlocal told
        condition = changes.revision_condition(now, number)
        if condition is None:
            return
        gone = hope.is_gone(changes.observed(now, number).cause)
        # Not while it starts once more: it has no last words then.
        if condition.reason in _GIVE_UP or (gone and condition.reason != "Starting"):
            raise failed(now, number, f"{condition.reason}: {condition.message}")
        text = f"{condition.reason}: {condition.message}" if condition.message else condition.reason
        if text != told:
            told = text
            job.say("ready", text)

    first = number == 1

    def holds(now: Resource) -> bool:
        return changes.revision_ready(now, number) and (not first or now.status.ready)

    try:
        await endpoint.until(holds, job.options.wait, f"revision {number} is not ready", look)
    except TimedOut as error:
        error.remedy = "Read endpoint.logs(), or give it longer: wait=300."
        raise
    job.say("ready", endpoint.url)


async def _undo(undo: Any, error: PublishFailed | TimedOut, done: str) -> None:
    """Take back what was written; when that fails too, the error that is on its way says so."""
    try:
        await undo
    except ModelyardError as problem:
        error.remedy = f"{error.remedy} Taking it back did not work: {problem}".strip()
        return
    error.remedy = f"{error.remedy} ({done}.)".strip()
