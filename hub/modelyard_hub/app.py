"""The composition root of the hub service: makes every part, gives them to each other, opens and closes them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

import httpx
from fastapi import FastAPI

from modelyard_hub import service
from modelyard_hub.artifacts import Artifacts, FolderArtifacts
from modelyard_hub.artifacts_s3 import S3Artifacts
from modelyard_hub.auth import Identities
from modelyard_hub.disk import is_full
from modelyard_hub.hub_env import HubEnv
from modelyard_hub.hub_tokens import HubTokens
from modelyard_hub.kernels import LocalKernels, UnknownKernels
from modelyard_hub.parts import Parts
from modelyard_hub.reconcile.access import StoreAccess
from modelyard_hub.reconcile.drift_triggers import DriftTriggers
from modelyard_hub.reconcile.file_triggers import FileTriggers
from modelyard_hub.reconcile.loop import Controller, ControllerOptions
from modelyard_hub.reconcile.run_loop import Queue, RunController
from modelyard_hub.reconcile.run_steps import RunOptions, RunSteps
from modelyard_hub.reconcile.schedules import Clockwork
from modelyard_hub.reconcile.sweep import Keep, Sweeper
from modelyard_hub.reconcile.telling import Teller
from modelyard_hub.reconcile.triggers import Triggers
from modelyard_hub.registry import MlflowRegistry
from modelyard_hub.routing.document import RouterOptions
from modelyard_hub.routing.traefik import TraefikRouter
from modelyard_hub.run_secrets import StoredSecrets
from modelyard_hub.runtimes.base import Runtime
from modelyard_hub.runtimes.local import LocalOptions, LocalRuntime
from modelyard_hub.runtimes.local.options import workloads_folder
from modelyard_hub.settings import Settings
from modelyard_hub.signing import Signer, load_or_make
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store
from modelyard_hub.tracking import MlflowRuns
from modelyard_hub.vault import Vault, open_vault, reseal
from modelyard_hub.volumes.base import Disks
from modelyard_hub.volumes.keeper import Audit, Keeper
from modelyard_hub.volumes.local import LocalDisks
from modelyard_hub.volumes.shelf import Bounds, Shelf
from modelyard_hub.watched import Places, folder_rule

logger = logging.getLogger(__name__)
_TIMEOUT = 5.0


def create_app(settings: Settings, hub: HubEnv, *, runtime: Runtime | None = None) -> FastAPI:
    """The hub service. Nothing is opened before the server starts; `runtime` stands in for the one of the settings."""
    signer = load_or_make(settings.signing_key or settings.home / "secrets" / "signing.pem")
    runs = runtime or make_runtime(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            parts = await _open(stack, settings, hub, signer, runs)
            app.state.parts = parts
            controller = Controller(
                parts.store,
                runs,
                parts.router,
                StoreAccess(parts.store, [signer.public_pem]),
                ControllerOptions(base_url=settings.base_url, resync=settings.reconcile_resync),
            )
            task = asyncio.create_task(controller.run(), name="controller")
            task.add_done_callback(_say_why)
            stack.push_async_callback(_end, task)
            clockwork = asyncio.create_task(Clockwork(parts.store.schedules, parts.store).run(), name="schedules")
            stack.push_async_callback(_end, clockwork)
            batch = asyncio.create_task(_runs(parts).run(settings.reconcile_resync), name="runs")
            batch.add_done_callback(_say_why)
            stack.push_async_callback(_end, batch)
            sweeper = asyncio.create_task(_sweeper(parts).run(), name="sweep")
            stack.push_async_callback(_end, sweeper)
            mlflow = MlflowRuns(parts.http, settings.mlflow_url, signer.service_token)
            teller = asyncio.create_task(Teller(parts.store, mlflow).run(), name="telling")
            stack.push_async_callback(_end, teller)
            triggers = asyncio.create_task(Triggers(parts.store.schedules, parts.registry).run(), name="triggers")
            stack.push_async_callback(_end, triggers)
            files = asyncio.create_task(FileTriggers(parts.store.schedules, parts.places).run(), name="files")
            stack.push_async_callback(_end, files)
            drift = asyncio.create_task(DriftTriggers(parts.store.schedules, parts.store).run(), name="drift")
            stack.push_async_callback(_end, drift)
            keeper = asyncio.create_task(Keeper(parts.shelf, _audit(parts.store)).run(), name="volumes")
            stack.push_async_callback(_end, keeper)
            yield

    return service.build(hub.root, settings.max_body, lifespan, largest_snapshot=settings.run_snapshot_max)


def make_runtime(settings: Settings) -> Runtime:
    """What the settings say that workloads run on; not open yet."""
    if settings.runtime == "kubernetes":
        # Its client takes a second to import, and is not there where only processes are run.
        from modelyard_hub.runtimes.kubernetes import KubernetesOptions, KubernetesRuntime

        return KubernetesRuntime(KubernetesOptions.from_settings(settings))
    return LocalRuntime(workloads_folder(settings.home), LocalOptions.from_settings(settings))


def make_disks(settings: Settings) -> Disks:
    """What the settings say that volumes are; not open yet."""
    if settings.runtime == "kubernetes":
        from modelyard_hub.volumes.cluster import ClusterDisks, ClusterOptions

        return ClusterDisks(ClusterOptions.from_settings(settings))
    return LocalDisks(settings.home)


async def _open(stack: AsyncExitStack, settings: Settings, hub: HubEnv, signer: Signer, runtime: Runtime) -> Parts:
    """Open everything that holds something; `stack` closes it in the opposite order, and workloads go on."""
    # Everything that we call is ours and near: a proxy of the environment has no business in between.
    http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT))
    store = Store(settings.store_url)
    stack.push_async_callback(store.close)
    await store.open()
    await reseal(store.secrets, settings.vault_keys, settings.home)
    stack.push_async_callback(runtime.close)
    await runtime.open()
    disks = make_disks(settings)
    stack.push_async_callback(disks.close)
    await disks.open()
    service = f"{hub.service_url.rstrip('/')}{hub.root}"
    options = RouterOptions(service, settings.mlflow_url, settings.entrypoints, settings.serve_grpc)
    router = TraefikRouter(options, settings.traefik_api_url)
    stack.push_async_callback(router.close)
    router.restore_hub(await store.load_hub_routes())
    artifacts = _artifacts(settings)

    def vault() -> Vault:
        return open_vault(settings.vault_keys, settings.home)  # read each time: keys are added meanwhile

    secrets = StoredSecrets(store.secrets, vault, HubTokens(http, hub.api_url, hub.api_token).stands_for)
    return Parts(
        settings=settings,
        hub=hub,
        store=store,
        runtime=runtime,
        identities=Identities(http, hub.api_url, settings.identity_cache, full=lambda: is_full(settings.home)),
        registry=MlflowRegistry(http, settings.mlflow_url, artifacts, signer.service_token),
        signer=signer,
        http=http,
        router=router,
        shelf=Shelf(disks, Bounds.from_settings(settings)),
        artifacts=artifacts,
        vault=vault,
        queue=Queue(),
        places=Places(secrets, folder_rule(settings)),
        routing_token=settings.routing_token.get_secret_value(),
        kernels=UnknownKernels() if settings.runtime == "kubernetes" else LocalKernels(),
    )


def _artifacts(settings: Settings) -> Artifacts:
    if settings.artifacts_url:
        return S3Artifacts(settings.artifacts_url)
    return FolderArtifacts(settings.artifacts or settings.home / "mlflow" / "artifacts")


def _runs(parts: Parts) -> RunController:
    settings, hub = parts.settings, parts.hub
    environment = {"MODELYARD_URL": settings.base_url}
    if settings.inner_url:
        environment["MODELYARD_INNER_URL"] = settings.inner_url
    tokens = HubTokens(parts.http, hub.api_url, hub.api_token)
    secrets = StoredSecrets(parts.store.secrets, parts.vault, tokens.stands_for)
    slots = settings.run_slots
    if slots is None:
        slots = 0 if settings.runtime == "kubernetes" else os.cpu_count() or 1
    images = (settings.notebook_image, settings.notebook_gpu_image)
    options = RunOptions(parts.artifacts.place, environment, *images, slots=slots)
    steps = RunSteps(parts.store, parts.runtime, tokens, secrets, options)
    return RunController(parts.store, parts.runtime, steps, parts.queue, slots)


def _sweeper(parts: Parts) -> Sweeper:
    settings = parts.settings
    age = timedelta(days=settings.run_keep_days) if settings.run_keep_days else None
    return Sweeper(parts.store, parts.artifacts, Keep(age, settings.run_keep_last))


def _audit(store: Store) -> Audit:
    async def write(action: str, subject: str) -> None:
        await store.audit(Actor("system", "volumes"), action, subject)

    return write


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _say_why(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("the controller of %s ended; nobody looks after it", task.get_name(), exc_info=error)
