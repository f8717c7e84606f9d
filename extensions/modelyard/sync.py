"""The blocking face for notebooks and scripts: `yard.train`, `yard.publish`, `yard.endpoint`, …"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard import config, display
from modelyard.client import AsyncClient
from modelyard.handle import Endpoint
from modelyard.loop import run

if TYPE_CHECKING:
    from modelyard.disk import Volume
    from modelyard.publishing import PublishOptions
    from modelyard.training.run import TrainingRun
    from modelyard_api.profiles import Profile
    from modelyard_api.servers import Server, ServerSize
    from modelyard_api.volumes import Volume as Resource

_lock = threading.Lock()
_clients: dict[tuple[int, config.Connection], AsyncClient] = {}


def client() -> AsyncClient:
    """The client of this process, for what the environment says now."""
    key = (os.getpid(), config.connection())
    with _lock:
        if key not in _clients:
            _clients[key] = AsyncClient(key[1].url, key[1].token)
        return _clients[key]


def train(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    name: str | None = None,
    test_size: float = 0.2,
    validation: Any = None,
    seed: int = 0,
    metrics: Sequence[str] | Mapping[str, Callable[[Any, Any, Any], float]] | None = None,
    **options: Any,
) -> TrainingRun:
    """Train a scikit-learn estimator, a PyTorch module or a network of `yard.networks` in a process of its own; a
    `TrainingRun` at once.

    In a notebook the cell returns while training goes on, and shows its progress; `run.wait()` waits. In a papermill
    run or a plain script this waits itself and prints lines (MODELYARD_PLAIN=1 or 0 decides where the guess is
    wrong).

    `X`: rows (DataFrame, array, sparse matrix), `y`: one target each; for PyTorch also tensors, or a Dataset of
    (input, target) without y. `test_size`: share of the rows that is held out, on which the metrics are computed; 0 for
    none. They are drawn with `seed`, for a classifier in the proportions of its classes. `validation`: (X, y), or a
    Dataset, held out instead. The model is fitted on the rest and only on that: the model that is published is the one
    whose metrics you see. `seed` also becomes `random_state` wherever the estimator leaves it None. `metrics`: names of
    scikit-learn's scorers, or functions (model, X, y) -> float; by default accuracy, roc_auc, log_loss or r2, mae,
    rmse. `name`: of the run and of its experiment in MLflow; by default the model's class. `options`: those of the
    trainer, such as `epochs` and `lr`; see `modelyard.training.options`.

    Raises InvalidInput for data that do not fit together or an estimator that cannot be sent to a process; what fails
    in training is raised by `run.wait()`.
    """
    from modelyard.training.order import start, to_train

    fields: dict[str, Any] = {
        "name": name,
        "test_size": test_size,
        "validation": validation,
        "seed": seed,
        "metrics": metrics,
    }
    return _shown(start(to_train(estimator, X, y, **fields, **options)))


def search(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    space: Mapping[str, Any] | None = None,
    trials: int = 30,
    metric: str | Callable[[Any, Any, Any], float] | None = None,
    direction: str | None = None,
    cv: Any = 3,
    timeout: float | None = None,
    parallel: int | None = None,
    pruning: bool = True,
    preprocessing: bool = False,
    name: str | None = None,
    test_size: float = 0.2,
    validation: tuple[Any, Any] | None = None,
    seed: int = 0,
    metrics: Sequence[str] | Mapping[str, Callable[[Any, Any, Any], float]] | None = None,
) -> TrainingRun:
    """Search the parameters of a scikit-learn estimator, in a process of its own; a `TrainingRun` at once, as from
    `yard.train`, whose model is the best one, fitted on all training rows.

    `space`: what is tried, by the names that `set_params` takes: (low, high), (low, high, "log"), a list of choices,
    or a distribution of Optuna's. By default that of the estimator, or of the last step of a pipeline
    (`modelyard.training.search.inferred`); with `preprocessing` that of the steps before it too. `trials`: how many
    combinations at most, begun within `timeout` seconds; drawn by Optuna's TPE. `metric`: what is made as good as it
    can, over `cv` folds (or a splitter) of the training rows: a name of scikit-learn's, a loss such as "log_loss",
    "mae" or "rmse", which is made small, or a function (model, X, y) -> float with its `direction`, "maximize" or
    "minimize"; by default accuracy or r2. `parallel`: trials at a time, each in a process of its own with its share
    of the cores; by default one per core, once trials take long enough. `pruning`: end a trial whose first folds
    are worse than those of most others. `name`, `test_size`, `validation`, `seed`, `metrics`: as in `yard.train`;
    the held-out rows are in no fold. The same seed and parallel=1 make the same trials.

    `run.trials` has each trial, `run.best_params` the best ones so far. `run.stop()` abandons the trials that run
    and fits the best one found; a second stop abandons that too.

    Raises InvalidInput for a space that does not fit the estimator, and as `yard.train` does; a combination for
    which the estimator raises is a failed trial. `run.wait()` raises TrainingFailed when all of them failed.
    """
    from modelyard.training.order import start, to_search

    fields: dict[str, Any] = {
        "name": name,
        "test_size": test_size,
        "validation": validation,
        "seed": seed,
        "metrics": metrics,
    }
    how: dict[str, Any] = {"trials": trials, "metric": metric, "direction": direction, "cv": cv, "timeout": timeout}
    how |= {"parallel": parallel, "pruning": pruning}
    return _shown(start(to_search(estimator, X, y, space=space, preprocessing=preprocessing, **fields, **how)))


def _shown(started: TrainingRun) -> TrainingRun:
    """Drawn in a notebook that somebody looks at; elsewhere waited for, in lines."""
    if display.is_live():
        started.show()
    else:
        started.follow()
    return started


def attach(run_id: str) -> TrainingRun:
    """The training run of that id, from another kernel, after a reload, days later; NotFound names the latest."""
    from modelyard.training.run import TrainingRun

    found = TrainingRun.find(run_id)
    if display.is_live():
        found.show()
    return found


def trainings() -> list[TrainingRun]:
    """The training runs on this machine, newest first."""
    from modelyard.training.run import TrainingRun

    return TrainingRun.all()


def publish(
    model: Any,
    name: str,
    *,
    example: Any = None,
    traffic: int | None = None,
    owner: str | None = None,
    requirements: Sequence[str] | None = None,
    code_paths: Sequence[str | Path] = (),
    files: str | Path | None = None,
    training: Any = None,
    cpu: float | None = None,
    memory: int | None = None,
    gpu: int | None = None,
    profile: str | None = None,
    replicas: int | None = None,
    environment: Mapping[str, str] | None = None,
    description: str | None = None,
    wait: float = 180.0,
) -> Endpoint:
    """Publish `model` as the endpoint `name`; ready when this returns.

    `model`: a `TrainingRun`, a fitted scikit-learn estimator, one of XGBoost's or LightGBM's, a PyTorch module, a
    pipeline of transformers, a function of rows, an object with `predict(rows)`, a class with `load(folder)` and
    `predict(columns)` whose folder is `files`, or `models:/churn/3`: a version in the registry, such as one that
    somebody logged with MLflow.
    `example`: a few input rows, from which the signature is read; a TrainingRun brings its own. `training`: more rows,
    that show which columns may hold missing values. A new endpoint gets all traffic. A further version of one that
    exists becomes a candidate that gets none unless `traffic` (percent) says so; `endpoint.predict(X, revision=n)`
    reaches it. `owner`: one of your groups, by default you. `requirements`: pip lines, for a model that needs more than
    was found. `cpu` cores, `memory` MiB, `gpu` devices and `environment`: by default as the revision before, or by
    `profile`, one of `profiles()`. `replicas`: of a new endpoint. `wait`: seconds until ready.

    Raises InvalidInput, Forbidden, PublishFailed (the model does not load in a fresh process, or its server does not
    start; with the log's tail), TimedOut, Unavailable. The endpoint is written in one step at the end, and a revision
    that does not become ready is removed again, so that a failed publish leaves the endpoint as it was; a version may
    stay in the registry.
    """
    from modelyard.publishing import PublishOptions

    options = PublishOptions(
        example=example,
        owner=owner,
        traffic=traffic,
        requirements=None if requirements is None else tuple(requirements),
        code_paths=tuple(code_paths),
        files=files,
        training=training,
        cpu=cpu,
        memory=memory,
        gpu=gpu,
        profile=profile,
        environment=environment,
        description=description,
        replicas=replicas,
        wait=wait,
    )
    return publish_as(model, name, options)


def publish_as(model: Any, name: str, options: PublishOptions) -> Endpoint:
    """`publish`, with its options in one."""
    steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with display.Steps(f"Publishing {name}") as panel:
        work = client().publish(model, name, options, lambda step, detail: steps.put((step, detail)))
        return Endpoint(run(work, steps, lambda step: panel.say(*step)))


def profiles() -> list[Profile]:
    """The sizes and kinds of notebook servers and endpoints that you may choose from, with their bounds."""
    return run(client().profiles())


def servers(owner: str | None = None) -> list[Server]:
    """Your notebook servers, stopped ones too: state, sizes, and of one that is not ready its `status.cause` and
    `status.remedy`, its place in the queue, and how long others took. Administrators see everybody's."""
    return run(client().servers(owner))


def server_size(server: str | None = None) -> ServerSize:
    """What your notebook server has: CPUs, memory, shared memory, GPUs. `server`: its name, "" the default one; None:
    this one, else the default one."""
    return run(client().server_size(server))


def resize(cpu: float | None = None, memory: int | str | None = None, server: str | None = None) -> ServerSize:
    """Give your notebook server so many CPUs and that memory, bytes or such as "8Gi", while it runs and without losing
    anything; what is left out stays. The error says where the profile, a quota or the cluster do not allow it, and what
    helps. `server`: see `server_size`."""
    return run(client().resize(cpu, memory, server))


def endpoint(name: str, owner: str | None = None) -> Endpoint:
    """The endpoint `name` (or "owner/name"): yours, else the only one you see. NotFound names those there are."""
    return Endpoint(run(client().endpoint(name, owner)))


def endpoints(owner: str | None = None) -> list[Endpoint]:
    """The endpoints you see: yours, those of your groups, and those shared with these."""
    return [Endpoint(e) for e in run(client().endpoints(owner))]


def volumes() -> list[Volume]:
    """The disks you see: homes, further ones, and those shared with your groups."""
    from modelyard.disk import Volume

    return [Volume(found) for found in run(client().volumes())]


def volume(name: str = "home", owner: str | None = None) -> Volume:
    """The disk `name` (or "owner/name"), by default the home of your default server."""
    from modelyard.disk import Volume

    return Volume(run(client().volume(name, owner)))


def create_volume(name: str, size: int | str | None = None, server: str | None = "") -> Volume:
    """A further disk of `size` bytes or such as "20Gi", at `~/volumes/NAME` of `server` (empty: the default one) from
    its next start on; None: of no server yet."""
    from modelyard.disk import Volume

    return Volume(run(client().create_volume(name, size, server)))


def trash() -> list[Resource]:
    """Your disks in the trash, with their ids and until when they are kept."""
    return run(client().trash())


def recover(volume: Resource | str, name: str | None = None) -> Volume:
    """Out of the trash: one of `trash()`, or its id. `name`: by default its own."""
    from modelyard.disk import Volume

    return Volume(run(client().recover(volume, name)))
