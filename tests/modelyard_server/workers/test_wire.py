"""What the server and a model's process say to each other: the same arrays there as here, bit for bit."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard_server.block import Block
from modelyard_server.workers import wire

MATRIX = np.arange(12, dtype=np.float64).reshape(3, 4)
ARRAYS = {
    "floats": np.array([1.5, -0.0, np.nan, np.inf]),
    "row": MATRIX[1],
    "column": MATRIX[:, 1],
    "transposed": MATRIX.T,
    "backwards": MATRIX[::-1, ::2],
    "empty": np.empty((0, 3), np.float32),
    "scalar": np.array(3),
    "texts": np.array(["a", "längst"]),
    "objects": np.array(["a", None, 2, 2.5, True, 2**70], dtype=object),
    "times": np.array(["2024-02-29", "NaT"], dtype="datetime64[ns]"),
    "flags": np.array([True, False]),
    "kept": np.asarray(1 / (pd.DataFrame({"a": [2.0, 3.0]})["a"] - 1)),
    "large": np.arange(300_000, dtype=np.int64),
}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def carried(ends: tuple[socket.socket, socket.socket], message: Any, *, plain: bool = False) -> Any:
    sending = threading.Thread(target=wire.send, args=(ends[0], message))
    sending.start()
    try:
        return wire.receive(ends[1], plain=plain)
    finally:
        sending.join(10)


@pytest.mark.parametrize("name", list(ARRAYS))
@pytest.mark.parametrize("plain", [False, True])
def test_arrays_are_the_same(ends: tuple[socket.socket, socket.socket], name: str, plain: bool) -> None:
    sent = ARRAYS[name]
    got = carried(ends, {name: sent}, plain=plain)[name]
    assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
    assert got.tolist() == sent.tolist() or got.tobytes() == sent.tobytes()
    assert got.flags.writeable == sent.flags.writeable


def test_a_block_stays_one(ends: tuple[socket.socket, socket.socket]) -> None:
    rows = np.frombuffer(MATRIX.tobytes()).reshape(3, 4)
    got = carried(ends, Block({"a": 0, "b": 1, "c": 2, "d": 3}, rows))
    assert isinstance(got, Block)
    assert got.matrix.tobytes() == rows.tobytes()
    assert got["b"].tolist() == rows[:, 1].tolist()


def test_more_arrays_than_one_call_takes(ends: tuple[socket.socket, socket.socket]) -> None:
    sent = {str(i): np.full(100, float(i)) for i in range(2000)}
    got = carried(ends, sent)
    assert all((got[name] == array).all() for name, array in sent.items())


def test_answers_draw_in_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    odd = np.array([Decimal("1.5"), np.str_("a"), np.float64(2.5), pd.Timestamp("2024-01-01"), None], dtype=object)
    got = carried(ends, wire.plain({"odd": odd}), plain=True)["odd"]
    assert [(type(v), v) for v in got] == [
        (str, "1.5"),
        (str, "a"),
        (float, 2.5),
        (str, "2024-01-01 00:00:00"),
        (type(None), None),
    ]
    with pytest.raises(pickle.UnpicklingError, match=r"decimal\.Decimal is not part of an answer"):
        carried(ends, {"odd": odd}, plain=True)


def test_an_end_that_is_gone_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    here, there = ends
    assert not wire.closed(here)
    here.sendall(b"\0" * 4)
    here.close()
    with pytest.raises(wire.Closed):
        wire.receive(there)
    assert wire.closed(there)
    with pytest.raises(wire.Closed):
        wire.send(there, {"large": ARRAYS["large"]})
