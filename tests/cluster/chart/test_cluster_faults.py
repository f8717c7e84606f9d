"""Parts of the cluster itself stop under an installed release: the API server, and the kubelet for a minute."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from harness.calling import Call, calling
from harness.kernel import Kernel
from harness.release import Release
from harness.wait import eventually

pytestmark = pytest.mark.timeout(600)
USER = "kim"
PUBLISH = """
import numpy as np
import modelyard as yard
from sklearn.linear_model import LogisticRegression

X = np.array([[0.0, 1.0], [1.0, 0.0]] * 20)
model = LogisticRegression().fit(X, X[:, 0] > 0.5)
print(yard.publish(model, "steady", example=X[:5], memory=384).create_key("caller").secret)
"""


@pytest.fixture(scope="module")
def key(installed: Release) -> str:
    """The key of an endpoint of the user's."""
    with installed.browser(USER) as browser:
        installed.spawn(browser, USER)
    with Kernel(installed, USER) as kernel:
        return kernel.run(PUBLISH).splitlines()[-1]


@pytest.fixture
def api(installed: Release, key: str) -> Iterator[httpx.Client]:
    """The REST API; the token is asked for while the cluster answers."""
    with installed.api(USER) as client:
        yield client


def call(at: str, key: str) -> Call:
    return Call(f"{at}/serve/{USER}/steady/invocations", key, {"instances": [[0.0, 1.0]]})


def endpoint(api: httpx.Client) -> Any:
    return api.get(f"/endpoints/{USER}/steady").raise_for_status().json()


def condition(api: httpx.Client, kind: str) -> Any:
    return next((c for c in endpoint(api)["status"]["conditions"] if c["type"] == kind), None)


def scale(api: httpx.Client, replicas: int) -> None:
    patch = {"spec": {"scaling": {"min": replicas, "max": replicas}}}
    headers = {"If-Match": endpoint(api)["etag"], "Content-Type": "application/merge-patch+json"}
    api.patch(f"/endpoints/{USER}/steady", json=patch, headers=headers).raise_for_status()


def test_while_the_api_server_is_away_calls_are_answered_and_changes_kept(
    installed: Release, api: httpx.Client, key: str
) -> None:
    with calling(call(installed.url, key).known()):
        installed.cluster.stop_api_server()
        try:
            scale(api, 2)
            said = eventually(lambda: condition(api, "Observed"), timeout=60, interval=0.5, what="the status says it")
            assert (said["status"], said["reason"]) == ("False", "ClusterAway")
            assert "the cluster does not answer" in said["message"]
        finally:
            installed.cluster.start_api_server()
        eventually(lambda: condition(api, "Observed") is None, timeout=60, interval=0.5, what="it is seen again")
        two = lambda: endpoint(api)["status"]["revisions"][0]["ready_replicas"] == 2  # noqa: E731
        eventually(two, timeout=120, interval=0.5, what="what was asked for meanwhile is done")


def test_while_the_kubelet_is_away_for_a_minute_replicas_are_called_still(
    installed: Release, api: httpx.Client, key: str
) -> None:
    """The cluster takes all pods of such a node out of its Services, so this goes to a router's own address."""
    service = installed.pods("service")[0]["status"]["podIP"]
    beside = httpx.URL(f"http://{service}:8082/services/modelyard/api/v1")
    router = installed.pods("traefik")[0]["status"]["podIP"]
    with calling(call(f"http://{router}:8000", key).known()):
        installed.cluster.stop_kubelet()
        stopped = time.monotonic()
        try:
            api.base_url = beside
            lost = lambda: endpoint(api)["status"]["revisions"][0]["cause"] == "NodeLost"  # noqa: E731
            eventually(lost, timeout=120, interval=1, what="the status says it")
            told = lambda: "does not report any more" in condition(api, "Ready")["message"]  # noqa: E731
            eventually(told, timeout=30, interval=1, what="and why")
            eventually(lambda: time.monotonic() > stopped + 60, timeout=70, interval=1, what="a minute")
        finally:
            installed.cluster.start_kubelet()
            eventually(installed.whole, timeout=180, interval=1, what="all parts are ready again")
        ready = lambda: condition(api, "Ready")["status"] == "True"  # noqa: E731
        eventually(ready, timeout=120, interval=1, what="it is ready again")
