"""Where requests are read and answers written: small ones at once, large ones beside the loop."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Awaitable
from pathlib import Path

import numpy as np
import orjson
import pytest

from harness.packages import write_onnx
from modelyard_api.errors import InvalidInput, TooLarge
from modelyard_server.dataplane import DataPlane
from modelyard_server.flavors.base import Columns
from modelyard_server.loading import Loaded
from modelyard_server.metrics import Metrics
from modelyard_server.pace import Pace
from modelyard_server.predictor import Predictor
from modelyard_server.settings import ServerSettings
from modelyard_server.web.messages import Answer, Request


class Wide:
    """A quick model that answers as many rows, `width` wide."""

    concurrent = True
    width = 1

    def predict(self, columns: Columns) -> dict[str, np.ndarray]:
        return {"label": np.zeros((len(columns["input"]), self.width))}


def predictor(directory: Path, model: Wide) -> Predictor:
    settings = ServerSettings(package=directory, endpoint="e", model="m", open=True, max_body=1_000_000)
    plane = DataPlane(write_onnx(directory / "p"), model)
    return Predictor(settings, Loaded(plane, Pace(1e-9, 0.0), "1"), Metrics("m", "1", "onnx"))


def body(rows: int, value: object = 1.5, spaces: int = 0) -> bytes:
    return json.dumps({"instances": [[value, 2, 3]] * rows}).encode() + b" " * spaces


def request(sent: bytes, *, zipped: bool = False) -> Request:
    headers = {b"content-encoding": b"gzip"} if zipped else {}
    return Request(b"POST", b"/invocations", headers, gzip.compress(sent, 1) if zipped else sent)


async def test_small_requests_are_answered_at_once(tmp_path: Path) -> None:
    found = predictor(tmp_path, Wide())
    for zipped in (False, True):
        answer = found.answer(request(body(2), zipped=zipped), invoked=True)
        assert isinstance(answer, Answer)
        assert orjson.loads(answer.body) == {"predictions": [[0.0], [0.0]]}
    with pytest.raises(InvalidInput):
        found.answer(request(body(2, "x")), invoked=True)
    await found.close()


@pytest.mark.parametrize(
    ("sent", "zipped"),
    [(body(1, spaces=300_000), False), (body(1, spaces=300_000), True), (body(30_000), True)],
)
async def test_large_requests_are_read_beside_the_loop(
    tmp_path: Path, sent: bytes, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = predictor(tmp_path, Wide())
    threads: set[str] = set()
    read = found._codec.read

    def noted(asked: Request, raw: bytes, *, invoked: bool) -> object:
        threads.add(threading.current_thread().name)
        return read(asked, raw, invoked=invoked)

    monkeypatch.setattr(found._codec, "read", noted)
    answer = found.answer(request(sent, zipped=zipped), invoked=True)
    assert isinstance(answer, Awaitable)
    assert (await answer).status == 200
    assert threading.main_thread().name not in threads
    await found.close()


async def test_errors_of_large_requests_are_raised_and_counted(tmp_path: Path) -> None:
    found = predictor(tmp_path, Wide())
    with pytest.raises(InvalidInput):
        await found.answer(request(body(30_000, "x")), invoked=True)  # type: ignore[misc]
    assert found._metrics.violations["type"] == 1
    with pytest.raises(TooLarge):
        await found.answer(request(b" " * 5_000_000, zipped=True), invoked=True)  # type: ignore[misc]
    await found.close()


async def test_large_answers_are_written_beside_the_loop(tmp_path: Path) -> None:
    model = Wide()
    model.width = 50_000
    found = predictor(tmp_path, model)
    answer = found.answer(request(body(1)), invoked=True)
    assert isinstance(answer, Awaitable)
    assert len(orjson.loads((await answer).body)["predictions"][0]) == 50_000
    await found.close()
