"""Which rows make which output file. Pure: the same files give the same plan, so that whoever goes on agrees."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.batch.scoring.sources import Segment
from modelyard_api.errors import InvalidInput

_NAME = re.compile(r"part-(\d{5})-(\d{4})(?:-([0-9a-f]+))?\.parquet")


@dataclass(frozen=True)
class Unit:
    """Segments that are scored one after the other, into parts of their own."""

    number: int
    segments: tuple[Segment, ...]


def units(segments: Sequence[Segment], part_rows: int) -> list[Unit]:
    """Neighbours together until they have `part_rows` rows; those of unknown length stand alone."""
    groups: list[list[Segment]] = []
    rows = part_rows
    for segment in segments:
        if segment.rows is None or rows >= part_rows:
            groups.append([])
            rows = 0
        groups[-1] = _joined(groups[-1], segment)
        rows = part_rows if segment.rows is None else rows + segment.rows
    return [Unit(number, tuple(group)) for number, group in enumerate(groups)]


def _joined(group: list[Segment], more: Segment) -> list[Segment]:
    last = group[-1] if group else None
    if last is None or last.file != more.file or last.stop != more.start or last.rows is None or more.rows is None:
        return [*group, more]
    return [*group[:-1], replace(last, stop=more.stop, rows=last.rows + more.rows)]


def sharded(all_units: Sequence[Unit], shard: tuple[int, int]) -> list[Unit]:
    """Those of shard `i` of `n`, counted from 0. InvalidInput for a shard that there is not."""
    index, of = shard
    if not 0 <= index < of:
        raise InvalidInput(f"there is no shard {index} of {of}", remedy=f"0 to {of - 1}.")
    return [unit for unit in all_units if unit.number % of == index]


def fingerprint(facts: Any) -> str:
    """Sixteen hexadecimal digits that stand for what is scored, with what, how."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def tagged(name: str, tag: str) -> str:
    """The name of a file that a scoring of that tag makes. (Before there were tags it was the bare name.)"""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-{tag}{dot}{ending}" if tag else name


def part_name(unit: int, part: int, tag: str = "") -> str:
    """The file of a unit's part."""
    return tagged(f"part-{unit:05d}-{part:04d}.parquet", tag)


def parse_part(path: str) -> tuple[int, int, str] | None:
    """The opposite; None for any other file."""
    found = _NAME.fullmatch(path)
    return (int(found[1]), int(found[2]), found[3] or "") if found else None
