"""How commands print rows: as a table, or as JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print them."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None)
    for column in rows[0] if rows else []:
        table.add_column(column)
    for row in rows:
        # A Text: what somebody called a thing is no markup.
        table.add_row(*(Text(str(value)) for value in row.values()))
    console.print(table if rows else "none", highlight=False)
