"""Rows as a table of text: whole at any width of a terminal, and aligned by tabs elsewhere. Light."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

Row = Mapping[str, Any]
_GAP = 2
_NARROW = 20
"""Characters that a cell needs at least to be read, where it has as many; what is longer goes on in the next line."""


def printed(rows: Sequence[Row], *, as_json: bool, drop: Sequence[str] = ()) -> str:
    """Rows for standard output, as JSON or as a table. `drop`: columns that a narrow terminal does without, the least
    important first; elsewhere, in a pipe or a file, all are there. Times are the terminal's own."""
    if as_json:
        return json.dumps(rows, indent=2, default=_plain)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return table(rows, width, drop)


def table(rows: Sequence[Row], width: int | None, drop: Sequence[str] = ()) -> str:
    """As `printed`, for a terminal of that width; None: there is none. Nothing is cut: a cell that is too long goes on
    in the next line, and where not even the columns that stay have room, each is a line of its own."""
    if not rows:
        return "none"
    head = list(rows[0])
    cells = [[_text(row[name], whole=width is None) for name in head] for row in rows]
    if width is None:
        return _lines([head, *cells], [_widest(head, cells, index) for index in range(len(head))], "\t")
    columns = {name: _widest(head, cells, index) for index, name in enumerate(head)}
    left_out = []
    for name in drop:
        if _sum(min(_NARROW, wide) for wide in columns.values()) <= width:
            break
        if columns.pop(name, None) is not None:
            left_out.append(name)
    narrowest = {name: min(_NARROW, wide) for name, wide in columns.items()}
    kept = [[cell for name, cell in zip(head, line, strict=True) if name in columns] for line in cells]
    if _sum(narrowest.values()) > width:
        return _records(list(columns), kept)
    shown = _lines([list(columns), *kept], _shared(columns, narrowest, width), " " * _GAP)
    return shown + (f"\n(a wider terminal, a pipe or --json also shows: {', '.join(left_out)})" if left_out else "")


def _shared(wanted: Mapping[str, int], narrowest: Mapping[str, int], width: int) -> list[int]:
    """Widths of columns: what is left goes first to those that lack the least."""
    found, left = dict(narrowest), width - _sum(narrowest.values())
    lacking = sorted(wanted, key=lambda name: wanted[name] - found[name])
    for index, name in enumerate(lacking):
        more = min(wanted[name] - found[name], left // (len(lacking) - index))
        found[name] += more
        left -= more
    return list(found.values())


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int], between: str) -> str:
    found = []
    for row in rows:
        wrapped = [_wrapped(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for number in range(max(map(len, wrapped))):
            parts = [lines[number] if number < len(lines) else "" for lines in wrapped]
            padded = [part + " " * (wide - _wide(part)) for part, wide in zip(parts, widths, strict=True)]
            found.append(between.join(padded).rstrip())
    return "\n".join(found)


def _records(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n\n".join(
        "\n".join(f"{name}: {cell}".rstrip() for name, cell in zip(head, row, strict=True)) for row in rows
    )


def _wrapped(cell: str, width: int) -> list[str]:
    """In lines of that width, at spaces where there are any."""
    if _wide(cell) <= width:
        return [cell]
    lines, line = [], ""
    for word in cell.split(" "):
        joined = f"{line} {word}" if line else word
        while _wide(joined) > width:
            head = line or _fitting(joined, width)
            lines.append(head)
            joined = word if line else joined[len(head) :]
            line = ""
        line = joined
    return [*lines, line]


def _fitting(text: str, width: int) -> str:
    used = 0
    for index, letter in enumerate(text):
        used += _wide(letter)
        if used > width and index:
            return text[:index]
    return text


def _widest(head: Sequence[str], cells: Sequence[Sequence[str]], index: int) -> int:
    return max(_wide(head[index]), *(_wide(row[index]) for row in cells))


def _sum(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + _GAP * (len(found) - 1)


def _wide(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    shown = [c for c in text if unicodedata.category(c) not in ("Mn", "Me")]  # not what stands above or below others
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in shown)


def _text(value: Any, *, whole: bool) -> str:
    """A value in a line; what a terminal would take for a command is a space."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds") if whole else value.astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, timedelta):
        return duration(value.total_seconds())
    return "".join(c if c.isprintable() else " " for c in str(value))


def duration(seconds: float) -> str:
    """Such as 4.2 s, 3:05 min or 2:00:10 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 1)
    raise TypeError(f"{type(value).__name__} is no JSON")
