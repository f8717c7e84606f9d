"""Large requests of V2 in one pass: read as the long way reads them, or left to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest

from modelyard_api.models import Signature, TensorSpec
from modelyard_server import simd, v2
from modelyard_server.columns import check
from modelyard_server.fast import Reader

N = 2100
WIDE = Signature(layout="table", inputs=tuple(TensorSpec(name=n, dtype="float64") for n in "abc"), outputs=())
COLUMNS = Signature(
    layout="table",
    inputs=(TensorSpec(name="a", dtype="float64"), TensorSpec(name="b", dtype="int32")),
    outputs=(),
)


def tensor(name: str, shape: list[int], data: list[Any], kind: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": kind, "data": data}


VALUES = np.random.default_rng(0).normal(size=3 * N).tolist()
FLAT = tensor("input", [N, 3], VALUES)
WHOLE = [tensor("b", [N], list(range(N)), "INT32"), tensor("a", [N, 1], VALUES[:N])]


@pytest.mark.parametrize(
    ("signature", "asked"),
    [
        (WIDE, {"inputs": [FLAT]}),
        (WIDE, {"id": "7", "inputs": [FLAT | {"parameters": {"x": {"y": 1}}}], "outputs": [{"name": "label"}]}),
        (WIDE, {"inputs": [FLAT | {"datatype": "FP32"}], "parameters": {"binary_data_output": True}}),
        (COLUMNS, {"inputs": WHOLE, "further": "[not a list]"[1:]}),
    ],
)
def test_reads_in_one_pass_what_the_long_way_reads(signature: Signature, asked: dict[str, Any]) -> None:
    raw = json.dumps(asked).encode()
    assert simd.request(raw) is not None
    found = Reader(signature).v2(raw)
    assert found is not None
    columns, ask = found
    expected = check(signature, v2.decode(orjson.loads(raw)))
    assert list(columns) == list(expected)
    for name, array in expected.items():
        assert columns[name].dtype == array.dtype
        assert np.array_equal(columns[name], array)
    wanted = v2.ask(asked)
    assert (ask.id, ask.outputs, ask.parameters) == (wanted.id, wanted.outputs, wanted.parameters)


def test_forgets_what_it_read_before() -> None:
    raw = json.dumps({"inputs": [FLAT]}).encode()
    first = Reader(WIDE).v2(raw)
    assert first is not None
    parser = simd._FREE[0]
    second = Reader(WIDE).v2(raw.replace(b"-", b""))
    assert second is not None
    assert simd._FREE[0] is parser
    assert np.array_equal(first[0]["a"], VALUES[::3])
    assert np.array_equal(second[0]["a"], np.abs(VALUES[::3]))


@pytest.mark.parametrize(
    "data",
    [
        [*VALUES[:-1], [VALUES[-1]]],
        [VALUES[i : i + 3] for i in range(0, 3 * N, 3)],
        [*VALUES[:-2], [], VALUES[-2:]],
        [*VALUES[:-1], "1"],
        [*VALUES[:-1], None],
        [*VALUES[:-1], True],
        VALUES[:6],
    ],
)
def test_leaves_what_is_not_flat_numbers(data: list[Any]) -> None:
    raw = json.dumps({"inputs": [FLAT | {"data": data}]}).encode()
    assert _found(raw) is None


@pytest.mark.parametrize(
    "twisted",
    [
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.replace(b'"inputs"', b'"inputs": [], "inputs"', 1),
        lambda raw: raw.replace(b'"name"', b'"name": "a", "name"', 1),
        lambda raw: raw.replace(b"FP64", b"BYTES", 1),
        lambda raw: raw[:-1],
        lambda raw: raw + b"{}",
        lambda raw: b"[" + raw + b"]",
    ],
)
def test_leaves_what_only_one_of_both_might_take(twisted: Any) -> None:
    assert _found(twisted(json.dumps({"inputs": [FLAT]}).encode())) is None


def _found(raw: bytes) -> Any:
    try:
        return simd.request(raw)
    except (ValueError, TypeError, RuntimeError, KeyError):
        return None
