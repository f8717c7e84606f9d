"""Four times what a model server can take, for a minute.

python tests/bench/server_overload.py [--seconds 60] [--times 4]

The model takes milliseconds a row and gains nothing by batches. First the peak: as many requests as 32 connections
get answered. Then, with the server as it is, `--times` that rate as requests that wait for nobody (each is sent when
its moment has come, on a connection that is free, or a new one), for `--seconds`; then half of the peak, to see when
it has recovered. Printed: answers with 200 a second, over the peak; how the rest was refused, and how fast; the
latency of the accepted; the longest queue; what a refusal costs. The server has one core, the callers the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import psutil
import uvloop
from server_load import LOAD_CORE, ours, prepare, running, spent
from server_models import write_slow

BODY = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 30], "data": [0.5] * 30}]}).encode()
ASK = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


@dataclass
class Seen:
    """Seconds of each answer by its status, and what was wrong; `retry`: refusals that said when to come again."""

    took: dict[int, list[float]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    retry: int = 0

    def p(self, status: int, percent: float) -> float:
        """A percentile, in milliseconds."""
        found = self.took.get(status)
        return float(np.percentile(found, percent)) * 1e3 if found else float("nan")

    def count(self, status: int) -> int:
        return len(self.took.get(status, []))

    @property
    def total(self) -> int:
        return sum(map(len, self.took.values()))


class Caller(asyncio.Protocol):
    """A connection: one request at a time."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] | None = None
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, _, body = self._got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if self.answer is not None and length and len(body) == int(length.group(1)):
            self._got = b""
            self.answer.set_result(head)
            self.answer = None

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None:
            self.answer.set_exception(error or ConnectionError("closed"))


class Callers:
    """Connections to one server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Caller] = []

    async def ask(self, seen: Seen) -> None:
        """One request, on a connection that nobody uses."""
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            if self._free:
                caller = self._free.pop()
            else:
                caller = (await loop.create_connection(Caller, "127.0.0.1", self._port))[1]
            caller.answer = loop.create_future()
            caller.transport.write(ASK)
            head = await caller.answer
        except OSError as error:
            seen.wrong[type(error).__name__] += 1
            return
        status = int(head[9:12])
        seen.took.setdefault(status, []).append(time.perf_counter() - start)
        seen.retry += status == 503 and b"retry-after: " in head
        if b"connection: close" in head:
            caller.transport.close()
        else:
            self._free.append(caller)

    async def closed(self, seconds: float, connections: int) -> Seen:
        """Each asks again when it has its answer."""
        seen, start = Seen(), time.perf_counter()

        async def one() -> None:
            while time.perf_counter() - start < seconds:
                await self.ask(seen)

        await asyncio.gather(*(one() for _ in range(connections)))
        return seen

    async def open(self, seconds: float, rate: float) -> Seen:
        """`rate` requests a second, whatever becomes of those before."""
        seen, start, sent = Seen(), time.perf_counter(), 0
        going: set[asyncio.Task[None]] = set()
        while (now := time.perf_counter() - start) < seconds:
            while sent < now * rate:
                sent += 1
                task = asyncio.create_task(self.ask(seen))
                going.add(task)
                task.add_done_callback(going.discard)
            await asyncio.sleep(0.002)
        await asyncio.gather(*going)
        return seen


async def queued(port: int) -> float:
    """How many requests wait, by the server's metrics."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    text = await reader.read()
    writer.close()
    found = re.search(rb"^modelyard_queued (\S+)$", text, re.MULTILINE)
    assert found
    return float(found.group(1))


class Meter:
    """Seconds of the wall and of the server's processor since it was made."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._start, self._spent = time.perf_counter(), spent(process)
        self._looped = self._loop()

    def rates(self, count: int) -> tuple[float, float]:
        """A second of the wall, and of the processor."""
        return count / (time.perf_counter() - self._start), count / (spent(self._process) - self._spent)

    @property
    def looped(self) -> float:
        """Seconds of the processor of the event loop's thread."""
        return self._loop() - self._looped

    def _loop(self) -> float:
        seconds = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/schedstat").read_text().split()[0]
        return int(seconds) / 1e9


async def measured(port: int, process: psutil.Process, arguments: argparse.Namespace) -> None:
    """The three parts."""
    callers = Callers(port)
    await callers.closed(2, 32)
    meter = Meter(process)
    peaked = (await callers.closed(10, 32)).count(200)
    peak, peak_cpu = meter.rates(peaked)
    accepted = meter.looped / peaked
    print(f"peak: {peak:.0f} /s with 32 connections, {peak_cpu:.0f} for a second of the processor", flush=True)
    lengths: list[float] = []

    async def watch() -> None:
        while True:
            lengths.append(await queued(port))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    meter = Meter(process)
    seen = await callers.open(arguments.seconds, arguments.times * peak)
    good, good_cpu = meter.rates(seen.count(200))  # also those that were accepted and answered afterwards
    refused = (meter.looped - accepted * seen.count(200)) / max(seen.count(503), 1)
    watching.cancel()
    after = Seen()
    await callers.ask(after)
    others = {status: len(took) for status, took in seen.took.items() if status not in (200, 503)}
    lost = dict(seen.wrong)
    print(f"{arguments.times:g} times that for {arguments.seconds:.0f} s: {seen.total} answers, {lost} without")
    print(f"  200: {good:.0f} /s, {good / peak:.2f} of the peak; by the processor's time {good_cpu / peak_cpu:.2f}")
    print(f"  latency of these: p50 {seen.p(200, 50):.0f} ms, p99 {seen.p(200, 99):.0f} ms; queue {max(lengths):.0f}")
    print(f"  503: {seen.count(503)}, with Retry-After {seen.retry}; other answers {others}")
    print(f"  latency of these: p50 {seen.p(503, 50):.1f} ms, p99 {seen.p(503, 99):.1f} ms")
    print(f"  the event loop's processor time: {accepted * 1e6:.0f} µs for one accepted at the peak, ", end="")
    print(f"{refused * 1e6:.0f} for one refused, connections and scrapes included")
    calm = await callers.open(5, peak / 2)
    print(
        f"a request right after: {after.p(200, 50):.0f} ms; then half of the peak for 5 s: {calm.count(200)} of ",
        end="",
    )
    print(f"{calm.total} with 200, p50 {calm.p(200, 50):.1f} ms, p99 {calm.p(200, 99):.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=float, default=4)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        write_slow(folder / "slow")
        (folder / "v2-one").write_bytes(BODY)
        server = ours(folder / "slow")
        with running(server, folder, "one") as process:
            uvloop.run(measured(server.port, process, arguments))


if __name__ == "__main__":
    main()
