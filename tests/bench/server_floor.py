"""What a model server cannot do without: parse, ONNX Runtime, serialize. No checks, no access, no metrics."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson

_options = ort.SessionOptions()
_options.intra_op_num_threads = _options.inter_op_num_threads = 1
_session = ort.InferenceSession(os.environ["GRAPH"], _options, providers=["CPUExecutionProvider"])
_input, _label = _session.get_inputs()[0], [_session.get_outputs()[0].name]
_dtype = np.float64 if _input.type == "tensor(double)" else np.float32
_JSON, _OCTETS = "application/json", "application/octet-stream"


def _answer(body: bytes, head: str | bytes | None) -> tuple[bytes, str, str | None]:
    if head is None:
        tensor = orjson.loads(body)["inputs"][0]
        rows = np.array(tensor["data"], np.float64).reshape(tensor["shape"])
    else:
        tensor = orjson.loads(body[: int(head)])["inputs"][0]
        kind = np.float32 if tensor["datatype"] == "FP32" else np.float64
        rows = np.frombuffer(body, kind, offset=int(head)).reshape(tensor["shape"])
    labels = _session.run(_label, {_input.name: rows.astype(_dtype, copy=False)})[0]
    output: dict[str, Any] = {"name": "label", "shape": [len(labels)], "datatype": "INT64"}
    document = {"model_name": "m", "outputs": [output]}
    if head is None:
        output["data"] = labels
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), _JSON, None
    raw = labels.tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    said = orjson.dumps(document)
    return said + raw, _OCTETS, str(len(said))


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """ASGI."""
    message = await receive()
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        parts.append(message["body"])
    head = next((v for k, v in scope["headers"] if k == b"inference-header-content-length"), None)
    body, kind, length = _answer(b"".join(parts), head)
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    if length is not None:
        headers.append((b"inference-header-content-length", length.encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def rsgi(scope: Any, protocol: Any) -> None:
    """RSGI, granian's own interface."""
    body, kind, length = _answer(await protocol(), scope.headers.get("inference-header-content-length"))
    headers = [("content-type", kind)] + ([("inference-header-content-length", length)] if length is not None else [])
    protocol.response_bytes(200, headers, body)
