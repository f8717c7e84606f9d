"""What the hub service costs with many endpoints, and how soon a change is applied: measured at each size in turn."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fleet import Fleet

from harness.counting_proxy import CountingProxy
from harness.hub_service import HubService
from harness.wait import eventually_async

Say = Callable[[str], None]
_MiB = 1024 * 1024
_CHANGES, _SHIFTED, _A_SECOND = 200, 10, 5.0
_IDLE = 60.0


@dataclass
class Cost:
    """What a stretch of time cost: seconds of the hub service's and the router's processors, calls of the cluster."""

    seconds: float
    cpu: float
    router: float
    calls: Counter[str]

    @property
    def asked(self) -> int:
        """Calls in all."""
        return self.calls.total()


class Meter:
    """Reads what the processes and the proxy have counted."""

    def __init__(self, service: HubService, proxy: CountingProxy) -> None:
        self._service, self._proxy = service, proxy

    def start(self) -> Callable[[], Cost]:
        """Call the answer for the cost since now."""
        began, calls = time.perf_counter(), self._proxy.calls.copy()
        hub, router = _cpu(self._service.process), _cpu(self._service.traefik)

        def cost() -> Cost:
            spent = _cpu(self._service.process) - hub, _cpu(self._service.traefik) - router
            return Cost(time.perf_counter() - began, *spent, self._proxy.calls - calls)

        return cost

    def resident(self) -> float:
        """MiB of the hub service."""
        return float(self._service.process.memory_info().rss) / _MiB


@dataclass
class Measured:
    """Everything at one size. `scaled` and `shifted`: seconds of each change until it was applied."""

    size: int
    added: int
    converged: Cost
    idle: Cost
    resident: float
    scaled: list[float]
    changed: Cost
    shifted: list[float]
    away: Cost
    back: Cost
    in_step: float


@dataclass(frozen=True)
class Outage:
    """`change(True)` takes the API server away, `change(False)` brings it back after `seconds`."""

    seconds: float
    change: Callable[[bool], Awaitable[None]]


async def measure(fleet: Fleet, meter: Meter, size: int, outage: Outage, say: Say) -> Measured:
    """Grow to `size` and measure."""
    added, cost = size - fleet.size, meter.start()
    await fleet.grow(size, say)
    converged = cost()
    say(f"{size}: converged in {converged.seconds:.0f} s, {converged.cpu:.1f} s of CPU, {converged.asked} calls")
    await _quiet(meter, say)
    idle = await _stretch(meter, _IDLE)
    resident = meter.resident()
    say(f"{size}: idle {idle.asked} calls {dict(idle.calls)}, {idle.cpu:.2f} s of CPU a minute, {resident:.0f} MiB")
    cost = meter.start()
    scaled = await _changes(fleet, _CHANGES)
    changed = cost()
    say(f"{size}: scaled p50 {quantile(scaled, 50) * 1000:.0f} ms, p99 {quantile(scaled, 99) * 1000:.0f} ms")
    shifted = await _shifts(fleet)
    say(f"{size}: traffic p50 {quantile(shifted, 50) * 1000:.0f} ms, p99 {quantile(shifted, 99) * 1000:.0f} ms")
    await _quiet(meter, say)
    away, back, in_step = await _outage(fleet, meter, outage)
    say(f"{size}: in step {in_step:.1f} s after the API server was back, {back.asked} calls, {back.cpu:.1f} s of CPU")
    return Measured(size, added, converged, idle, resident, scaled, changed, shifted, away, back, in_step)


def quantile(values: list[float], percent: int) -> float:
    """Of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def _changes(fleet: Fleet, count: int) -> list[float]:
    """Scale random endpoints up and down, at a steady pace that does not wait for the answers."""
    chosen = random.Random(size := fleet.size)
    up: dict[int, asyncio.Task[float]] = {}
    tasks: list[asyncio.Task[float]] = []
    replicas: dict[int, int] = {}

    async def change(number: int, wanted: int, before: asyncio.Task[float] | None) -> float:
        if before is not None:
            await before
        return await fleet.scale(number, wanted)

    for _ in range(count):
        number = chosen.randrange(size)
        replicas[number] = wanted = 3 - replicas.get(number, 1)
        up[number] = task = asyncio.create_task(change(number, wanted, up.get(number)))
        tasks.append(task)
        await asyncio.sleep(1 / _A_SECOND)
    taken = await asyncio.gather(*tasks)
    await asyncio.gather(*(fleet.scale(number, 1) for number, now in replicas.items() if now != 1))
    return list(taken)


async def _shifts(fleet: Fleet) -> list[float]:
    """Move the traffic of some endpoints to and fro, one at a time."""
    numbers = range(min(_SHIFTED, fleet.size))
    await fleet.second_revision(numbers)
    return [await fleet.shift(n, percent) for percent in (50, 20, 70, 10) for n in numbers]


async def _outage(fleet: Fleet, meter: Meter, outage: Outage) -> tuple[Cost, Cost, float]:
    """Away for a while, with changes meanwhile; what that cost, what the minute after it cost, and the seconds until
    all changes were applied."""
    cost = meter.start()
    await outage.change(True)
    changes = [asyncio.create_task(fleet.scale(n, 2)) for n in range(min(10, fleet.size))]
    await asyncio.sleep(outage.seconds)
    away, cost = cost(), meter.start()
    await outage.change(False)
    began = time.perf_counter()
    await asyncio.gather(*changes)

    async def in_step() -> bool:
        return not any(c["reason"] == "ClusterAway" for e in await fleet.list() for c in e["status"]["conditions"])

    await eventually_async(in_step, timeout=120, interval=1, what="no endpoint is out of sight")
    seconds = time.perf_counter() - began
    await asyncio.sleep(max(0.0, 60 - seconds))
    back = cost()
    await asyncio.gather(*(fleet.scale(number, 1) for number in range(min(10, fleet.size))))
    return away, back, seconds


async def _stretch(meter: Meter, seconds: float) -> Cost:
    cost = meter.start()
    await asyncio.sleep(seconds)
    return cost()


async def _quiet(meter: Meter, say: Say, timeout: float = 300) -> None:
    """Until five seconds pass in which nothing is asked of the cluster but watches."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        cost = await _stretch(meter, 5)
        if not any(not what.startswith("watch ") for what in cost.calls):
            return
    say("it does not come to rest; measured all the same")


def _cpu(process: object) -> float:
    times = process.cpu_times()  # type: ignore[attr-defined]
    return float(times.user + times.system)
