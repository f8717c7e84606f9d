"""gRPC against a real server, by a client that nobody here wrote, and by messages that no client sends."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from harness.model_server import Process, free_port, serving, spawn, with_grpc
from harness.packages import pipeline, table, write_onnx, write_skops, write_slow
from harness.wait import eventually
from modelyard_api.access import Access, KeyHash
from modelyard_server.rpc import messages

ROWS = np.array([[0.0, 1, 2], [21, 22, 23]])
PROBLEM = "modelyard-problem-bin"


class Served:
    """A server's both faces."""

    def __init__(self, http: httpx.Client, server: Process) -> None:
        self.http = http
        self.address = f"127.0.0.1:{server.grpc_port}"
        self.triton = triton.InferenceServerClient(self.address)
        self.channel = grpc.insecure_channel(self.address)
        self.stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def close(self) -> None:
        self.triton.close()
        self.channel.close()

    def counted(self, code: int) -> bool:
        return f'modelyard_requests_total{{code="{code}"}}' in self.http.get("/metrics").text


def served(package: Path, **settings: object) -> Iterator[Served]:
    with serving(package, with_grpc, **{"open": True, **settings}) as (http, server):
        found = Served(http, server)
        yield found
        found.close()


@pytest.fixture(scope="module")
def onnx_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package") / "onnx"
    write_onnx(directory)
    return directory


@pytest.fixture(scope="module")
def onnx(onnx_package: Path) -> Iterator[Served]:
    yield from served(onnx_package, version=3, max_rows=1000, max_body=100_000, patience=1)


@pytest.fixture(scope="module")
def skops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("package") / "skops"
    write_skops(directory)
    yield from served(directory)


def test_messages_are_the_public_ones() -> None:
    """Names, numbers, types and labels, as the client's own generated code has them."""
    for name in messages._MESSAGES:
        ours = messages.message(name).DESCRIPTOR
        theirs = service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"inference.{name}")
        found = {f.name: (f.number, f.type, f.is_repeated) for f in theirs.fields}
        for field in ours.fields:
            assert found[field.name] == (field.number, field.type, field.is_repeated), f"{name}.{field.name}"
            if field.message_type is not None:
                assert field.message_type.full_name == theirs.fields_by_name[field.name].message_type.full_name


def test_triton_reads_what_there_is(onnx: Served) -> None:
    client = onnx.triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("penguins")
    assert client.is_model_ready("penguins", "3")
    metadata = client.get_server_metadata()
    assert metadata.name == "modelyard"
    assert "classification" in metadata.extensions
    found = client.get_model_metadata("penguins", "3")
    assert list(found.versions) == ["3"]
    assert [(i.name, i.datatype, list(i.shape)) for i in found.inputs] == [("input", "FP64", [-1, 3])]
    assert [(o.name, o.datatype) for o in found.outputs] == [("label", "BYTES"), ("probabilities", "FP64")]
    with pytest.raises(InferenceServerException, match="no model 'whales'"):
        client.get_model_metadata("whales")


def expected(served: Served) -> dict[str, Any]:
    body = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [2, 3], "data": ROWS.ravel().tolist()}]}
    answer = served.http.post("/v2/models/penguins/infer", json=body).raise_for_status().json()
    return {output["name"]: output["data"] for output in answer["outputs"]}


@pytest.mark.parametrize(
    "dtype",
    ["FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT32", "UINT64"],
)
def test_triton_infers_with_every_number(onnx: Served, dtype: str) -> None:
    array = ROWS.astype(triton_to_np_dtype(dtype))
    sent = triton.InferInput("input", [2, 3], dtype)
    sent.set_data_from_numpy(array)
    answer = onnx.triton.infer("penguins", [sent], model_version="3", request_id="17")
    assert answer.get_response().id == "17"
    wanted = expected(onnx)
    assert [text.decode() for text in answer.as_numpy("label")] == wanted["label"]
    assert answer.as_numpy("probabilities").dtype == np.float64
    assert answer.as_numpy("probabilities").ravel().tolist() == pytest.approx(wanted["probabilities"], rel=1e-6)


