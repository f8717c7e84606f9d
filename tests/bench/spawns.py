"""Many notebook servers at once: a class that starts, JupyterHub's restart, a namespace full of events.

    python tests/bench/spawns.py [--parts starts,restart,events] [--sizes 100,300,1000] [--users 10000] [--events 35000]
                                 [--kinds stock,ours]

Ours beside stock settings in the same run, on nodes that are not there (kwok), where pods run at once, no image is
pulled and no volume attached: what is measured is JupyterHub, its spawner and the API server. One program answers for
all servers. It uses the cluster of MODELYARD_TEST_KUBECONFIG, or one of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import httpx  # noqa: E402
from hubs import KINDS, BenchHub, bench_hub  # noqa: E402
from kubernetes_asyncio import client as kubernetes  # noqa: E402
from kubernetes_asyncio import config, watch  # noqa: E402
from reconciler import quantile  # noqa: E402

from cluster import namespace, say  # noqa: E402
from harness import cluster as harness  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.kwok import fake_nodes, prompt_pods  # noqa: E402
from harness.wait import eventually, eventually_async  # noqa: E402

RATE = 20.0
"""Users a second."""
_NODES = 4
_LATE = 300.0
"""Seconds after the last was asked for after which a server that does not run is lost."""


@dataclass
class Starts:
    """Of one hub. `took`: seconds from the first click until the pod ran; CPU in seconds, memory in MiB."""

    kind: str
    size: int
    took: list[float] = field(default_factory=list)
    refused: int = 0
    ready: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    before: float = 0.0
    peak: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="starts,restart,events")
    parser.add_argument("--sizes", default="100,300,1000")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=35_000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    with ExitStack() as stack:
        cluster = stack.enter_context(harness.running())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(fake_nodes(cluster, _NODES, folder))
        stack.enter_context(prompt_pods(cluster))
        for line in asyncio.run(measure(cluster, folder, given)):
            print(line)


async def measure(cluster: Cluster, folder: Path, given: argparse.Namespace) -> list[str]:
    """Lines of the tables."""
    parts, sizes = given.parts.split(","), [int(size) for size in given.sizes.split(",")]
    lines: list[str] = []
    if "starts" in parts or "restart" in parts:
        lines += START_HEAD
        for size in sizes:
            for kind in given.kinds.split(","):
                restart = given.users if "restart" in parts and size == sizes[-1] else 0
                lines += await one(kind, size, cluster, folder / f"{kind}-{size}", restart)
    if "events" in parts:
        lines += await events(cluster, folder, given.events)
    return lines


async def one(kind: str, size: int, cluster: Cluster, folder: Path, users: int) -> list[str]:
    """A hub in a namespace of its own: so many start; then, with `users` in all, it is killed and begun anew."""
    with namespace(cluster) as name, bench_hub(kind, cluster, name, folder) as hub:
        if users:
            hub.end()
            hub.add_users(users - size)
            hub.begin(cluster.kubeconfig)  # it gives them their roles
        found = await starts(hub, kind, size, cluster, name)
        lines = [row(found)]
        say(lines[0])
        if users:
            lines.append(await asyncio.to_thread(restarted, hub, kind, cluster, found, users))
            say(lines[-1])
        return lines


async def starts(hub: BenchHub, kind: str, size: int, cluster: Cluster, name: str) -> Starts:
    """`RATE` users a second ask for a server each; who is refused asks again when told to."""
    found = Starts(kind, size, before=hub.resident())
    headers = {"Authorization": f"token {hub.token}"}
    limits = httpx.Limits(max_connections=400)
    async with httpx.AsyncClient(
        base_url=f"{hub.url}/hub/api", headers=headers, timeout=120, limits=limits, trust_env=False
    ) as http:
        names = [f"user{number}" for number in range(size)]
        for first in range(0, size, 100):
            await http.post("/users", json={"usernames": names[first : first + 100]})
        seen = Running(cluster.kubeconfig, name)
        following = asyncio.create_task(seen.follow(), name="pods that run")
        metering = asyncio.create_task(_peak(hub, found), name="memory")
        cpu, began = hub.cpu(), time.monotonic()
        asked: dict[str, float] = {}
        try:
            asking = [asyncio.create_task(_ask(http, user, n / RATE, asked, found)) for n, user in enumerate(names)]
            await asyncio.gather(*asking)

            async def all_ready() -> bool:
                return len(seen.at) == size and await asyncio.to_thread(hub.ready) == size

            with suppress(AssertionError):
                await eventually_async(all_ready, timeout=began + size / RATE + _LATE - time.monotonic(), interval=0.5)
        finally:
            for task in (following, metering):
                task.cancel()
            await asyncio.gather(following, metering, return_exceptions=True)
        found.seconds, found.cpu = time.monotonic() - began, hub.cpu() - cpu
        found.ready = await asyncio.to_thread(hub.ready)
        found.took = [seen.at[user] - asked[user] for user in names if user in seen.at]
    return found


async def _ask(http: httpx.AsyncClient, user: str, at: float, asked: dict[str, float], found: Starts) -> None:
    await asyncio.sleep(at)
    asked[user] = time.monotonic()
    while True:
        answer = await http.post(f"/users/{user}/server", json={})
        if answer.status_code != 429:
            answer.raise_for_status()
            return
        found.refused += 1
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def _peak(hub: BenchHub, found: Starts) -> None:
    while True:
        found.peak = max(found.peak, hub.resident())
        await asyncio.sleep(0.5)


class Running:
    """When each user's pod was seen to run, by a watch of its own."""

    def __init__(self, kubeconfig: Path, name: str) -> None:
        self._kubeconfig, self._namespace = kubeconfig, name
        self.at: dict[str, float] = {}

    async def follow(self) -> None:
        """Until it is cancelled."""
        await config.load_kube_config(str(self._kubeconfig))
        async with kubernetes.ApiClient() as api:
            core = kubernetes.CoreV1Api(api)
            while True:
                async with watch.Watch().stream(
                    core.list_namespaced_pod, self._namespace, timeout_seconds=300
                ) as stream:
                    async for change in stream:
                        self._see(change["raw_object"])

    def _see(self, pod: dict[str, Any]) -> None:
        user = (pod["metadata"].get("annotations") or {}).get("hub.jupyter.org/username", "")
        if (pod.get("status") or {}).get("phase") == "Running":
            self.at.setdefault(user, time.monotonic())


