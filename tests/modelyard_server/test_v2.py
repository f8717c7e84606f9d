"""The codec of the Open Inference Protocol: every datatype both ways, and what JSON cannot hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest

from modelyard_api.errors import InvalidInput, MalformedRequest
from modelyard_api.models import ColumnKind, Flavor, PackageManifest, Signature, TensorSpec
from modelyard_server import v2
from modelyard_server.binary import Tail
from modelyard_server.fast import Reader

EDGES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "UINT8": [0, 255],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "FP16": [0.5, -65504.0],
    "FP32": [0.5, -(2.0**100)],
    "FP64": [0.1, 1.7e308],
    "BYTES": ["", "naïve 🐧"],
}


def one(kind: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": kind, "shape": [len(data)] if shape is None else shape, "data": data}
    return {"inputs": [tensor]}


def test_knows_every_datatype() -> None:
    assert set(EDGES) == set(v2.DTYPES)


@pytest.mark.parametrize("kind", EDGES)
def test_carries_every_datatype_both_ways(kind: str) -> None:
    body = orjson.loads(orjson.dumps(one(kind, EDGES[kind], [2, 1])))
    array = v2.decode(body)["x"]
    assert array.shape == (2, 1)
    typed = array.astype(bool) if kind == "BOOL" else array
    document, _ = v2.encode(("m", "3"), {"y": typed}, v2.ask(body))
    answer = orjson.loads(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
    assert answer["outputs"] == [{"name": "y", "datatype": kind, "shape": [2, 1], "data": EDGES[kind]}]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("INT8", 128), ("UINT8", -1), ("INT64", 2**63), ("INT32", 1.5), ("BOOL", 1), ("BYTES", 1), ("FP64", "1")],
)
def test_refuses_what_a_datatype_cannot_hold(kind: str, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=kind):
        v2.decode(one(kind, [wrong]))


def test_metadata_tells_the_levels_of_a_categorical() -> None:
    inputs = (
        TensorSpec(name="island", kind=ColumnKind.string, dtype="str", categories=("north", "south")),
        TensorSpec(name="weight", dtype="float64", required=False),
    )
    signature = Signature(layout="table", inputs=inputs, outputs=())
    manifest = PackageManifest(flavor=Flavor.onnx, path="m", task="other", signature=signature)
    said = [i["parameters"] for i in v2.metadata("m", "3", manifest)["inputs"]]
    assert said[0] == {"kind": "string", "dtype": "str", "required": True, "categories": ["north", "south"]}
    assert said[1] == {"kind": "number", "dtype": "float64", "required": False}


def test_reads_nested_data() -> None:
    assert v2.decode(one("INT64", [[1, 2], [3, 4]], [2, 2]))["x"].tolist() == [[1, 2], [3, 4]]


def test_what_is_not_finite_is_null() -> None:
    assert v2.values(np.array([1.0, math.nan, math.inf, -math.inf])) == [1.0, None, None, None]
    assert v2.values(np.array(["2024-02-29", "NaT"], dtype="datetime64[D]")) == ["2024-02-29", None]


@pytest.mark.parametrize("outputs", [5, "label", [5]])
def test_refuses_outputs_that_are_no_list_of_objects(outputs: Any) -> None:
    with pytest.raises(MalformedRequest, match="outputs"):
        v2.ask({"outputs": outputs})


def test_refuses_an_output_that_is_asked_for_twice() -> None:
    asked = v2.ask({"outputs": [{"name": "y"}, {"name": "y"}]})
    with pytest.raises(InvalidInput, match="twice"):
        v2.encode(("m", "3"), {"y": np.ones(2)}, asked)


@pytest.mark.parametrize("shape", [[2**40] * 100_000, [2**62] * 10, [2**62, 0], [-1]])
def test_refuses_shapes_beyond_all_measure(shape: list[int]) -> None:
    body = one("FP64", [1.0], shape)
    for parameters in ({}, {"binary_data_size": 8}):
        body["inputs"][0]["parameters"] = parameters
        signature = Signature(layout="table", inputs=(TensorSpec(name="x", dtype="float64"),), outputs=())
        tensor = Signature(layout="tensor", inputs=(TensorSpec(name="x", dtype="float64", shape=(-1, 3)),), outputs=())
        for known in (signature, tensor):
            assert Reader(known).v2(orjson.dumps(body), Tail(memoryview(b"12345678"))) is None
        with pytest.raises(InvalidInput, match="has shape"):
            v2.decode(body, Tail(memoryview(b"12345678")))


def test_refuses_an_input_that_comes_twice() -> None:
    body = one("INT64", [1])
    with pytest.raises(InvalidInput, match="twice"):
        v2.decode({"inputs": body["inputs"] * 2})