def test_triton_asks_for_outputs_and_classes(onnx: Served) -> None:
    sent = triton.InferInput("input", [2, 3], "FP64")
    sent.set_data_from_numpy(ROWS)
    wanted = [triton.InferRequestedOutput("probabilities", class_count=1)]
    answer = onnx.triton.infer("penguins", [sent], outputs=wanted)
    assert [o.name for o in answer.get_response().outputs] == ["probabilities"]
    assert [text.decode().split(":")[1:] for text in answer.as_numpy("probabilities").ravel()] == [
        ["0", "no"],
        ["1", "yes"],
    ]
    with pytest.raises(InferenceServerException, match="unknown output 'odds'"):
        onnx.triton.infer("penguins", [sent], outputs=[triton.InferRequestedOutput("odds")])


def test_triton_sends_a_mixed_table(skops: Served) -> None:
    frame = table().dropna().head(3)
    columns = {"weight": "FP64", "age": "INT64", "island": "BYTES"}
    inputs = []
    for name, kind in columns.items():
        inputs.append(triton.InferInput(name, [3, 1], kind))
        values = frame[name].to_numpy().reshape(3, 1)
        inputs[-1].set_data_from_numpy(values.astype(object) if kind == "BYTES" else values)
    answer = skops.triton.infer("penguins", inputs)
    assert [text.decode() for text in answer.as_numpy("label")] == pipeline().predict(frame).tolist()
    assert answer.as_numpy("probabilities") == pytest.approx(pipeline().predict_proba(frame))


CONTENTS = {
    "FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "INT32": "int_contents",
    "INT16": "int_contents", "INT8": "int_contents", "UINT8": "uint_contents", "UINT16": "uint_contents",
    "UINT32": "uint_contents", "UINT64": "uint64_contents",
}  # fmt: skip


def ask(**change: Any) -> Any:
    """A request with typed contents; `change`: of its one input, and `request` of the whole."""
    whole = {"model_name": "penguins"} | change.pop("request", {})
    values = change.pop("values", ROWS.ravel().tolist())
    tensor: dict[str, Any] = {"name": "input", "datatype": "FP64", "shape": [2, 3]} | change
    request = service_pb2.ModelInferRequest(**whole)
    added = request.inputs.add(**tensor)
    field = CONTENTS.get(tensor["datatype"], "fp64_contents")
    if values:
        getattr(added.contents, field).extend(values)
    return request


@pytest.mark.parametrize("dtype", CONTENTS)
def test_typed_contents_are_answered_typed(onnx: Served, dtype: str) -> None:
    whole = [int(value) for value in ROWS.ravel()]
    answer = onnx.stub.ModelInfer(ask(datatype=dtype, values=whole))
    wanted = expected(onnx)
    assert not answer.raw_output_contents
    assert [text.decode() for text in answer.outputs[0].contents.bytes_contents] == wanted["label"]
    assert list(answer.outputs[1].contents.fp64_contents) == pytest.approx(wanted["probabilities"], rel=1e-6)
    assert list(answer.outputs[1].shape) == [2, 2]


def test_parameters_choose_raw_outputs(onnx: Served) -> None:
    request = ask()
    request.parameters["binary_data_output"].bool_param = True
    answer = onnx.stub.ModelInfer(request)
    assert len(answer.raw_output_contents) == 2
    assert np.frombuffer(answer.raw_output_contents[1]).tolist() == expected(onnx)["probabilities"]