START_HEAD = [
    "| hub | servers | s until it runs: p50, p99 | s until all are ready | 429s | lost | CPU: s, ms each "
    "| MiB: before, peak |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
]


def row(found: Starts) -> str:
    """As the README has it."""
    took = ", ".join(f"{quantile(found.took, percent):.1f}" for percent in (50, 99)) if found.took else "—"
    each = 1000 * found.cpu / found.size
    return (
        f"| {found.kind} | {found.size} | {took} | {found.seconds:.0f} | {found.refused} | {found.size - found.ready} "
        f"| {found.cpu:.1f}, {each:.0f} | {found.before:.0f}, {found.peak:.0f} |"
    )


def restarted(hub: BenchHub, kind: str, cluster: Cluster, found: Starts, users: int) -> str:
    """kill -9, and begin anew."""
    hub.kill()
    began = time.monotonic()
    answers = hub.timed_begin(cluster.kubeconfig)
    eventually(lambda: hub.ready() == found.ready, timeout=300, interval=0.5, what="all servers are known again")
    known, cpu = time.monotonic() - began, hub.cpu()
    return (
        f"| {kind} | restart with {users} users and {found.ready} servers: answers after {answers:.1f} s, "
        f"knows all to be ready after {known:.1f} s; {cpu:.1f} s CPU; {hub.resident():.0f} MiB |"
    )


async def events(cluster: Cluster, folder: Path, count: int) -> list[str]:
    """Memory of a hub before and after it started a server, and half a minute later, in a namespace with events."""
    lines = [f"| hub, {count} events | MiB: at rest, after a start, a minute later | CPU s of that minute |"]
    with namespace(cluster) as name:
        say(f"{count} events are made")
        await _make_events(cluster, name, count)
        for kind in KINDS:
            with bench_hub(kind, cluster, name, folder / f"{kind}-events") as hub:
                rest = hub.resident()
                await asyncio.to_thread(hub.start, f"{kind}-user")
                progress = await asyncio.to_thread(hub.progress, f"{kind}-user")
                started, cpu = hub.resident(), hub.cpu()
                await asyncio.sleep(60)
                lines.append(
                    f"| {kind} | {rest:.0f}, {started:.0f}, {hub.resident():.0f} | {hub.cpu() - cpu:.1f} |"
                    + ("" if progress[-1].get("ready") else " not ready!")
                )
                say(lines[-1])
    return lines


async def _make_events(cluster: Cluster, name: str, count: int) -> None:
    await config.load_kube_config(str(cluster.kubeconfig))
    async with kubernetes.ApiClient() as api:
        core, numbers = kubernetes.CoreV1Api(api), iter(range(count))

        async def make() -> None:
            for number in numbers:
                await core.create_namespaced_event(name, event(number, name))

        await asyncio.gather(*(make() for _ in range(30)))


def event(number: int, name: str) -> dict[str, Any]:
    """As a kubelet tells of somebody's pod."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    pod = f"batch-{number % 500}"
    return {
        "metadata": {"name": f"{pod}.{number:x}"},
        "involvedObject": {"kind": "Pod", "name": pod, "namespace": name, "uid": f"{number % 500:032x}"},
        "reason": "BackOff", "type": "Warning", "count": 1, "firstTimestamp": now, "lastTimestamp": now,
        "message": "Back-off restarting failed container main in pod " + pod,
        "source": {"component": "kubelet", "host": "zz-kwok-0"},
    }  # fmt: skip


if __name__ == "__main__":
    main()
