"""`modelyard runs groups …`: sweeps and pipelines, over the public client, as the user of MODELYARD_TOKEN."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from modelyard import sync_batch
from modelyard.group_view import Group, said
from modelyard_api.groups import MemberStatus
from modelyard_api.tables import Row, printed

app = typer.Typer(no_args_is_help=True, help="Sweeps and pipelines: runs that were queued together.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The id of a sweep or a pipeline.")]
Wait = Annotated[bool, typer.Option("--wait", help="Until all have ended; exit code 1 when one did not succeed.")]


@app.command("list")
def list_groups(limit: Annotated[int, typer.Option(help="As many, the newest.")] = 50, as_json: Json = False) -> None:
    """Sweeps and pipelines and how many of their runs are in which state, newest first."""
    show([_row(one, as_json) for one in sync_batch.groups(limit)], as_json, drop=("owner", "kind"))


@app.command("show")
def show_group(group_id: GroupArgument, as_json: Json = False) -> None:
    """A sweep or a pipeline: the state, parameters and results of each run."""
    found = sync_batch.group(group_id)
    if as_json:
        print(found.remote.resource.model_dump_json(indent=2))  # noqa: T201
        return
    show([_member(one) for one in found.members], as_json, drop=("about", "results"))


@app.command("watch")
def watch_group(group_id: GroupArgument) -> None:
    """A sweep's or a pipeline's progress in lines, until all have ended; exit code 1 when one did not succeed."""
    _wait(sync_batch.group(group_id))


@app.command("rerun")
def rerun_group(group_id: GroupArgument, wait: Wait = False) -> None:
    """Run again what has not succeeded of a sweep or a pipeline."""
    found = sync_batch.group(group_id).rerun()
    if wait:
        _wait(found)
    else:
        print(said(found.remote.resource))  # noqa: T201


@app.command("cancel")
def cancel_group(group_id: GroupArgument) -> None:
    """End all runs of a sweep or a pipeline that have not ended; what they made so far is kept."""
    found = sync_batch.group(group_id)
    found.cancel()
    print(f"{said(found.remote.resource)}; what has not ended is told to end")  # noqa: T201


def show(rows: Sequence[Row], as_json: bool, drop: Sequence[str] = ()) -> None:
    """Print them; see `modelyard_api.tables.printed`."""
    print(printed(rows, as_json=as_json, drop=drop))  # noqa: T201


def _wait(found: Group) -> None:
    if found.wait().remote.resource.state != "succeeded":
        raise typer.Exit(1)


def _row(found: Group, whole: bool) -> dict[str, Any]:
    one = found.remote.resource
    counts = {state.value: count for state, count in one.counts.items()}
    return {
        "id": one.id,
        "name": one.name,
        "kind": one.kind,
        "state": one.state,
        "owner": one.owner,
        "submitted": one.created_at,
        "runs": counts if whole else ", ".join(f"{count} {state}" for state, count in counts.items()),
    }


def _member(one: MemberStatus) -> dict[str, Any]:
    return {
        "run": one.run,
        "member": one.member,
        "state": one.state.value,
        "duration": one.ended - one.started if one.started and one.ended else None,
        "results": json.dumps(one.results) if one.results else "",
        "about": one.message,
    }
