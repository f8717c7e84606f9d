"""The command `modelyard`: exit code 0 done, 1 failed, 2 wrong use; `--json` on every command that prints a table."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pydantic import ValidationError

from modelyard_api.errors import ModelyardError, Unauthenticated, Unavailable
from modelyard_hub import cli_volumes
from modelyard_hub.admin import Admin
from modelyard_hub.cli_table import Json
from modelyard_hub.cli_table import console as _console
from modelyard_hub.cli_table import show as _show
from modelyard_hub.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
endpoints = typer.Typer(no_args_is_help=True, help="Endpoints of everybody (administrators).")
app.add_typer(endpoints, name="endpoints")
app.add_typer(cli_volumes.app, name="volumes")
schedules = typer.Typer(no_args_is_help=True, help="Schedules of everybody (administrators).")
app.add_typer(schedules, name="schedules")
secrets = typer.Typer(no_args_is_help=True, help="Secrets of everybody (administrators).")
app.add_typer(secrets, name="secrets")


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
def servers(as_json: Json = False) -> None:
    """Notebook servers of everybody that run, start or failed to, and what they wait for."""
    rows = Admin(Settings()).servers()
    _show(rows if as_json else [_brief(row) for row in rows], as_json, drop=("size",))


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    """A server in as many columns as a terminal has room for."""
    size = f"{row['profile']}: {row['size']}" if row["profile"] else ""
    waits = f"{row['cause']} {row['remedy']}".strip()
    return {"server": row["server"], "state": row["state"], "size": size, "since": row["since"], "waits for": waits}


@app.command()
def token(user: Annotated[str, typer.Option(help="The user that the token is for.")]) -> None:
    """Print an API token for scripts of a user (administrators of this machine only)."""
    print(Admin(Settings()).token(user))


@endpoints.command("list")
def list_endpoints(as_json: Json = False) -> None:
    """All endpoints and their state."""
    _show(Admin(Settings()).endpoints(), as_json, drop=("replicas", "traffic", "url"))


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


@schedules.command("list")
def list_schedules(as_json: Json = False) -> None:
    """All schedules, when each is due next, and how its last run is."""
    items = Admin(Settings()).call("GET", "/schedules").json()["items"]
    _show([_schedule_row(item) for item in items], as_json, drop=("last run", "time zone", "cron"))


@schedules.command("show")
def show_schedule(owner: str, name: str) -> None:
    """A schedule with its spec and status, as JSON."""
    print(json.dumps(Admin(Settings()).call("GET", f"/schedules/{owner}/{name}").json(), indent=2))


@schedules.command("pause")
def pause_schedule(owner: str, name: str) -> None:
    """Start nothing until it is resumed."""
    _pause_schedule(owner, name, True)


@schedules.command("resume")
def resume_schedule(owner: str, name: str) -> None:
    """Go on with what is due from now on."""
    _pause_schedule(owner, name, False)


@schedules.command("delete")
def delete_schedule(owner: str, name: str) -> None:
    """Forget a schedule; its runs stay."""
    Admin(Settings()).call("DELETE", f"/schedules/{owner}/{name}")
    _console.print(f"deleted {owner}/{name}", highlight=False)


def _pause_schedule(owner: str, name: str, paused: bool) -> None:
    admin = Admin(Settings())
    answer = admin.call("POST", f"/schedules/{owner}/{name}/{'pause' if paused else 'resume'}").json()
    upcoming = ", ".join(answer["status"]["next"][:1])
    _console.print(f"{owner}/{name} " + ("is paused" if paused else f"goes on, next at {upcoming}"), highlight=False)


def _schedule_row(item: dict[str, Any]) -> dict[str, Any]:
    spec, status = item["spec"], item["status"]
    last = status["last"] or {}
    return {
        "owner": item["owner"],
        "schedule": item["name"],
        "cron": spec["cron"],
        "time zone": spec["time_zone"],
        "next": "paused" if spec["paused"] else next(map(datetime.fromisoformat, status["next"]), ""),
        "last run": last.get("id", ""),
        "state": last.get("state", ""),
        "trouble": "; ".join(f"since {one['since'][:16]}: {one['message']}" for one in status["troubles"]),
    }


@secrets.command("list")
def list_secrets(as_json: Json = False) -> None:
    """All secrets, without their values."""
    items = Admin(Settings()).call("GET", "/secrets").json()["items"]
    shown = ("owner", "name", "version", "updated_by", "updated_at", "description")
    rows = [{column: item[column] for column in shown} for item in items]
    for row in rows:
        row["updated_at"] = datetime.fromisoformat(row["updated_at"])
    _show(rows, as_json, drop=("description", "updated_by", "version"))


@secrets.command("set")
def set_secret(owner: str, name: str, description: str = "") -> None:
    """Set a secret, or give it a new value: asked for at a terminal, else read from standard input."""
    terminal = sys.stdin.isatty()
    value = typer.prompt("Value", hide_input=True) if terminal else sys.stdin.read().removesuffix("\n")
    body = {"value": value, "description": description}
    made = Admin(Settings()).call("PUT", f"/secrets/{owner}/{name}", json=body).json()
    _console.print(f"{owner}/{name} has its value number {made['version']}", highlight=False)


@secrets.command("delete")
def delete_secret(owner: str, name: str) -> None:
    """Forget a secret; runs that need it fail from then on."""
    Admin(Settings()).call("DELETE", f"/secrets/{owner}/{name}")
    _console.print(f"deleted {owner}/{name}", highlight=False)


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
