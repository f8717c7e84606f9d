"""What reads a caller's bytes, one function a parser: it raises nothing, or fails the fuzzing.

Each refuses with an error of the caller's (4xx), or hands on columns that the model may be given."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.packages import write_onnx, write_skops
from modelyard_api.errors import ModelyardError
from modelyard_server import body
from modelyard_server.dataplane import DataPlane, load, rows
from modelyard_server.questions import Codec
from modelyard_server.web.messages import Request

_ROWS = 10_000
_UNZIPPED = 100_000
Parser = Callable[[bytes], None]


@functools.cache
def codecs() -> tuple[Codec, ...]:
    """Of a table with numbers and text, and of a tensor."""
    return tuple(Codec(plane, "penguins", "1", _ROWS) for plane in _planes())


def _planes() -> list[DataPlane]:
    planes = []
    for write in (write_skops, write_onnx):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "package")
            planes.append(load(Path(folder) / "package"))
    return planes


def _read(raw: bytes, headers: dict[bytes, bytes], *, invoked: bool) -> None:
    for codec in codecs():
        try:
            question = codec.read(Request(b"POST", headers=headers), raw, invoked=invoked)
        except ModelyardError as error:
            if not 400 <= error.status < 500:
                raise
            error.problem().model_dump_json()  # what is said of it can be sent
        else:
            assert 0 < question.rows == rows(question.columns) <= _ROWS


def v2(raw: bytes) -> None:
    """The JSON of `/v2/…/infer`."""
    _read(raw, {}, invoked=False)


def binary(raw: bytes) -> None:
    """Binary tensors after the JSON. The first byte says where the JSON ends: at the last brace, or anywhere."""
    told, raw = raw[:1], raw[1:]
    end = raw.rfind(b"}") + 1
    length = b"%d" % (end if not told or told[0] & 1 else (told[0] * len(raw)) // 255)
    _read(raw, {b"inference-header-content-length": length}, invoked=False)


def header(raw: bytes) -> None:
    """The header that says how long the JSON is: the first line, without what HTTP would not let pass."""
    length, _, rest = raw.partition(b"\n")
    _read(rest, {b"inference-header-content-length": length.strip(b"\r\0")}, invoked=False)


def invocations(raw: bytes) -> None:
    """The JSON of `/invocations`."""
    _read(raw, {}, invoked=True)


def csv(raw: bytes) -> None:
    """A CSV to `/invocations`."""
    _read(raw, {b"content-type": b"text/csv"}, invoked=True)


def gzip(raw: bytes) -> None:
    """A body that is said to be gzip. It is never larger in memory than the limit."""
    try:
        assert len(body.gunzip(raw, _UNZIPPED)) <= _UNZIPPED
    except ModelyardError as error:
        if error.status not in (400, 413):
            raise


TARGETS: dict[str, Parser] = {f.__name__: f for f in (v2, binary, header, invocations, csv, gzip)}
