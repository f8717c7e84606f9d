"""Trees in an ONNX graph: rows that are alike, one after the other, take the same ways through them.

A processor guesses each branch by the last ones. Where rows come in any order it is wrong so often that this, not the
comparing, is most of a tree's time. Each row is computed by itself, so no bit of an answer depends on the order."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FROM = 256
"""Rows from which on they are put in order: fewer are not alike enough."""
_TREES, _LOOKED_AT, _NODES = 10, 20, 100_000
"""Trees that there must be, trees that are looked at, and their nodes: of a large forest all would take seconds."""
_ENSEMBLES = (b"TreeEnsembleClassifier", b"TreeEnsembleRegressor")
_ROW_BY_ROW = (*_ENSEMBLES, b"Cast", b"Identity", b"Reshape")
"""Not the arithmetic of whole arrays: it takes several numbers at once, and the last ones otherwise than the rest."""
_GRAPH, _NODE, _OP_TYPE, _ATTRIBUTE, _NAME, _INTS = 7, 1, 4, 5, 1, 8
"""Numbers of fields in onnx.proto."""


def leading_column(path: Path) -> int | None:
    """The column that most trees ask of first; None where the graph is no ensemble of many trees, or cannot be read."""
    try:
        with path.open("rb") as file:
            model = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        graph = next((value for number, value in _fields(model) if number == _GRAPH), model)
        roots = Counter(islice(_roots(graph), _LOOKED_AT))
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return None
    return roots.most_common(1)[0][0] if roots.total() >= _TREES else None


def ordered(rows: NDArray[Any], column: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The rows by one of their columns, and where each of them was."""
    places = np.argsort(rows[:, column])
    return rows[places], places


def back(array: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """An output with its rows where they were."""
    found = np.empty_like(array)
    found[places] = array
    return found


def _roots(graph: memoryview) -> Iterator[int]:
    """The column that each tree asks of first. ValueError where a node of the graph is not computed row by row."""
    for number, node in _fields(graph):
        if number != _NODE:
            continue
        fields = list(_fields(node))
        kind = next((bytes(value) for number, value in fields if number == _OP_TYPE), b"")
        if kind not in _ROW_BY_ROW:
            raise ValueError(f"a node {kind!r}")
        if kind in _ENSEMBLES:
            attributes = dict(_attribute(value) for number, value in fields if number == _ATTRIBUTE)
            asked = zip(attributes[b"nodes_nodeids"], attributes[b"nodes_featureids"], strict=True)
            yield from (column for place, column in islice(asked, _NODES) if not place)


def _attribute(data: memoryview) -> tuple[bytes, Iterator[int]]:
    """Its name and its whole numbers."""
    name = next((bytes(value) for number, value in _fields(data) if number == _NAME), b"")
    return name, _ints(data)


def _ints(data: memoryview) -> Iterator[int]:
    for number, value in _fields(data):
        if number == _INTS and isinstance(value, int):
            yield value
        elif number == _INTS:
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                yield one


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Fields of a message of protocol buffers: whole numbers, and the bytes of all that has a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError("no message")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A whole number, and where it ends."""
    found = shift = 0
    while True:
        byte = data[at]
        found |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return found, at
