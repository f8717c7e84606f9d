"""The whole protocol against a real server, by a client that nobody here wrote, and by bytes that no client sends."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from harness.model_server import serving
from harness.packages import pipeline, table, write_onnx, write_skops

MODEL = "/v2/models/penguins"


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("package") / "onnx"
    write_onnx(directory)
    with serving(directory, open=True, version=3, max_rows=1000, patience=1) as (client, _):
        yield client


@pytest.fixture(scope="module")
def skops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("package") / "skops"
    write_skops(directory)
    with serving(directory, open=True) as (client, _):
        yield client


@pytest.fixture
def client(onnx: httpx.Client) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"{onnx.base_url.host}:{onnx.base_url.port}") as found:
        yield found


ROWS = np.array([[0.0, 1, 2], [21, 22, 23]])
SIMPLE = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [2, 3], "data": ROWS.ravel().tolist()}]}


def test_triton_reads_what_there_is(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("penguins")
    assert client.is_model_ready("penguins", "3")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("penguins", "3")
    assert metadata["versions"] == ["3"]
    assert [(o["name"], o["datatype"]) for o in metadata["outputs"]] == [("label", "BYTES"), ("probabilities", "FP64")]


@pytest.mark.parametrize(
    "dtype", ["FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT64"]
)
@pytest.mark.parametrize("binary", [True, False])
def test_triton_predicts_with_every_number(client: triton.InferenceServerClient, dtype: str, binary: bool) -> None:
    if dtype == "FP16" and not binary:
        pytest.skip("Triton's client sends FP16 as a binary tensor alone")
    tensor = triton.InferInput("input", [2, 3], dtype)
    tensor.set_data_from_numpy(ROWS.astype(triton.triton_to_np_dtype(dtype)), binary_data=binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]
    answer = client.infer("penguins", [tensor], model_version="3", request_id="7", outputs=wanted)
    assert answer.get_response()["id"] == "7"
    labels = answer.as_numpy("label")
    assert [v.decode() if isinstance(v, bytes) else v for v in labels.tolist()] == ["no", "yes"]
    assert answer.as_numpy("probabilities").shape == (2, 2)
    assert answer.as_numpy("probabilities").sum() == pytest.approx(2)


def test_triton_shows_what_was_wrong(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("input", [2, 2], "FP64")
    tensor.set_data_from_numpy(ROWS[:, :2].copy())
    with pytest.raises(triton.InferenceServerException, match=r"input 'input' has shape \[2, 2\]") as failed:
        client.infer("penguins", [tensor])
    assert failed.value.status() == "422"


def test_triton_asks_for_classes_compressed(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("input", [2, 3], "FP64")
    tensor.set_data_from_numpy(ROWS)
    wanted = [triton.InferRequestedOutput("probabilities", class_count=1)]
    answer = client.infer(
        "penguins",
        [tensor],
        outputs=wanted,
        request_compression_algorithm="gzip",
        response_compression_algorithm="gzip",
    )
    assert [text.decode().split(":")[1:] for text in answer.as_numpy("probabilities").ravel()] == [
        ["0", "no"],
        ["1", "yes"],
    ]


def test_binary_and_json_answer_the_same_bits(onnx: httpx.Client) -> None:
    plain = onnx.post(f"{MODEL}/versions/3/infer", json=SIMPLE).raise_for_status().json()["outputs"]
    raw = ROWS.astype("<f8").tobytes()
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 3], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = onnx.post(f"{MODEL}/infer", content=head + raw, headers=headers).raise_for_status()
    length = int(answer.headers["inference-header-content-length"])
    said = json.loads(answer.content[:length])["outputs"]
    sizes = [o["parameters"]["binary_data_size"] for o in said]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.content[length : length + sizes[0]] == b"\x02\0\0\0no\x03\0\0\0yes"
    probabilities = np.frombuffer(answer.content[length + sizes[0] :], "<f8")
    assert probabilities.tolist() == plain[1]["data"]
    assert sum(sizes) == len(answer.content) - length


def test_binary_columns_of_a_mixed_table(skops: httpx.Client) -> None:
    frame = table().head(3)
    texts = b"".join(struct.pack("<I", len(t)) + t for t in (v.encode() for v in frame["island"]))
    parts = [frame["weight"].to_numpy("<f8").tobytes(), frame["age"].to_numpy("<i8").tobytes(), texts]
    kinds = {"weight": "FP64", "age": "INT64", "island": "BYTES"}
    tensors = [
        {"name": name, "datatype": kind, "shape": [3], "parameters": {"binary_data_size": len(part)}}
        for (name, kind), part in zip(kinds.items(), parts, strict=True)
    ]
    head = json.dumps({"inputs": tensors}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = skops.post(f"{MODEL}/infer", content=head + b"".join(parts), headers=headers).raise_for_status()
    assert answer.json()["outputs"][0]["data"] == pipeline().predict(frame).tolist()


@pytest.mark.parametrize(
    ("change", "length", "raw", "said"),
    [
        ({}, "0", 48, "not JSON"),
        ({}, "-1", 48, "Inference-Header-Content-Length"),
        ({}, "9" * 30, 48, "Inference-Header-Content-Length"),
        ({}, "x", 48, "Inference-Header-Content-Length"),
        ({}, None, 40, "the body ends 8 bytes into input 'input'"),
        ({}, None, 56, "8 bytes follow the last input"),
        ({"parameters": {"binary_data_size": 40}}, None, 40, "shape [2, 3] of FP64 has 48"),
        ({"parameters": {"binary_data_size": -1}}, None, 48, "binary_data_size -1"),
        ({"parameters": {"binary_data_size": "48"}}, None, 48, "binary_data_size '48'"),
        ({"datatype": "BYTES"}, None, 48, "holds not 6 texts"),
        ({"datatype": "BOOL", "parameters": {"binary_data_size": 6}}, None, 6, "neither 0 nor 1"),
        ({"shape": [2**60, 2**60]}, None, 48, "has shape"),
        ({"shape": [0, 2**62, 2**62]}, None, 0, "has shape"),
        ({"shape": [-2, -3]}, None, 48, "has shape"),
        ({"shape": []}, None, 48, "has shape"),
    ],
)
def test_malformed_binary_requests(
    onnx: httpx.Client, change: dict[str, Any], length: str | None, raw: int, said: str
) -> None:
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 3], "parameters": {"binary_data_size": 48}} | change
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"inference-header-content-length": length or str(len(head))}
    answer = onnx.post(f"{MODEL}/infer", content=head + b"\x07" * raw, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert said in answer.json()["detail"]


def test_errors_name_input_row_and_rule(onnx: httpx.Client, skops: httpx.Client) -> None:
    wrong = {"name": "age", "datatype": "INT64", "shape": [2], "data": [1, 1.5]}
    problem = skops.post(f"{MODEL}/infer", json={"inputs": [wrong]}).json()
    assert {key: problem[key] for key in ("input", "row", "rule")} == {"input": "age", "row": 1, "rule": "datatype"}
    rows = [{"weight": 1.0, "age": 3, "island": "north"}, {"weight": 1.0, "age": None, "island": "north"}]
    problem = skops.post("/invocations", json={"instances": rows}).json()
    assert {key: problem[key] for key in ("input", "row", "rule")} == {"input": "age", "row": 1, "rule": "required"}
    rows[1]["age"] = "old"
    problem = skops.post("/invocations", json={"instances": rows}).json()
    assert {key: problem[key] for key in ("input", "row", "rule")} == {"input": "age", "row": 1, "rule": "type"}
    rule = 'modelyard_violations_total{rule="required"}'
    assert rule in skops.get("/metrics").text


def test_limits_rows_and_head(onnx: httpx.Client) -> None:
    many = {"instances": [[1, 2, 3]] * 1001}
    assert onnx.post("/invocations", json=many).status_code == 413
    assert onnx.get("/v2", headers={"x-big": "x" * 40_000}).status_code == 431
    deep = b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert onnx.post("/invocations", content=deep).status_code == 400


def exchanged(client: httpx.Client, *sent: bytes, to_end: bool = True) -> bytes:
    """What the server answers to bytes, until it closes."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as raw:
        for part in sent:
            raw.sendall(part)
        found = b""
        while part := raw.recv(65536):
            found += part
            if not to_end and b"\r\n\r\n" in found:
                break
        return found