def test_typed_texts_and_booleans(skops: Served) -> None:
    request = service_pb2.ModelInferRequest(model_name="penguins")
    request.inputs.add(name="weight", datatype="FP64", shape=[2]).contents.fp64_contents.extend([1.0, float("nan")])
    request.inputs.add(name="age", datatype="INT8", shape=[2]).contents.int_contents.extend([3, 1])
    request.inputs.add(name="island", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([b"north", b"west"])
    answer = skops.stub.ModelInfer(request)
    assert {text.decode() for text in answer.outputs[0].contents.bytes_contents} <= {"no", "yes"}
    request.inputs[1].datatype = "BOOL"
    request.inputs[1].contents.Clear()
    request.inputs[1].contents.bool_contents.extend([True, False])
    with pytest.raises(grpc.RpcError) as refused:
        skops.stub.ModelInfer(request)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "'age'" in refused.value.details()


def refused(served: Served, request: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """The status of a call, its message, and the problem in its trailing metadata."""
    with pytest.raises(grpc.RpcError) as raised:
        served.stub.ModelInfer(request, timeout=20)
    error: Any = raised.value
    trailing = dict(error.trailing_metadata() or ())
    return error.code(), error.details(), json.loads(trailing[PROBLEM]) if PROBLEM in trailing else {}


BAD = grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (ask(request={"model_name": "whales"}), grpc.StatusCode.NOT_FOUND, "This server has penguins, version 3"),
        (ask(request={"model_version": "4"}), grpc.StatusCode.NOT_FOUND, "of version '4'"),
        (service_pb2.ModelInferRequest(model_name="penguins"), BAD, "no inputs"),
        (ask(datatype="COMPLEX"), BAD, "datatype 'COMPLEX'"),
        (ask(datatype="FP16"), BAD, "raw_input_contents"),
        (ask(shape=[2, 4]), BAD, "has 6 values in fp64_contents, but shape [2, 4] holds 8"),
        (ask(shape=[2**62, 2**62]), BAD, "has shape"),
        (ask(shape=[-2, -3]), BAD, "has shape"),
        (ask(shape=[]), BAD, "has shape"),
        (ask(name="other"), BAD, "missing column: input"),
        (ask(values=[1, 2, 3, float("inf"), 5, 6]), BAD, "infinity in row 1"),
        (ask(datatype="INT8", values=[1, 2, 3, 4, 500, 6]), BAD, "[input input, row 1, rule datatype]"),
        (ask(request={"raw_input_contents": [b"\0" * 48]}), BAD, "has contents, and raw_input_contents too"),
        (
            ask(values=[], request={"raw_input_contents": [b"\0" * 40]}),
            BAD,
            "40 bytes, but shape [2, 3] of FP64 has 48",
        ),
        (ask(values=[], request={"raw_input_contents": [b"", b""]}), BAD, "2 parts for 1 inputs"),
        (ask(values=[], datatype="BYTES", request={"raw_input_contents": [b"\1" * 24]}), BAD, "not 6 texts"),
        (ask(shape=[1001, 3], values=[0.0] * 3003), BAD, "1001 rows"),
    ],
)
def test_says_what_is_wrong(onnx: Served, request_: Any, code: grpc.StatusCode, said: str) -> None:
    found, details, problem = refused(onnx, request_)
    assert (found, said in details) == (code, True), details
    assert problem["detail"]


def test_errors_name_input_row_and_rule(onnx: Served) -> None:
    _, _, problem = refused(onnx, ask(values=[1, 2, 3, float("inf"), 5, 6]))
    assert {key: problem[key] for key in ("input", "row", "rule")} == {"input": "input", "row": 1, "rule": "finite"}
    assert onnx.counted(422)
    assert 'modelyard_violations_total{rule="finite"}' in onnx.http.get("/metrics").text


def test_limits_a_message(onnx: Served) -> None:
    code, _, _ = refused(onnx, ask(shape=[5000, 3], values=[0.0] * 15_000))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    bomb = ask(shape=[5000, 3], values=[0.0] * 15_000)
    with pytest.raises(grpc.RpcError) as raised:  # small on the wire, not in memory
        onnx.stub.ModelInfer(bomb, compression=grpc.Compression.Gzip, timeout=20)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert onnx.triton.is_server_live()


