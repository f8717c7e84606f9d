"""Whatever is sent: refused with 4xx or answered, never a failure; and the short way reads as the long one does."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.model_server import serving
from harness.packages import write_onnx, write_skops
from modelyard_api.errors import ModelyardError
from modelyard_api.models import ColumnKind, Signature, TensorSpec
from modelyard_server import binary, columns, invocations, v2
from modelyard_server.body import gunzip
from modelyard_server.fast import Reader

TABLE = Signature(
    layout="table",
    inputs=(
        TensorSpec(name="a", dtype="float64"),
        TensorSpec(name="b", dtype="int32"),
        TensorSpec(name="c", dtype="float32", required=False),
    ),
    outputs=(),
)
MIXED = Signature(
    layout="table",
    inputs=(
        TensorSpec(name="a", dtype="uint8"),
        TensorSpec(name="b", kind=ColumnKind.string, dtype="str"),
        TensorSpec(name="c", kind=ColumnKind.boolean, dtype="bool"),
    ),
    outputs=(),
)
SQUARE = Signature(layout="tensor", inputs=(TensorSpec(name="input", dtype="float64", shape=(-1, 3)),), outputs=())
DOUBLES = Signature(layout="table", inputs=tuple(TensorSpec(name=n, dtype="float64") for n in "abc"), outputs=())
SIGNATURES = (TABLE, MIXED, SQUARE, DOUBLES)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e39, 2.0**53, 2.0**53 + 2, 0.1, -0.0, 255, 256, 1.5])
    | st.text(max_size=3)
)
numbers = st.lists(st.floats(-1e3, 1e3) | st.integers(-5, 5), min_size=1, max_size=6)
data = numbers | st.lists(scalars, max_size=6) | st.lists(st.lists(scalars, min_size=3, max_size=3), max_size=3)
shapes = st.lists(st.integers(-1, 4) | st.just(2**62), max_size=3) | st.sampled_from([[1], [2], [1, 1], [1, 3], [2, 3]])
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c", "input", ""]),
        "shape": shapes,
        "datatype": st.sampled_from([*v2.DTYPES, "COMPLEX"]),
    },
    optional={"data": data, "parameters": st.none() | st.fixed_dictionaries({"binary_data_size": st.integers(-1, 50)})},
)
questions = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=3)}, optional={"id": scalars, "outputs": scalars}
)
tables = st.lists(st.lists(scalars, min_size=3, max_size=3) | st.lists(scalars, max_size=4), max_size=3)
invoked = (
    st.fixed_dictionaries({"instances": tables})
    | st.fixed_dictionaries({"inputs": tables | st.dictionaries(st.sampled_from("abc"), st.lists(scalars, max_size=3))})
    | st.fixed_dictionaries(
        {"dataframe_split": st.fixed_dictionaries({"columns": st.permutations(["a", "b", "c"]), "data": tables})}
    )
    | st.fixed_dictionaries(
        {"dataframe_records": st.lists(st.dictionaries(st.sampled_from("abc"), scalars), max_size=3)}
    )
)
valid = st.integers(1, 3).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "inputs": st.tuples(
                *(
                    st.fixed_dictionaries(
                        {
                            "name": st.just(name),
                            "shape": st.sampled_from([[n], [n, 1]]),
                            "datatype": st.sampled_from(["FP64", "FP32", "INT64", "INT32", "UINT8"]),
                            "data": st.lists(st.integers(-3, 300) | st.floats(-1e3, 1e3), min_size=n, max_size=n),
                        }
                    )
                    for name in "abc"
                )
            ).map(list)
        }
    )
)
SLOWLY = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def outcome(read: Any) -> dict[str, np.ndarray] | None:
    """Columns; None: refused. Whatever else is raised fails the test."""
    try:
        return dict(read())
    except ModelyardError as error:
        return refused(error)


def refused(error: Exception) -> None:
    """As the caller's fault."""
    assert getattr(error, "status", 400) in (400, 413, 422)


