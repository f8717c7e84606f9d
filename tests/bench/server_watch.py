"""What the access log and traces cost a request: the application in this process, without a socket, one row of ONNX.

`.venv/bin/python tests/bench/server_watch.py` prints microseconds for each request: the least of seven rounds, since
machines are shared, and the ratio to the server with neither.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.collector import collecting
from harness.packages import write_onnx
from modelyard_server.app import App
from modelyard_server.dataplane import load
from modelyard_server.pace import Pace
from modelyard_server.settings import ServerSettings
from modelyard_server.watch.access_log import AccessLog
from modelyard_server.watch.observed import Observed
from modelyard_server.watch.observer import Observer
from modelyard_server.watch.traces import Traces
from modelyard_server.web.messages import Answer, Application, Request

_COUNT, _ROUNDS = 2000, 7
_BODY = b'{"instances": [[1, 2, 3]]}'


async def _round(app: Application) -> float:
    start = time.perf_counter()
    for number in range(_COUNT):
        headers = {b"content-type": b"application/json", b"x-request-id": b"r%d" % number}
        request = Request(b"POST", b"/invocations", headers, _BODY, time.perf_counter())
        assert app.admit(request) is None
        answer = app.handle(request)
        if type(answer) is not Answer:  # after a pause of the machine the model is not taken for quick
            answer = await answer
        assert answer.status == 200
        if number % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    return (time.perf_counter() - start) / _COUNT * 1e6


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, collecting() as collector:
        write_onnx(Path(folder) / "onnx")
        plane = load(Path(folder) / "onnx")
        settings = ServerSettings(package=Path(folder), endpoint="penguins", open=True)
        few = settings.model_copy(update={"trace_share": 0.01})
        app = App(settings, plane, Pace(1e-4, 1e-6))
        log = AccessLog(os.open(os.devnull, os.O_WRONLY))
        none, all_ = Traces(few, collector.url), Traces(settings, collector.url)
        how: dict[str, Application] = {
            "neither": app,
            "access log": Observed(app, Observer((log,))),
            "traces of 1 %": Observed(app, Observer((none,))),
            "traces of all": Observed(app, Observer((all_,))),
        }
        least = dict.fromkeys(how, float("inf"))
        for _ in range(_ROUNDS):
            for name, one in how.items():
                least[name] = min(least[name], await _round(one))
        for name, took in least.items():
            print(f"{name:14} {took:7.1f} µs  {took / least['neither']:.2f}")
        for watcher in (log, none, all_):
            await watcher.close()
        await app.close()


if __name__ == "__main__":
    asyncio.run(main())