def test_a_message_that_is_none_is_the_callers_fault(onnx: Served) -> None:
    call = onnx.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"\xff\xff\xff\xff", timeout=20)
    assert raised.value.code() == BAD
    empty = onnx.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as raised:
        empty(iter(()), timeout=20)
    assert raised.value.code() == BAD


def test_cuts_slow_callers(onnx: Served) -> None:
    """A caller that begins a call and sends nothing is told so: patience is a second here."""
    never = threading.Event()

    def stalled() -> Iterator[bytes]:
        never.wait()
        yield b""

    call = onnx.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    try:
        with pytest.raises(grpc.RpcError) as raised:
            call(stalled(), timeout=20)
        assert raised.value.details() == "the request came too slowly"
    finally:
        never.set()


@pytest.mark.parametrize("method", ["inference.GRPCInferenceService/ServerLive", "grpc.health.v1.Health/Check"])
def test_who_sends_nothing_takes_no_place(onnx: Served, method: str) -> None:
    never = threading.Event()

    def stalled() -> Iterator[bytes]:
        never.wait()
        yield b""

    try:
        assert onnx.channel.stream_unary(f"/{method}")(stalled(), timeout=20) == b"\x08\x01"
    finally:
        never.set()


def test_names_alone_are_a_small_message(onnx: Served) -> None:
    ask = onnx.channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
    with pytest.raises(grpc.RpcError) as raised:
        ask(b"\x0a\x80\x80\x04" + b"x" * 65536, timeout=20)
    assert "a message of 65540 bytes" in raised.value.details()


def test_a_key_opens_and_its_absence_is_told(onnx_package: Path, tmp_path: Path) -> None:
    key = "my_abc_secret"
    access = tmp_path / "access.json"
    hashed = KeyHash(id="abc", sha256=hashlib.sha256(key.encode()).hexdigest())
    access.write_text(Access(owner="ada", keys=(hashed,)).model_dump_json())
    for found in served(onnx_package, open=False, access=access):
        assert found.triton.is_server_live()
        for metadata in ((), (("authorization", "Bearer my_abc_wrong"),)):
            with pytest.raises(grpc.RpcError) as raised:
                found.stub.ModelInfer(ask(), metadata=metadata, timeout=20)
            assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
        bearer = {"authorization": f"Bearer {key}"}
        sent = triton.InferInput("input", [2, 3], "FP64")
        sent.set_data_from_numpy(ROWS)
        assert found.triton.infer("penguins", [sent], headers=bearer).as_numpy("label") is not None
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            found.triton.get_server_metadata()
        assert found.counted(200)
        assert found.counted(401)


def test_batches_drains_and_names_failures(tmp_path: Path) -> None:
    """A slow model: what has begun at SIGTERM is answered; a failure has an id that is in the log."""
    write_slow(tmp_path / "slow")
    with serving(tmp_path / "slow", with_grpc, open=True) as (http, process):
        found = Served(http, process)
        with pytest.raises(grpc.RpcError) as raised:
            found.stub.ModelInfer(slow(-1.0), timeout=20)
        assert raised.value.code() == grpc.StatusCode.INTERNAL
        assert "negative" in raised.value.details()
        name = dict(raised.value.trailing_metadata())["x-request-id"]
        coming = found.stub.ModelInfer.future(slow(1.5), timeout=20)
        eventually(lambda: "modelyard_in_flight 1.0" in http.get("/metrics").text, what="the call is under way")
        process.send_signal(signal.SIGTERM)
        assert list(coming.result().outputs[0].contents.fp64_contents) == [1.5]
        found.close()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert name.encode() in process.stderr.read()


def slow(seconds: float) -> Any:
    return ask(shape=[1, 1], values=[seconds])


def test_a_port_in_use_ends_with_4(onnx: Served, onnx_package: Path) -> None:
    process = spawn(onnx_package, free_port(), open=True, grpc_port=int(onnx.address.rpartition(":")[2]))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4
    assert b"for gRPC" in said