def same(fast: Any, slow: dict[str, np.ndarray] | None) -> None:
    """What the short way took, the long way takes alike."""
    if fast is None:
        return
    assert slow is not None
    assert list(fast) == list(slow)
    for name, array in slow.items():
        assert fast[name].dtype == array.dtype
        assert np.array_equal(fast[name], array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("signature", SIGNATURES)
@SLOWLY
@given(question=questions | valid)
def test_both_ways_read_v2_alike(signature: Signature, question: dict[str, Any]) -> None:
    raw = json.dumps(question).encode()
    slow = outcome(lambda: columns.check(signature, v2.decode(json.loads(raw))))
    fast = Reader(signature).v2(raw)
    same(None if fast is None else fast[0], slow)


@pytest.mark.parametrize("signature", SIGNATURES)
@SLOWLY
@given(body=invoked, pad=st.sampled_from([0, 5000]))
def test_both_ways_read_invocations_alike(signature: Signature, body: dict[str, Any], pad: int) -> None:
    # Spaces make it large enough for the parser of large bodies.
    raw = json.dumps(body).replace(",", "," + " " * pad).encode()
    slow = outcome(lambda: columns.check(signature, invocations.decode(json.loads(raw), signature)))
    fast = Reader(signature).invocations(raw)
    same(None if fast is None else fast[0], slow)


LARGE = [
    json.dumps("x" * 5000),
    json.dumps({"a" * 5000: 1}),
    json.dumps("[1, 2]" + "x" * 5000),
    json.dumps({"a" * 5000: [1]}),
    json.dumps({"data": [[1.0, 2.0, 3.0]] * 1000}),
    "1" + " " * 5000,
    "1." + "0" * 5000,
    "null" + " " * 5000,
    "true" + " " * 5000,
    json.dumps([{"a": 1}] * 1000),
    json.dumps(["a"] * 2000),
    json.dumps([None] * 2000),
    json.dumps([[1, 2, 3], {"a": 1, "b": 2, "c": 3}] * 500),
    json.dumps([[1, 2, 3], "abc"] * 500),
]


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("text", LARGE, ids=range(len(LARGE)))
def test_large_data_of_any_kind(signature: Signature, text: str) -> None:
    for name in ("a", "input"):
        raw = f'{{"inputs": [{{"name": "{name}", "shape": [1, 3], "datatype": "FP64", "data": {text}}}]}}'.encode()
        assert outcome(partial(lambda raw: columns.check(signature, v2.decode(json.loads(raw))), raw)) is None
        assert Reader(signature).v2(raw) is None
    split = f'{{"columns": ["a", "b", "c"], "data": {text}}}'
    for body in (f'{{"instances": {text}}}', f'{{"inputs": {text}}}', f'{{"dataframe_split": {split}}}'):
        assert Reader(signature).invocations(body.encode()) is None


def test_the_short_way_is_taken() -> None:
    rows = [[1.5, 2, 3], [4, 5, 6]]
    for signature in (TABLE, SQUARE, DOUBLES):
        reader = Reader(signature)
        assert reader.invocations(json.dumps({"instances": rows}).encode()) is not None
        assert reader.invocations(json.dumps({"instances": rows * 1000}).encode()) is not None
        tensor = {"name": "input", "shape": [2, 3], "datatype": "FP64", "data": [1, 2, 3, 4, 5, 6]}
        assert reader.v2(json.dumps({"inputs": [tensor]}).encode()) is not None
    split = {"columns": ["c", "a", "b"], "data": rows}
    found = Reader(DOUBLES).invocations(json.dumps({"dataframe_split": split}).encode())
    assert found is not None
    assert found[0]["a"].tolist() == [2, 5]
    kinds = (("a", "UINT8", [1, 2]), ("b", "BYTES", ["x", "y"]), ("c", "BOOL", [True, False]))
    inputs = [{"name": n, "shape": [2], "datatype": kind, "data": values} for n, kind, values in kinds]
    assert Reader(MIXED).v2(json.dumps({"inputs": inputs}).encode()) is not None


@SLOWLY
@given(raw=st.binary(max_size=200), length=st.text(max_size=5) | st.integers(0, 300).map(str))
def test_binary_bodies_of_any_kind(raw: bytes, length: str) -> None:
    try:
        head, tail = binary.divide(raw, length)
        v2.decode(orjson.loads(head), binary.Tail(tail))
    except (ModelyardError, orjson.JSONDecodeError) as error:
        refused(error)


@SLOWLY
@given(question=questions, tail=st.binary(max_size=60), cut=st.integers(0, 40))
def test_binary_tensors_of_any_kind(question: dict[str, Any], tail: bytes, cut: int) -> None:
    head = json.dumps(question).encode()
    left = tail[cut:]

    def slowly(signature: Signature) -> Any:
        return columns.check(signature, v2.decode(json.loads(head), binary.Tail(memoryview(left))))

    for signature in SIGNATURES:
        slow = outcome(partial(slowly, signature))
        try:
            fast = Reader(signature).v2(head, binary.Tail(memoryview(left)))
        except ModelyardError as error:
            refused(error)
            assert slow is None
        else:
            same(None if fast is None else fast[0], slow)


@SLOWLY
@given(text=st.text(alphabet='abc,\n"1.5eE-\r', max_size=60))
def test_csv_of_any_kind(text: str) -> None:
    outcome(lambda: columns.check(MIXED, invocations.decode_csv(text, MIXED)))


@SLOWLY
@given(raw=st.binary(max_size=100))
def test_gzip_of_any_kind(raw: bytes) -> None:
    for body in (raw, b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + raw):
        outcome(lambda: {"x": gunzip(body, 1000)})  # noqa: B023


@pytest.fixture(scope="module", params=[write_onnx, write_skops])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    directory = tmp_path_factory.mktemp("package") / "package"
    request.param(directory)
    with serving(directory, open=True, max_body=100_000) as found:
        yield found


GOOD = [
    b'{"instances": [[1, 2, 3]]}',
    b'{"inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}',
    b'{"inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP64", "parameters": {"binary_data_size": 24}}]}',
    b'{"dataframe_records": [{"weight": 1.0, "age": 3, "island": "north"}]}',
    b"weight,age,island\n1,2,north\n",
]
KINDS = [b"application/json", b"text/csv", b"application/octet-stream", b"text/plain", b"\xff"]
BOMB = gzip.compress(b" " * 50_000_000)
"""Five hundred times what the server takes."""


def deep(rng: random.Random) -> bytes:
    """Lists or objects in each other, ended or not."""
    count = rng.choice([100, 1000, 20_000])
    opened, closed = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    inside = opened * count + b"1" + closed * rng.choice([0, count])
    return (
        rng.choice([b"%b", b'{"instances": %b}', b'{"inputs": [{"name": "input", "shape": [1], "data": %b}]}']) % inside
    )


def binary_body(rng: random.Random) -> tuple[bytes, bytes]:
    """A header of a binary tensor that says what is not so, and the body that comes with it."""
    size = rng.choice([b"24", b"0", b"-8", b"16", b"99999999999999", b"1e3", b'"24"', b"null", b"[24]", b"true"])
    shape = rng.choice(
        [b"[1, 3]", b"[3]", b"[0]", b"[4294967296, 4294967296]", b"[-1, 3]", b"[1.0, 3]", b"[]", b"{}", b"3"]
    )
    kind = rng.choice([b"FP64", b"BYTES", b"BOOL", b"FP16", b"COMPLEX", b""])
    head = b'{"inputs": [{"name": "input", "shape": %b, "datatype": "%b", "parameters": {"binary_data_size": %b}}]}'
    head %= (shape, kind, size)
    length = rng.choice([b"%d" % len(head)] * 5 + [b"%d" % (len(head) - 1), b"0x40", b"+80", b" 8 0", b"9" * 30])
    return length, head + rng.randbytes(rng.choice([24, 24, 23, 0, 400]))


def packed(rng: random.Random, body: bytes) -> bytes:
    """gzip that is none, or cut, or followed by more, or of the wrong sum, or a bomb."""
    whole = gzip.compress(body, 1)
    cut = whole[: rng.randrange(len(whole))]
    wrong = whole[:-8] + rng.randbytes(8)
    return rng.choice([body, cut, wrong, whole + whole, whole + b"x", zlib.compress(body), rng.choice([whole, BOMB])])


def bad(rng: random.Random) -> bytes:
    """A request that somebody may send by mistake or on purpose."""
    lines = [b"host: x", b"content-type: " + rng.choice(KINDS)]
    body = bytearray(rng.choice(GOOD) + rng.randbytes(rng.choice([0, 0, 24])))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(body))
        body[at : at + rng.randrange(3)] = rng.choice(
            [b"", b"null", b"[", b"}", b"1e999", b"-", b'"', rng.randbytes(2)]
        )
    path = rng.choice([b"/invocations", b"/v2/models/penguins/infer"] * 6 + [b"/v2/models/penguins", b"/%ff", b"/v2"])
    method = rng.choice([b"POST"] * 8 + [b"GET", b"PUT"])
    chance = rng.random()
    if chance < 0.15:
        length, raw = binary_body(rng)
        lines.append(b"inference-header-content-length: " + length)
        body[:] = raw
    elif chance < 0.3:
        length = rng.choice([b"0", b"-1", b"101", b"108", b"9" * 40, str(rng.randrange(150)).encode()])
        lines.append(b"inference-header-content-length: " + length)
    elif chance < 0.4:
        body[:] = deep(rng)
        lines[1] = b"content-type: application/json"
    if rng.random() < 0.2:
        lines.append(b"content-encoding: " + rng.choice([b"gzip"] * 4 + [b"br", b"deflate"]))
        body[:] = packed(rng, bytes(body))
    if rng.random() < 0.05:
        lines.append(b"transfer-encoding: chunked")
        size = rng.choice([b"%x" % len(body), b"-1", b"zz", b"f" * 20, b"5"])
        return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b\r\n%b\r\n0\r\n\r\n" % (method, path, b"\r\n".join(lines), size, body)
    lines.append(b"content-length: %d" % (len(body) + rng.choice([0] * 9 + [1 + rng.randrange(1000)])))
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, path, b"\r\n".join(lines), body)


