"""`modelyard volumes`: everybody's volumes, their snapshots, and the trash."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard_api.quantities import parse_bytes
from modelyard_hub.admin_volumes import VolumesAdmin
from modelyard_hub.cli_table import Json, show
from modelyard_hub.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Volumes of everybody, their snapshots, and the trash (administrators).")


def _size(text: str) -> int:
    try:
        return int(parse_bytes(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Size = Annotated[int, typer.Argument(parser=_size, metavar="SIZE", help="Such as 20Gi.")]


def _admin() -> VolumesAdmin:
    return VolumesAdmin(Settings())


@app.command("list")
def list_volumes(as_json: Json = False) -> None:
    """Volumes: size, how full, who has them."""
    show(_admin().listed(), as_json, drop=("kind", "says"))


@app.command()
def create(
    owner: str,
    name: str,
    size: Annotated[int | None, typer.Option(parser=_size, metavar="SIZE", help="Such as 20Gi.")] = None,
    server: Annotated[str, typer.Option(help="The server that has it; by default the default one.")] = "",
    as_json: Json = False,
) -> None:
    """A further volume of a user, which a server has from its next start on."""
    show(_admin().create(owner, name, size, server), as_json)


@app.command()
def grow(owner: str, name: str, size: Size, as_json: Json = False) -> None:
    """Make a volume larger, while a server has it; it never shrinks."""
    show(_admin().grow(owner, name, size), as_json)


@app.command()
def snapshots(owner: str, name: str, as_json: Json = False) -> None:
    """A volume's snapshots, newest first."""
    show(_admin().snapshots(owner, name), as_json)


@app.command()
def snapshot(owner: str, name: str, as_json: Json = False) -> None:
    """Take a snapshot of a volume as it is now; it can be restored when it is ready."""
    show(_admin().snapshot(owner, name), as_json)


@app.command()
def restore(
    owner: str,
    name: str,
    snapshot: str,
    volume: str,
    folder: Annotated[str | None, typer.Option(help="Only this folder of it.")] = None,
    into: Annotated[str, typer.Option(help="Where the folder is put in the volume.")] = "restored",
    as_json: Json = False,
) -> None:
    """Restore a snapshot as a new volume; with --folder, that folder into a volume that no server has."""
    show(
        _admin().restore(owner, name, {"snapshot": snapshot, "volume": volume, "folder": folder, "into": into}), as_json
    )


@app.command()
def trash(owner: str, name: str, as_json: Json = False) -> None:
    """Put a volume into the trash, from which it can be recovered."""
    show(_admin().trash(owner, name), as_json)


@app.command()
def trashed(as_json: Json = False) -> None:
    """What is in the trash, and until when it is kept."""
    show(_admin().trashed(), as_json)


@app.command()
def recover(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `trashed` prints it.")],
    name: Annotated[str | None, typer.Option(help="By default its own.")] = None,
    owner: Annotated[str | None, typer.Option(help="By default its own.")] = None,
    as_json: Json = False,
) -> None:
    """Take a volume out of the trash."""
    show(_admin().recover(key, {"name": name, "owner": owner}), as_json)
