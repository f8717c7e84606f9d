"""The command `modelyard`: exit code 0 done, 1 failed, 2 wrong use; `--json` on every command that prints a table."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from modelyard_api.errors import ModelyardError, Unauthenticated, Unavailable
from modelyard_hub.admin import Admin
from modelyard_hub.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
endpoints = typer.Typer(no_args_is_help=True, help="Endpoints of everybody (administrators).")
app.add_typer(endpoints, name="endpoints")
_console = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None)
    for column in rows[0] if rows else []:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _console.print(table if rows else "none", highlight=False)


@app.command()
def up() -> None:
    """Start everything on this machine, in the foreground; Ctrl-C stops it."""
    from modelyard_hub.embedded.up import up as start

    start(Settings(), _console)


@app.command()
def status(as_json: Json = False) -> None:
    """What runs here and whether it answers; exit code 1 when something does not."""
    rows = Admin(Settings()).status()
    _show(rows, as_json)
    if any(row["state"] != "answers" for row in rows):
        raise typer.Exit(1)


@app.command()
def users(as_json: Json = False) -> None:
    """Users, their groups, whether their notebook server runs."""
    _show(Admin(Settings()).users(), as_json)


@app.command()
def token(user: Annotated[str, typer.Option(help="The user that the token is for.")]) -> None:
    """Print an API token for scripts of a user (administrators of this machine only)."""
    print(Admin(Settings()).token(user))


@endpoints.command("list")
def list_endpoints(as_json: Json = False) -> None:
    """All endpoints and their state."""
    _show(Admin(Settings()).endpoints(), as_json)


@endpoints.command("show")
def show_endpoint(owner: str, name: str) -> None:
    """An endpoint with its spec and status, as JSON."""
    print(json.dumps(Admin(Settings()).endpoint(owner, name), indent=2))


@endpoints.command("rollback")
def rollback_endpoint(owner: str, name: str, as_json: Json = False) -> None:
    """Send all traffic back to the last stable revision."""
    _show(Admin(Settings()).rollback(owner, name), as_json)


@endpoints.command("delete")
def delete_endpoint(owner: str, name: str) -> None:
    """Delete an endpoint; it is gone when its replicas are."""
    Admin(Settings()).delete(owner, name)
    _console.print(f"deleting {owner}/{name}", highlight=False)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is broken and why; exit code 1 when something is."""
    from modelyard_hub.doctor import cluster, folder, homes, parts
    from modelyard_hub.doctor import endpoints as endpoint_check
    from modelyard_hub.doctor.base import Patient, examine

    settings = Settings()
    try:
        admin = Admin(settings)
    except Unavailable:
        admin = None
    checks = (folder.check, parts.check, cluster.check, endpoint_check.check, homes.check)
    findings = examine(Patient(settings, admin), checks)
    _show([finding.row() for finding in findings], as_json)
    if findings:
        raise typer.Exit(1)


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The archive to write, such as modelyard.tar.gz.")]) -> None:
    """Save databases, artifacts, users' folders and secrets to one file; everything may run meanwhile."""
    from modelyard_hub.embedded.backup import backup as save

    save(Settings(), file)
    _console.print(f"saved to {file}; it holds passwords: keep it private", highlight=False)


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="What 'modelyard backup' wrote.")]) -> None:
    """Bring a backup back into an empty state folder."""
    from modelyard_hub.embedded.backup import restore as bring_back

    bring_back(Settings(), file)
    _console.print("restored; start it with 'make up'", highlight=False)


def _further() -> None:
    """Commands of the packages that are installed, by the entry points `modelyard.commands`."""
    for found in entry_points(group="modelyard.commands"):
        with suppress(ImportError):  # such as without the extra `notebook`
            app.add_typer(found.load(), name=found.name)


_further()


def main() -> None:
    """Entry point: errors become one line that names cause and remedy."""
    try:
        app()
    except ValidationError as error:
        first = error.errors()[0]
        name = "MODELYARD_" + "_".join(str(part) for part in first["loc"]).upper()
        _fail(f"{name}: {first['msg']} (it is {first['input']!r})", 2)
    except httpx.HTTPError as error:
        _fail(f"Modelyard does not answer: {error}. Start it with 'make up'.", 1)
    except (Unauthenticated, Unavailable, ModelyardError) as error:
        _fail(str(error), 1)


def _fail(line: str, code: int) -> None:
    print(f"modelyard: {line}", file=sys.stderr)
    sys.exit(code)