def statuses(client: httpx.Client, requests: list[bytes]) -> list[int]:
    """What is answered to each, on a connection of its own whose end the caller has said: 0, nothing."""
    found: list[int] = []
    address = (str(client.base_url.host), client.base_url.port or 0)
    for request in requests:
        with socket.create_connection(address, timeout=20) as raw:
            # The server may have refused before all was sent.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                raw.sendall(request)
                raw.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError), raw.makefile("rb") as answers:
                line = answers.readline()
                assert not line or line.startswith(b"HTTP/1.1 "), line
                found.append(int(line.split()[1]) if line else 0)
                answers.read()
                continue
            found.append(0)
    return found


def memory(process: Any) -> dict[str, int]:
    """Bytes: what the process holds now, and the most that it ever held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if "kB" in value
    }


def test_ten_thousand_bad_requests_and_no_failure(server: tuple[httpx.Client, Any]) -> None:
    client, process = server
    rng = random.Random(7)
    statuses(client, [bad(rng) for _ in range(1000)])
    before = memory(process)
    found = statuses(client, [bad(rng) for _ in range(10_000)])
    after = memory(process)
    counted = Counter(found)
    assert len(found) == 10_000
    assert {status for status in counted if status >= 500} == set(), counted
    assert {400, 404, 413, 415, 422} <= set(counted), counted
    assert counted[0] < 1000, counted  # truncated ones, whose end the server sees
    assert after["VmRSS"] - before["VmRSS"] < 8_000_000, (before, after)
    assert after["VmHWM"] - before["VmRSS"] < 24_000_000, (before, after)
    assert client.post("/invocations", content=b"{").status_code == 400
