"""The library of the notebook side: train, publish, call. `import modelyard as yard`.

Belongs here: what a data scientist calls, and the client that it is made of (`client.py` is async, `sync.py` its
blocking face). Does not belong here: the hub's code, the store, Kubernetes. Nothing heavy is imported before it is
used: not scikit-learn, not MLflow, not pandas, not numpy; `import modelyard` stays under half a second.

Panels have their place in `widgets/`, unattended runs in `batch/`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard import networks
    from modelyard.challenge import Verdict
    from modelyard.client import AsyncClient
    from modelyard.disk import Volume
    from modelyard.disks import AsyncVolume
    from modelyard.errors import ModelyardError
    from modelyard.handle import Endpoint
    from modelyard.offline import score
    from modelyard.recorded import record
    from modelyard.remote import AsyncEndpoint
    from modelyard.submitting import Run, run, runs, submit
    from modelyard.sync import (
        attach,
        create_volume,
        endpoint,
        endpoints,
        profiles,
        publish,
        recover,
        resize,
        search,
        server_size,
        servers,
        train,
        trainings,
        trash,
        volume,
        volumes,
    )
    from modelyard.sync_batch import (
        delete_secret,
        due,
        find_schedule,
        group,
        groups,
        pipeline,
        result_of,
        retrain,
        schedule,
        schedules,
        secret,
        secrets,
        set_secret,
        step,
        sweep,
    )
    from modelyard.training.run import TrainingRun
    from modelyard.unattended import AsyncRun
    from modelyard.widgets.endpoint import EndpointPanel
    from modelyard.widgets.publish import PublishPanel
    from modelyard.widgets.runs import RunsTable
    from modelyard.widgets.train import TrainPanel
    from modelyard.widgets.unattended import RunsPanel

# No submodule may be called as a function here is: importing it would put the module in the function's place.
_HOME = {
    "AsyncClient": "modelyard.client",
    "AsyncEndpoint": "modelyard.remote",
    "AsyncRun": "modelyard.unattended",
    "AsyncVolume": "modelyard.disks",
    "Endpoint": "modelyard.handle",
    "EndpointPanel": "modelyard.widgets.endpoint",
    "ModelyardError": "modelyard.errors",
    "PublishPanel": "modelyard.widgets.publish",
    "Run": "modelyard.submitting",
    "RunsPanel": "modelyard.widgets.unattended",
    "RunsTable": "modelyard.widgets.runs",
    "TrainPanel": "modelyard.widgets.train",
    "TrainingRun": "modelyard.training.run",
    "Verdict": "modelyard.challenge",
    "Volume": "modelyard.disk",
    "attach": "modelyard.sync",
    "create_volume": "modelyard.sync",
    "delete_secret": "modelyard.sync_batch",
    "due": "modelyard.sync_batch",
    "endpoint": "modelyard.sync",
    "endpoints": "modelyard.sync",
    "errors": "modelyard.errors",
    "find_schedule": "modelyard.sync_batch",
    "group": "modelyard.sync_batch",
    "groups": "modelyard.sync_batch",
    "networks": "modelyard.networks",
    "pipeline": "modelyard.sync_batch",
    "profiles": "modelyard.sync",
    "publish": "modelyard.sync",
    "record": "modelyard.recorded",
    "recover": "modelyard.sync",
    "resize": "modelyard.sync",
    "result_of": "modelyard.sync_batch",
    "retrain": "modelyard.sync_batch",
    "run": "modelyard.submitting",
    "runs": "modelyard.submitting",
    "schedule": "modelyard.sync_batch",
    "schedules": "modelyard.sync_batch",
    "score": "modelyard.offline",
    "search": "modelyard.sync",
    "secret": "modelyard.sync_batch",
    "secrets": "modelyard.sync_batch",
    "server_size": "modelyard.sync",
    "servers": "modelyard.sync",
    "set_secret": "modelyard.sync_batch",
    "step": "modelyard.sync_batch",
    "submit": "modelyard.submitting",
    "sweep": "modelyard.sync_batch",
    "train": "modelyard.sync",
    "trainings": "modelyard.sync",
    "trash": "modelyard.sync",
    "volume": "modelyard.sync",
    "volumes": "modelyard.sync",
}

__all__ = [
    "AsyncClient",
    "AsyncEndpoint",
    "AsyncRun",
    "AsyncVolume",
    "Endpoint",
    "EndpointPanel",
    "ModelyardError",
    "PublishPanel",
    "Run",
    "RunsPanel",
    "RunsTable",
    "TrainPanel",
    "TrainingRun",
    "Verdict",
    "Volume",
    "attach",
    "create_volume",
    "delete_secret",
    "due",
    "endpoint",
    "endpoints",
    "find_schedule",
    "group",
    "groups",
    "networks",
    "pipeline",
    "profiles",
    "publish",
    "record",
    "recover",
    "resize",
    "result_of",
    "retrain",
    "run",
    "runs",
    "schedule",
    "schedules",
    "score",
    "search",
    "secret",
    "secrets",
    "server_size",
    "servers",
    "set_secret",
    "step",
    "submit",
    "sweep",
    "train",
    "trainings",
    "trash",
    "volume",
    "volumes",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("modelyard_api").__version__
    if name not in _HOME:
        raise AttributeError(f"module 'modelyard' has no attribute {name!r}")
    module = import_module(_HOME[name])
    value = module if name in ("errors", "networks") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})
