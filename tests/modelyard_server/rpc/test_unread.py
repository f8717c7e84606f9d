"""Callers of gRPC who ask and never take an answer: HTTP/2 by hand, for no client does so."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from harness.model_server import Process, serving, with_grpc
from harness.packages import write_onnx

_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_INITIAL_WINDOW = 4
_END_STREAM, _END_HEADERS = 1, 4


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package") / "onnx"
    write_onnx(directory)
    return directory


@contextmanager
def unreading(server: Process) -> Iterator[socket.socket]:
    """A connection whose caller takes no byte of any answer, but all else that comes."""
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=20) as caller:
        none = struct.pack(">HI", _INITIAL_WINDOW, 0)
        caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(_SETTINGS, 0, 0, none))
        yield caller


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + body


def call(stream: int, method: str, message: bytes, **metadata: str) -> bytes:
    """A whole call, its head as literals."""
    pairs = {":method": "POST", ":scheme": "http", ":path": f"/{method}", ":authority": "x", "te": "trailers"}
    head = b"".join(
        b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode())
        for name, value in (pairs | {"content-type": "application/grpc"} | metadata).items()
    )
    body = struct.pack(">BI", 0, len(message)) + message
    return frame(_HEADERS, _END_HEADERS, stream, head) + frame(_DATA, _END_STREAM, stream, body)


def infer(rows: int) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="penguins")
    request.inputs.add(name="input", datatype="FP64", shape=[rows, 3])
    request.raw_input_contents.append(np.zeros((rows, 3)).tobytes())
    return request


INFER = "inference.GRPCInferenceService/ModelInfer"


def test_who_takes_no_answer_is_cut_off_and_nobody_else(package: Path) -> None:
    asked = {
        INFER: infer(2).SerializeToString(),
        "inference.GRPCInferenceService/ServerMetadata": b"",
        "grpc.health.v1.Health/Check": b"",
    }
    with (
        serving(package, with_grpc, open=True, patience=1) as (_, server),
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(infer(2), timeout=20)
        channel_states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(channel_states.append)
        for method, message in asked.items():
            with unreading(server) as caller:
                caller.sendall(call(1, method, message))
                while caller.recv(65536):
                    pass
        stub.ModelInfer(infer(2), timeout=20)
        assert set(channel_states) <= {grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE}


def test_a_routers_connection_is_not_cut_for_one_of_its_callers(package: Path) -> None:
    """Others have calls on it."""
    message = infer(2).SerializeToString()
    with (
        serving(package, with_grpc, open=True, patience=1) as (_, server),
        unreading(server) as router,
        unreading(server) as caller,
    ):
        router.sendall(call(1, INFER, message, **{"x-forwarded-for": "192.0.2.7"}))
        came = b""
        while b"grpc" not in came:
            came += router.recv(65536)
        caller.sendall(call(1, INFER, message))
        while caller.recv(65536):  # cut, so the other one has had its time as well
            pass
        router.sendall(frame(_PING, 0, 0, b"12345678"))
        while b"12345678" not in came:
            came += (got := router.recv(65536))
            assert got, "it was cut"


def test_a_connection_with_many_answers_to_read_is_asked_to_read_them_first(package: Path) -> None:
    with serving(package, with_grpc, open=True, max_body=1024) as (_, server), unreading(server) as caller:
        answers, stream, came = 0, 1, b""
        while b"grpc-status" not in came and answers < 50:
            caller.sendall(call(stream, INFER, infer(30).SerializeToString()))
            begun = b"\x01" + bytes((_END_HEADERS,)) + struct.pack(">I", stream)
            ended = b"\x01" + bytes((_END_HEADERS | _END_STREAM,)) + struct.pack(">I", stream)
            while begun not in came and ended not in came:
                came += caller.recv(65536)
            answers, stream = answers + 1, stream + 2
        assert b"bytes of answers wait to be read on this connection" in came
        assert 2 <= answers <= 4, "each has some seven hundred bytes"
