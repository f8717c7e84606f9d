"""The blocking face of what runs by itself: `yard.schedule`, `yard.sweep`, `yard.pipeline`, `yard.retrain`, secrets.

`yard.submit` and single runs stand in `submitting.py`, all else in `sync.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.loop import run
from modelyard.sync import client

if TYPE_CHECKING:
    from modelyard.challenge import Verdict
    from modelyard.group_view import Group
    from modelyard.grouped import FromMember, Step
    from modelyard.timetable import Schedule
    from modelyard_api.schedules import Due
    from modelyard_api.secrets import Secret


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
