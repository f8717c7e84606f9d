"""What the access log and traces cost a request: the application in this process, without a socket, one row of ONNX.

`.venv/bin/python tests/bench/server_watch.py` prints microseconds of CPU for each request, and the ratio to the server
with neither: of the thread that answers, then of the whole process. The least of five rounds: machines are shared.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.collector import collecting
from harness.packages import write_onnx
from modelyard_server.app import App
from modelyard_server.dataplane import load
from modelyard_server.loading import Loaded
from modelyard_server.pace import Pace
from modelyard_server.settings import ServerSettings
from modelyard_server.watch.access_log import AccessLog
from modelyard_server.watch.observed import Observed
from modelyard_server.watch.observer import Observer
from modelyard_server.watch.traces import Traces
from modelyard_server.web.messages import Answer, Application, Request

_COUNT, _ROUNDS = 500, 5
_BODY = b'{"instances": [[1, 2, 3]]}'


@contextmanager
def _collector() -> Iterator[str]:
    """A collector in a process of its own: what it costs is none of the server's."""
    process = subprocess.Popen([sys.executable, __file__, "collector"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    yield process.stdout.readline().decode().strip()
    process.communicate()


def _collect() -> None:
    with collecting() as collector:
        print(collector.url, flush=True)
        sys.stdin.read()


async def _round(app: Application, deliver: Callable[[], None]) -> tuple[float, float]:
    start, whole = time.thread_time(), time.process_time()
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
    took = time.thread_time() - start
    await asyncio.to_thread(deliver)
    return took / _COUNT * 1e6, (time.process_time() - whole) / _COUNT * 1e6


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, _collector() as url:
        write_onnx(Path(folder) / "onnx")
        plane = load(Path(folder) / "onnx")
        settings = ServerSettings(package=Path(folder), endpoint="penguins", open=True)
        of_few = settings.model_copy(update={"trace_share": 0.01})
        app = App(settings, Loaded(plane, Pace(1e-4, 1e-6), "1"))
        log = AccessLog(os.open(os.devnull, os.O_WRONLY))
        few, all_ = Traces(of_few, url), Traces(settings, url)
        how: dict[str, Application] = {
            "neither": app,
            "access log": Observed(app, Observer((log,))),
            "traces of 1 %": Observed(app, Observer((few,))),
            "traces of all": Observed(app, Observer((all_,))),
        }
        least = dict.fromkeys(how, (float("inf"), float("inf")))
        for _ in range(_ROUNDS):
            for name, one in how.items():
                deliver = {"traces of 1 %": few.deliver, "traces of all": all_.deliver}.get(name, lambda: None)
                took = await _round(one, deliver)
                least[name] = min(least[name][0], took[0]), min(least[name][1], took[1])
        bare = least["neither"]
        for name, (own, whole) in least.items():
            print(f"{name:14} {own:7.1f} {own / bare[0]:6.2f}   {whole:7.1f} {whole / bare[1]:6.2f}")
        for watcher in (log, few, all_):
            await watcher.close()
        await app.close()


if __name__ == "__main__":
    asyncio.run(main()) if len(sys.argv) == 1 else _collect()
