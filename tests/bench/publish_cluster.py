"""From a fitted pipeline to the first 200 on an installed release, by phase, against a Deployment made by hand.

    python tests/bench/publish_cluster.py [--runs 3]

It uses the cluster of MODELYARD_TEST_KUBECONFIG, or one of its own. The peer is what a person with kubectl does once a
package is in the artifact store: a Deployment with the same pod, and a Service, called until it answers with 200.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import httpx  # noqa: E402
from publish import fitted  # noqa: E402

import modelyard as yard  # noqa: E402
from harness import cluster as harness  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.release import Release, release  # noqa: E402
from harness.wait import eventually  # noqa: E402
from modelyard.remote import AsyncEndpoint  # noqa: E402
from modelyard_hub.runtimes.kubernetes import KubernetesOptions  # noqa: E402
from modelyard_hub.runtimes.kubernetes.client import Client, connect  # noqa: E402
from modelyard_hub.runtimes.kubernetes.kinds import DEPLOYMENT, POD, Kind  # noqa: E402
from modelyard_hub.runtimes.kubernetes.labels import SELECTOR  # noqa: E402

USER = "ada"
PHASES = (
    ("package", "package made and tried"),
    ("registered", "uploaded and registered"),
    ("applied", "accepted, Deployment applied"),
    ("scheduled", "pod made and scheduled"),
    ("fetched", "package fetched"),
    ("started", "container started"),
    ("ready", "server ready, as the cluster says"),
    ("routed", "route live: 200 of its readiness"),
    ("returned", "publish returned"),
    ("answered", "first prediction"),
)
"""In the order of a publish; some run at the same time, so that one may end before the one above it."""
_SAID = {"upload": "package", "endpoint": "registered"}


@dataclass
class Clock:
    """When each phase of one publish ended, in seconds since its start; the first word counts."""

    began: float = field(default_factory=time.perf_counter)
    ended: dict[str, float] = field(default_factory=dict)

    def mark(self, phase: str) -> None:
        """It has ended now."""
        self.ended.setdefault(phase, time.perf_counter() - self.began)


async def ours(client: yard.AsyncClient, watched: Client, model: object, X: Any) -> tuple[Clock, AsyncEndpoint]:
    """One publish, and the first answer; the endpoint is still there."""
    name, clock = f"bench-{uuid.uuid4().hex[:8]}", Clock()

    def say(step: str, detail: str) -> None:
        if step in _SAID:
            clock.mark(_SAID[step])

    async with _while(_objects(watched, name, clock)), _while(_route(client, name, clock)):
        endpoint = await client.publish(model, name, example=X[:5], say=say)
        clock.mark("returned")
        await endpoint.predict(X[:1])
        clock.mark("answered")
        await asyncio.sleep(1)  # for what comes late
    return clock, endpoint


async def _objects(client: Client, name: str, clock: Clock) -> None:
    """Mark what the cluster says of the endpoint's Deployment and pod."""
    chosen = f"{SELECTOR},modelyard.dev/endpoint={name}"

    async def follow(kind: Kind, take: Callable[[dict[str, Any]], None]) -> None:
        _, version = await client.list(kind, chosen)
        async with client.watch(kind, chosen, version) as events:
            async for event in events:
                if event["type"] == "ERROR":
                    raise AssertionError(event)
                if event["type"] != "BOOKMARK":
                    take(event["object"])

    await asyncio.gather(follow(DEPLOYMENT, lambda _: clock.mark("applied")), follow(POD, lambda o: _pod(o, clock)))


def _pod(pod: dict[str, Any], clock: Clock) -> None:
    status = pod.get("status") or {}
    holding = {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}
    states = [(s.get("state") or {}) for s in status.get("initContainerStatuses", ())]
    if "PodScheduled" in holding:
        clock.mark("scheduled")
    if states and all((s.get("terminated") or {}).get("exitCode") == 0 for s in states):
        clock.mark("fetched")
    if any("running" in (s.get("state") or {}) for s in status.get("containerStatuses", ())):
        clock.mark("started")
    if "Ready" in holding:
        clock.mark("ready")


