"""What is asked of the API server for who waits: little, by name, and once for all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api

from harness import pods
from harness.cluster import Cluster
from harness.wait import eventually
from modelyard_hub.spawner.starts.looking import Look
from modelyard_hub.spawner.starts.wide import Wide


class Asked:
    """The real client, with a list of the paths and selectors that it asked for."""

    def __init__(self, client: ApiClient) -> None:
        self.calls: list[tuple[str, str]] = []
        self._request = client.rest_client.request
        client.rest_client.request = self._remember

    async def _remember(self, method: str, url: str, query_params: Any = None, **rest: Any) -> Any:
        query = dict(query_params or ())
        self.calls.append((urlsplit(url).path, str(query.get("fieldSelector", ""))))
        return await self._request(method, url, query_params=query_params, **rest)

    def of(self, path: str) -> list[str]:
        """The selectors of the calls of a path."""
        return [selector for asked, selector in self.calls if asked == path]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[CoreV1Api]:
    configuration = Configuration()
    await config.load_kube_config(config_file=str(cluster.kubeconfig), client_configuration=configuration)
    async with ApiClient(configuration) as client:
        yield CoreV1Api(client)


def stuck(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """A pod that fits nowhere, as the scheduler left it."""
    spec = pods.pod_spec(pods.SLEEP, resources={"requests": {"cpu": "64"}})
    cluster.apply(pods.pod("stuck", spec), namespace=namespace)

    def tried() -> dict[str, Any] | None:
        found = cluster.get("pod", "stuck", namespace)
        return found if found["status"].get("conditions") else None

    found = eventually(tried, timeout=60, what="the scheduler has tried")
    assert found
    return found


async def test_many_who_wait_ask_once(cluster: Cluster, namespace: str, api: CoreV1Api) -> None:
    pod = await asyncio.to_thread(stuck, cluster, namespace)
    asked, wide = Asked(api.api_client), Wide(api)
    looks = [Look(api, namespace, wide, lambda: pod) for _ in range(20)]
    try:
        told = await asyncio.gather(*(look.diagnosis() for look in looks for _ in range(5)))
        assert {found.reason for found in told} == {"no-room"}
        assert "the most is" in told[0].cause
        selectors = asked.of(f"/api/v1/namespaces/{namespace}/events")
        assert len(selectors) == 20, "a watch for each start, whoever looks at it"
        assert set(selectors) == {"involvedObject.kind=Pod,involvedObject.name=stuck"}
        assert len(asked.of("/api/v1/nodes")) == 1
        placed = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
        assert asked.of("/api/v1/pods") == [placed]
        assert len(asked.calls) == 22, asked.calls
    finally:
        await asyncio.gather(*(look.close() for look in looks))
    assert wide.feeds == 0


async def test_nobody_who_waits_asks_nothing(cluster: Cluster, namespace: str, api: CoreV1Api) -> None:
    pod = await asyncio.to_thread(stuck, cluster, namespace)
    asked = Asked(api.api_client)
    look = Look(api, namespace, Wide(api), lambda: pod)
    assert look.at_once().reason == "no-room"
    await look.close()
    assert asked.calls == []


async def test_more_than_enough_watches_are_not_opened(cluster: Cluster, namespace: str, api: CoreV1Api) -> None:
    pod = await asyncio.to_thread(stuck, cluster, namespace)
    wide = Wide(api)
    wide.feeds = 60
    asked, look = Asked(api.api_client), Look(api, namespace, wide, lambda: pod)
    found = await look.diagnosis()
    await look.close()
    assert (found.reason, asked.of(f"/api/v1/namespaces/{namespace}/events")) == ("no-room", [])


async def test_an_object_that_is_not_understood_fails_no_start(api: CoreV1Api) -> None:
    odd = json.loads('{"metadata": {"name": "odd"}, "spec": {}, "status": {"conditions": [7]}}')
    assert Look(api, "default", Wide(api), lambda: odd).at_once().reason == "unknown"
