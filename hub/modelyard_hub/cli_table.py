"""How commands print rows: as a table, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from modelyard_api.tables import Row, printed

console = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def show(rows: Sequence[Row], as_json: bool, drop: Sequence[str] = ()) -> None:
    """Print them; see `modelyard_api.tables.printed`."""
    print(printed(rows, as_json=as_json, drop=drop))
