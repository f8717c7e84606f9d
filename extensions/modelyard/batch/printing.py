"""How `modelyard runs …` prints rows: as a table, or as JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_IDS = ("id", "run")
_console = Console()
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print them."""
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201
        return
    table = Table(box=None)
    for column in rows[0] if rows else []:
        # An id is there to be copied: it is never cut.
        table.add_column(column, no_wrap=column in _IDS, min_width=16 if column in _IDS else None)
    for row in rows:
        # A Text: what a run says in brackets is no markup.
        table.add_row(*(Text(str(value)) for value in row.values()))
    _console.print(table if rows else "none", highlight=False)