async def _route(client: yard.AsyncClient, name: str, clock: Clock) -> None:
    """Ask through the router until the model server behind it says that it is ready."""
    url = f"{client.connection.url}/serve/{USER}/{name}/v2/health/ready"
    token = (await client.call_token()).token
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await http.get(url, headers={"Authorization": f"Bearer {token}"})).status_code == 200:
                    clock.mark("routed")
                    return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _while(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def by_hand(cluster: Cluster, namespace: str, name: str) -> float:
    """Seconds from `kubectl apply` of a pod like the endpoint's and a Service to its first 200."""
    (live,) = (
        found
        for found in cluster.get("deployments", namespace=namespace)["items"]
        if found["metadata"]["labels"].get("modelyard.dev/endpoint") == name
    )
    labels = {"app": f"peer-{uuid.uuid4().hex[:6]}"}
    pod = live["spec"]["template"]["spec"]
    pod.pop("topologySpreadConstraints", None)  # they count the endpoint's pods
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": {**labels, **_unlike(live)}}, "spec": pod},
    }
    meta = {"name": labels["app"]}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
    port = {"port": 80, "targetPort": "http"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": labels, "ports": [port]},
    }
    start = time.perf_counter()
    cluster.apply(deployment, service, namespace=namespace)
    address = cluster.get("service", meta["name"], namespace=namespace)["spec"]["clusterIP"]
    with httpx.Client(trust_env=False, timeout=5) as http:
        answers = lambda: http.get(f"http://{address}/v2/health/ready").is_success  # noqa: E731
        eventually(answers, timeout=120, interval=0.02, what="the peer answers")
    seconds = time.perf_counter() - start
    for kind in ("deployment", "service"):
        cluster.kubectl("delete", kind, meta["name"], "--namespace", namespace, "--wait=false")
    return seconds


def _unlike(live: dict[str, Any]) -> dict[str, str]:
    """The template's labels, so that the release's network policies let it be called, but not those that select it."""
    template: dict[str, str] = live["spec"]["template"]["metadata"]["labels"]
    mine = ("app.kubernetes.io/managed-by", "app.kubernetes.io/instance")
    return {k: v for k, v in template.items() if k not in mine and not k.startswith("modelyard.dev/")}


def token(installed: Release) -> str:
    """An API token of the user."""
    with installed.browser(USER) as browser:
        headers = {"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/") or ""}
        answer = browser.post(f"/hub/api/users/{USER}/tokens", headers=headers, json={"note": "bench"})
        return str(answer.raise_for_status().json()["token"])


async def measure(installed: Release, runs: int, say: Callable[[str], None]) -> tuple[list[Clock], list[float]]:
    """Both in turns, after one of each to warm up."""
    cluster, clocks, peers = installed.cluster, [], []
    model, X = fitted()
    watched = await connect(KubernetesOptions(kubeconfig=cluster.kubeconfig, namespace=installed.namespace))
    found = eventually(lambda: token(installed), timeout=60, interval=1, what="the router's port is open")
    async with yard.AsyncClient(installed.url, found) as client:
        for number in range(runs + 1):
            clock, endpoint = await ours(client, watched, model, X)
            peer = await asyncio.to_thread(by_hand, cluster, installed.namespace, endpoint.name)
            await endpoint.delete()
            say(f"{number} of {runs}: {clock.ended['answered']:.1f} s, by hand {peer:.1f} s")
            if number:
                clocks.append(clock)
                peers.append(peer)
    await watched.close()
    return clocks, peers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs

    def say(text: str) -> None:
        print(text, flush=True)

    with harness.running() as cluster, release(cluster, f"bench-{uuid.uuid4().hex[:6]}") as installed:
        clocks, peers = asyncio.run(measure(installed, runs, say))
    say("| phase | ends at, s | takes, s |")
    say("| --- | --- | --- |")
    before = 0.0
    for phase, title in PHASES:
        now = statistics.median(clock.ended.get(phase, float("nan")) for clock in clocks)
        say(f"| {title} | {now:.2f} | {now - before:.2f} |")
        before = now
    mine = statistics.median(clock.ended["routed"] - clock.ended["registered"] for clock in clocks)
    theirs = statistics.median(peers)
    text = f"from the registered version to a 200 through the router {mine:.2f} s, by hand {theirs:.2f} s"
    say(f"{text}: ratio {mine / theirs:.2f}")
    say(json.dumps({"ours": [clock.ended for clock in clocks], "by hand": peers}))


if __name__ == "__main__":
    main()
