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
    from modelyard.challenge import Verdict
    from modelyard.disk import Volume
    from modelyard.group_view import Group
    from modelyard.grouped import FromMember, Step
    from modelyard.publishing import PublishOptions
    from modelyard.timetable import Schedule
    from modelyard.training.run import TrainingRun
    from modelyard_api.profiles import Profile
    from modelyard_api.schedules import Due
    from modelyard_api.secrets import Secret
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


def retrain(
    model: Any,
    name: str,
    holdout: tuple[Any, Any],
    *,
    metric: str | Callable[[Any, Any], float] = "accuracy",
    margin: float = 0.0,
    percent: int = 10,
    **fields: Any,
) -> Verdict:
    """Publish a new `model` as the endpoint `name` only as far as it is better: the last line of a notebook that a
    schedule runs.

    The model becomes a version, and both it and the one with most of the calls answer the `holdout` (X, y), rows that
    neither was trained on, over the endpoint. Where it is better in `metric` by at least `margin`, it gets `percent` of
    the calls (a canary); else it is taken off the endpoint again, and all stays as it was. Either way the registry's
    description of the version says what was compared. Without an endpoint of that name, it is the first.

    `metric`: accuracy, balanced_accuracy, f1, roc_auc, r2, log_loss, mae, rmse, or a function of the true and the
    predicted values of which more is better. `fields`: those of `publish`, such as `example`.
    """
    from modelyard.challenge import Rules

    rules = Rules(metric, margin, percent)
    return run(client().retrain(model, name, holdout, rules=rules, **fields))


def schedule(
    notebook: str | Path,
    cron: str | None = None,
    *,
    name: str | None = None,
    time_zone: str = "UTC",
    catch_up: str = "last",
    overlap: bool = False,
    deadline: float | None = None,
    paused: bool = False,
    on_version: str | None = None,
    version_parameter: str | None = None,
    on_files: str | Mapping[str, Any] | None = None,
    on_drift: str | Mapping[str, Any] | None = None,
    description: str = "",
    **fields: Any,
) -> Schedule:
    """Have a notebook run by the clock: make the schedule `name` (by default the notebook's), or put this in its place.

    `cron`: minute, hour, day of the month, month, day of the week, such as "30 2 * * MON-FRI", in the IANA
    `time_zone`. `catch_up`: what becomes of times that had no run because the one before had not ended or Modelyard was
    away: "last" of them, "skip", "all". `overlap`: whether a run starts while the one before it goes on. `deadline`:
    seconds after its time in which a run may start. `on_version`: a registered model of which each new version starts a
    run too, with its number as the parameter `version_parameter`, within seconds. `on_files`: a folder or
    s3://bucket/key in which new files start a run, each once, with the list of them as the parameter `files`; or a dict
    with `location`, `pattern`, `parameter`, `settle` (seconds), `changed`, `at_most`. `on_drift`: a registered model of
    which a scoring's drift starts a run; or a dict with `model`, `threshold`, `cool_down` (seconds), `parameter`.
    `fields`: those of `submit`. The notebook is taken as it is now: call this again when it has changed.

    InvalidInput for a line that is never due and a zone that there is not.
    """
    from modelyard.timetable import Schedule

    times: dict[str, Any] = {
        "name": name,
        "time_zone": time_zone,
        "catch_up": catch_up,
        "overlap": overlap,
        "deadline": deadline,
        "paused": paused,
        "on_version": on_version,
        "version_parameter": version_parameter,
        "on_files": on_files,
        "on_drift": on_drift,
        "description": description,
    }
    return Schedule(run(client().schedule(notebook, cron, **times, **fields)))


def find_schedule(name: str, owner: str | None = None) -> Schedule:
    """Your schedule `name` (or "owner/name"), to pause, edit, start or delete it; NotFound."""
    from modelyard.timetable import Schedule

    return Schedule(run(client().find_schedule(name, owner)))


def due(cron: str, time_zone: str = "UTC") -> Due:
    """What a cron line says, before a schedule has it: `words`, and the `next` five times in the IANA `time_zone`.
    InvalidInput for one that cannot be read or is never due."""
    return run(client().due(cron, time_zone))


def schedules(owner: str | None = None) -> list[Schedule]:
    """Your schedules, and those of your groups."""
    from modelyard.timetable import Schedule

    return [Schedule(found) for found in run(client().schedules(owner))]


def sweep(
    notebook: str | Path,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    points: Sequence[Mapping[str, Any]] | None = None,
    parallel: int = 0,
    **fields: Any,
) -> Group:
    """A run of a notebook for each combination of the `grid`'s values, or for each of the `points`; at most `parallel`
    of them at work at once, 0 for as many as there is room for. A member that fails does not stop the others.

    `fields`: those of `submit`; `parameters` are for all of them. Then `sweep.wait()`, `sweep.table("auc")`,
    `sweep.plot("auc")`, `sweep.best("auc")`, of what the notebook recorded with `yard.record("auc", …)`.
    """
    from modelyard.group_view import Group

    return Group(run(client().sweep(notebook, grid=grid, points=points, parallel=parallel, **fields)))


def step(notebook: str | Path, *, needs: Sequence[str] = (), **fields: Any) -> Step:
    """A notebook of a `pipeline`. `needs`: names of steps that must have succeeded before it starts; those are needed
    too of which a parameter is a result (`result_of`). `fields`: those of `submit`."""
    from modelyard.grouped import Step
    from modelyard.unattended import Submission

    return Step(notebook, Submission(**fields), tuple(needs))


def result_of(step: str, name: str) -> FromMember:
    """A parameter of a step: what the step of that name records with `yard.record(name, …)`."""
    from modelyard.grouped import FromMember

    return FromMember(step, name)


def pipeline(name: str, steps: Mapping[str, Step], *, owner: str | None = None) -> Group:
    """Notebooks that need each other, queued together: `pipeline("churn", {"load": step("load.ipynb"), "train":
    step("train.ipynb", parameters={"path": result_of("load", "path")})})`.

    A step starts when those that it needs have succeeded; when one fails, those that need it do not run, and
    `pipeline.rerun()` goes on from there. InvalidInput where steps need each other in a circle.
    """
    from modelyard.group_view import Group

    return Group(run(client().pipeline(name, steps, owner=owner)))


def group(group_id: str) -> Group:
    """The sweep or pipeline of that id, at any later time."""
    from modelyard.group_view import Group

    return Group(run(client().group(group_id)))


def groups(limit: int = 50) -> list[Group]:
    """Your sweeps and pipelines and those of your groups, newest first."""
    from modelyard.group_view import Group

    return [Group(one) for one in run(client().groups(limit))]


def secrets() -> list[Secret]:
    """The secrets that you may give to runs: yours and those of your groups, without their values."""
    return run(client().secrets())


def set_secret(name: str, value: str | None = None, *, owner: str | None = None, description: str = "") -> Secret:
    """Set the secret `name` (or "owner/name"), or give it a new value; nobody reads it back, runs get it.

    `value` None: you are asked for it, so that it stands in no notebook. `owner`: a group of yours, whose members may
    all give it to their runs.
    """
    from modelyard.confidential import asked

    return run(client().set_secret(name, asked(name) if value is None else value, owner=owner, description=description))


def delete_secret(name: str, owner: str | None = None) -> None:
    """Forget the secret `name` (or "owner/name")."""
    run(client().delete_secret(name, owner))


def secret(name: str) -> str:
    """In a run: the value of a secret that it was given. NotFound elsewhere, naming those there are."""
    from modelyard.confidential import given

    return given(name)
