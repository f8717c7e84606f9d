"""`make bench-cluster`: the Kubernetes runtime with many endpoints on nodes that are not there.

    python tests/bench/cluster.py [--sizes 100,300,1000] [--restart]

It uses the cluster of MODELYARD_TEST_KUBECONFIG, or one of its own. `--restart` stops and starts its API server (only
where nobody shares the cluster); without it, the hub service alone loses the API server for as long.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet import Deployments, Fleet  # noqa: E402
from reconciler import Measured, Meter, Outage, measure, quantile  # noqa: E402

from harness import cluster as harness  # noqa: E402
from harness import postgres  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.counting_proxy import CountingProxy, counting_proxy  # noqa: E402
from harness.hub_service import hub_service  # noqa: E402
from harness.kwok import ACCELERATOR, fake_nodes  # noqa: E402
from modelyard_hub.runtimes.kubernetes import KubernetesOptions  # noqa: E402
from modelyard_hub.runtimes.kubernetes.client import connect  # noqa: E402
from modelyard_hub.runtimes.kubernetes.rbac import RULES  # noqa: E402

_ACCOUNT = "modelyard"
_NODES = 4
_began = time.monotonic()


def say(text: str) -> None:
    """Progress, with the seconds since the start."""
    print(f"{time.monotonic() - _began:7.1f} s  {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100,300,1000")
    parser.add_argument("--restart", action="store_true", help="restart the API server: in a cluster of your own")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    with ExitStack() as stack:
        cluster = stack.enter_context(harness.running())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(fake_nodes(cluster, _NODES, folder))
        name = stack.enter_context(namespace(cluster))
        found, empty = asyncio.run(reconciler(cluster, name, folder, sizes, restart=arguments.restart))
    for line in table(found, empty):
        print(line)


async def reconciler(
    cluster: Cluster, name: str, folder: Path, sizes: list[int], *, restart: bool
) -> tuple[list[Measured], float]:
    """What was measured at each size, and MiB of the hub service without endpoints."""
    found: list[Measured] = []
    with ExitStack() as stack:
        proxy = stack.enter_context(counting_proxy(cluster.kubeconfig))
        home = folder / "home"
        home.mkdir()
        environment = {
            "MODELYARD_KUBECONFIG": str(proxy.kubeconfig(home / "kubeconfig", account(cluster, name), name)),
            "MODELYARD_NAMESPACE": name,
            "MODELYARD_SERVER_IMAGE": "not-there",
            "MODELYARD_GPU_RESOURCE": ACCELERATOR,
            "MODELYARD_DATABASE_URL": stack.enter_context(postgres.server()).database(),
        }
        service = stack.enter_context(hub_service(home, environment))
        client = await connect(KubernetesOptions(kubeconfig=cluster.kubeconfig, namespace=name))
        deployments = Deployments(client)
        following = asyncio.create_task(deployments.follow())
        try:
            async with service.client() as http:
                fleet, meter = Fleet(service, http, deployments), Meter(service, proxy)
                empty = meter.resident()
                say(f"the hub service runs: {empty:.0f} MiB")
                for size in sizes:
                    outage = _outage(cluster, proxy, restart=restart)
                    found.append(await measure(fleet, meter, size, outage, say))
        except BaseException:
            say(service.log()[-5000:])
            raise
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await client.close()
    return found, empty


def table(found: list[Measured], empty: float) -> Iterator[str]:
    """As the README has it; the last column is the growth from the least to the most endpoints, each counted."""
    least, most = found[0], found[-1]

    def row(what: str, value: Callable[[Measured], float], shown: str, *, each: bool = True) -> str:
        values = [value(one) for one in found]
        first, last = (value(one) / (one.size if each else 1) for one in (least, most))
        growth = f"{last / first:.2f}" if first else ""
        return f"| {what} | {' | '.join(format(v, shown) for v in values)} | {growth} |"

    sizes = [one.size for one in found]
    yield f"| endpoints | {' | '.join(map(str, sizes))} | growth |"
    yield f"| --- |{' --- |' * (len(found) + 1)}"
    yield row("seconds to converge, of one added", lambda m: m.converged.seconds / m.added, ".3f", each=False)
    yield row("CPU seconds, of one added", lambda m: m.converged.cpu / m.added, ".3f", each=False)
    yield row("calls, of one added", lambda m: m.converged.asked / m.added, ".1f", each=False)
    yield row("idle: calls a minute", lambda m: float(m.idle.asked), ".0f", each=False)
    yield row("idle: % of a core, hub service", lambda m: 100 * m.idle.cpu / m.idle.seconds, ".1f")
    yield row("idle: % of a core, router", lambda m: 100 * m.idle.router / m.idle.seconds, ".1f")
    yield row("resident, MiB", lambda m: m.resident, ".0f", each=False)
    yield row("KiB of each endpoint", lambda m: (m.resident - empty) * 1024 / m.size, ".0f", each=False)
    for percent in (50, 99):
        scaled = f"replicas changed until the Deployment was, p{percent} ms"
        yield row(scaled, lambda m, p=percent: 1000 * quantile(m.scaled, p), ".0f", each=False)  # type: ignore[misc]
        shifted = f"traffic changed until the router had it, p{percent} ms"
        yield row(shifted, lambda m, p=percent: 1000 * quantile(m.shifted, p), ".0f", each=False)  # type: ignore[misc]
    yield row("CPU milliseconds of a change", lambda m: 1000 * m.changed.cpu / len(m.scaled), ".0f", each=False)
    yield row("calls of a change", lambda m: m.changed.asked / len(m.scaled), ".1f", each=False)
    yield row("API server away: calls", lambda m: float(m.away.asked), ".0f", each=False)
    yield row("API server back: seconds until in step", lambda m: m.in_step, ".1f", each=False)
    yield row("API server back: calls in a minute", lambda m: float(m.back.asked), ".0f", each=False)
    yield row("API server back: CPU seconds in a minute", lambda m: m.back.cpu, ".1f")


@contextmanager
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new one; at the end it is gone with all that is in it."""
    name = f"bench-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        # Somebody has to play the kubelets until the last pod has ended.
        cluster.kubectl("delete", "namespace", name, "--timeout=600s")


def account(cluster: Cluster, name: str) -> str:
    """A token of a service account that may do what the hub service needs, and nothing else."""
    meta = {"name": _ACCOUNT}
    rules = [{"apiGroups": [r.group], "resources": [r.resource], "verbs": list(r.verbs)} for r in RULES]
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "Role", **meta}
    made: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "namespace": name, **meta}],
        },
    ]
    document = {"apiVersion": "v1", "kind": "List", "items": made}
    cluster.kubectl("apply", "--namespace", name, "--filename", "-", input=json.dumps(document))
    return cluster.kubectl("create", "token", _ACCOUNT, "--namespace", name, "--duration=8h").strip()


def _outage(cluster: Cluster, proxy: CountingProxy, *, restart: bool) -> Outage:
    """Of the API server itself, or of the hub service's way to it."""

    async def change(away: bool) -> None:
        if not restart:
            proxy.away(away)
        elif away:
            await asyncio.to_thread(cluster.stop_api_server)
        else:
            await asyncio.to_thread(cluster.start_api_server)

    # In a real one nobody renews the nodes' leases either: longer, and all pods would be taken for lost.
    return Outage(10.0 if restart else 20.0, change)


if __name__ == "__main__":
    main()