def test_cuts_slow_callers(onnx: httpx.Client) -> None:
    slow = exchanged(onnx, b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
    assert slow.startswith(b"HTTP/1.1 408 ")
    assert exchanged(onnx, b"GET /v2 HT").startswith(b"HTTP/1.1 408 ")
    assert onnx.get("/v2/health/live").status_code == 200


def test_speaks_http(onnx: httpx.Client) -> None:
    assert exchanged(onnx, b"no HTTP at all\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    both = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    assert exchanged(onnx, both).startswith(b"HTTP/1.1 400 ")
    old = exchanged(onnx, b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    assert old.endswith(b'{"live":true}')
    assert onnx.head("/v2/health/live").content == b""
    ask = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    found = exchanged(onnx, ask * 3 + last)
    assert found.count(b'{"live":true}') == 3
    assert found.endswith(b'{"ready":true}')
    head = b"POST /invocations HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 25\r\n"
    head += b"connection: close\r\n\r\n"
    found = exchanged(onnx, head, b'{"instances": [[1,2,3]] }')
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_pipelined_requests_to_a_slow_model_are_answered_in_order(skops: httpx.Client) -> None:
    rows = [{"weight": float(i), "age": i, "island": "north"} for i in range(5)]
    sent = b""
    for row in rows:
        body = json.dumps({"instances": [row], "params": {"output": "probabilities"}}).encode()
        sent += b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    found = exchanged(skops, sent + b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in found.split(b"HTTP/1.1 200 OK")[1:]]
    expected = [
        skops.post("/invocations", json={"instances": [row], "params": {"output": "probabilities"}}).json()
        for row in rows
    ]
    assert [json.loads(body) for body in bodies[:5]] == expected
    assert json.loads(bodies[5])["name"] == "modelyard"


def test_refuses_by_the_head_alone(onnx: httpx.Client) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n"
    too_long = exchanged(onnx, head % (b"/invocations", b"content-length: 99999999999"))
    assert too_long.startswith(b"HTTP/1.1 413 ")
    nowhere = exchanged(onnx, head % (b"/v2/models/whales/infer", b"content-length: 10\r\nconnection: close"))
    assert nowhere.startswith(b"HTTP/1.1 404 ")
