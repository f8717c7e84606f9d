"""`modelyard runs …`: over the public client, as the user of MODELYARD_TOKEN."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard import loop, sync, unattended
from modelyard.batch import group_commands
from modelyard.batch.group_commands import Json, show
from modelyard.errors import Conflict, InvalidInput, RunFailed
from modelyard.submitting import Lines, Run, describe, run, runs
from modelyard.unattended import Submission
from modelyard_api.runs import RunState
from modelyard_api.tables import printed

app = typer.Typer(no_args_is_help=True, help="Runs of notebooks: yours, and those of your groups.")
app.add_typer(group_commands.app, name="groups")
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.")]


@app.command("submit")
def submit_run(
    notebook: Path,
    parameter: Annotated[
        list[str], typer.Option("-p", metavar="NAME=VALUE", help="A parameter; the value is JSON, else text.")
    ] = [],  # noqa: B006
    env: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="An environment variable.")] = [],  # noqa: B006
    secret: Annotated[
        list[str],
        typer.Option(metavar="[VARIABLE=]NAME", help="A secret: for yard.secret, or in an environment variable."),
    ] = [],  # noqa: B006
    profile: Annotated[str, typer.Option(help="Its size.")] = "",
    timeout: Annotated[float | None, typer.Option(help="Seconds for each attempt.")] = None,
    retries: Annotated[int, typer.Option(help="Further attempts.")] = 0,
    priority: Annotated[int, typer.Option(help="The higher one starts first.")] = 0,
    key: Annotated[str | None, typer.Option(help="Of two submits with one key, one is a run.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it ends; exit code 1 when it failed.")] = False,
    as_json: Json = False,
) -> None:
    """Execute a notebook unattended."""
    submission = Submission(
        parameters=dict(_parameter(one) for one in parameter),
        environment=dict(_variable(one) for one in env),
        secrets=[_secret(one) for one in secret],
        profile=profile,
        timeout=timeout,
        retries=retries,
        priority=priority,
        idempotency_key=key,
    )
    made = Run(loop.run(unattended.submit(sync.client(), notebook, submission)))
    if as_json:
        print(json.dumps(_row(made)))  # noqa: T201
    else:
        print(made.id)  # noqa: T201
    if wait:
        _wait(made)


@app.command("list")
def list_runs(
    state: Annotated[list[RunState], typer.Option(help="Only those in that state, or in one of several.")] = [],  # noqa: B006
    name: Annotated[str | None, typer.Option(help="Only those that are called so.")] = None,
    result: Annotated[
        list[str], typer.Option(help="Only those that recorded such a result, such as 'auc>0.9' or stage=final.")
    ] = [],  # noqa: B006
    schedule: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Only those of a schedule.")] = None,
    group: Annotated[str | None, typer.Option(help="Only those of a sweep or a pipeline.")] = None,
    limit: Annotated[int, typer.Option(help="As many, the newest.")] = 50,
    as_json: Json = False,
) -> None:
    """Runs and their state, newest first."""
    found = runs(
        state=[one.value for one in state], name=name, result=result, schedule=schedule, group=group, limit=limit
    )
    show([_row(one) for one in found], as_json, drop=("submitted", "owner", "about"))


@app.command("show")
def show_run(run_id: RunArgument) -> None:
    """A run with its spec and status, as JSON."""
    print(run(run_id).remote.resource.model_dump_json(indent=2))  # noqa: T201


@app.command("watch")
def watch_run(run_id: RunArgument) -> None:
    """A run's progress in lines, until it ends; exit code 1 when it failed or was cancelled."""
    _wait(run(run_id))


@app.command("cancel")
def cancel_run(run_id: RunArgument) -> None:
    """End a run; what it made so far is kept."""
    found = run(run_id).cancel()
    print(f"{found.id}: {describe(found.status)}")  # noqa: T201


@app.command("delete")
def delete_runs(
    run_id: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of runs that have ended.")],
    yes: Annotated[bool, typer.Option("--yes", help="Without being asked.")] = False,
) -> None:
    """Remove runs that have ended, with their logs, output notebooks and results, for good; a terminal is asked."""
    found = [run(one) for one in dict.fromkeys(run_id)]
    for one in found:
        if not one.status.state.ended:
            raise Conflict(f"run {one.id} has not ended, and nothing is removed", remedy="Cancel it first.")
    print("What goes: record, log, output notebook and results of")  # noqa: T201
    print(printed([_brief(one) for one in found], as_json=False))  # noqa: T201
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise typer.BadParameter("nobody can be asked here: say --yes")
    if not yes and not typer.confirm(f"Remove {len(found)} for good?"):
        raise typer.Exit(1)
    for one in found:
        one.delete()
        print(f"removed {one.id}", flush=True)  # noqa: T201


@app.command("logs")
def show_logs(run_id: RunArgument, lines: Annotated[int, typer.Option(help="As many, the last ones.")] = 200) -> None:
    """The last lines of a run's log."""
    for line in run(run_id).logs(lines):
        print(line)  # noqa: T201


def _wait(found: Run) -> None:
    say = Lines(found.id, lambda line: print(line, flush=True))  # noqa: T201
    try:
        found.wait(told=say)
    except RunFailed as error:
        print(error.full)  # noqa: T201
        raise typer.Exit(1) from None


def _variable(text: str) -> tuple[str, str]:
    name, is_, value = text.partition("=")
    if not name or not is_:
        raise InvalidInput(f"{text!r} is no environment variable", remedy="Such as --env REGION=north.")
    return name, value


def _secret(text: str) -> str | dict[str, str]:
    variable, is_, name = text.partition("=")
    return {"secret": name, "env": variable} if is_ else text


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInput(f"{text!r} is no parameter", remedy="Write NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _row(found: Run) -> dict[str, Any]:
    resource = found.remote.resource
    about = {"owner": resource.owner, "submitted": resource.created_at, "about": describe(resource.status)}
    return _brief(found) | about


def _brief(found: Run) -> dict[str, Any]:
    resource, status = found.remote.resource, found.status
    return {
        "id": resource.id,
        "name": resource.spec.called,
        "state": status.state.value,
        "started": status.started,
        "duration": status.started and (status.ended or datetime.now(UTC)) - status.started,
    }
