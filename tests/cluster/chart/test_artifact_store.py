"""A release whose artifacts are in S3, on a real S3 server; and what people are told while that is away."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import obstore
import pytest

from harness import s3 as store
from harness.calling import Call, calling
from harness.cluster import Cluster
from harness.kernel import Kernel
from harness.release import Release, release
from harness.s3 import S3
from harness.wait import eventually

pytestmark = pytest.mark.timeout(600)
USER = "mae"
PREPARE = """
import asyncio
import numpy as np
import modelyard as yard
from sklearn.linear_model import LogisticRegression

X = np.array([[0.0, 1.0], [1.0, 0.0]] * 20)
model = LogisticRegression().fit(X, X[:, 0] > 0.5)

async def impatient():
    async with yard.AsyncClient(patience=0) as client:
        await client.publish(model, "late", example=X[:5])
"""


@pytest.fixture(scope="module")
def s3(cluster: Cluster) -> Iterator[S3]:
    """An S3 server that pods reach."""
    with store.server(cluster.node_ip) as made:
        made.bucket("models")
        yield made


@pytest.fixture(scope="module")
def stored(cluster: Cluster, s3: S3) -> Iterator[Release]:
    """A release with its artifacts there; the keys are in a Secret that was there before it."""
    given = s3.environment
    keys = {"AWS_ENDPOINT_URL_S3": given.pop("AWS_ENDPOINT_URL"), **given}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "artifact-store"}, "stringData": keys}
    changed = {
        "artifacts": {"url": "s3://models/yard", "secret": "artifact-store"},
        "networkPolicy": {"artifactsEgress": [f"{cluster.node_ip}/32"]},
    }
    with release(cluster, f"s3-{uuid.uuid4().hex[:6]}", secret, **changed) as made:
        yield made


@pytest.fixture(scope="module")
def kernel(stored: Release) -> Iterator[Kernel]:
    """Python in a notebook server of the user's."""
    with stored.browser(USER) as browser:
        stored.spawn(browser, USER)
    with Kernel(stored, USER) as made:
        made.run(PREPARE)
        yield made


@pytest.fixture(scope="module")
def steady(stored: Release, kernel: Kernel) -> Call:
    """A call of an endpoint with two replicas, whose package came from S3."""
    kernel.run('steady = yard.publish(model, "steady", example=X[:5], replicas=2, memory=384)')
    key = kernel.run('print(steady.create_key("caller").secret)').splitlines()[-1]
    return Call(f"{stored.url}/serve/{USER}/steady/invocations", key, {"instances": [[0.0, 1.0]]}).known()


def test_a_model_goes_to_s3_and_comes_from_there(s3: S3, steady: Call) -> None:
    assert steady().json() == {"predictions": [False]}
    found = [entry["path"] for page in obstore.list(s3.bucket("models")) for entry in page]
    assert any(path.startswith("yard/") and path.endswith("/modelyard/package.json") for path in found), found


def test_the_stores_keys_are_in_the_secret_alone(stored: Release, s3: S3, steady: Call) -> None:
    secret = s3.environment["AWS_SECRET_ACCESS_KEY"]
    kinds = "configmaps,deployments,statefulsets,pods,services,events"
    assert secret not in stored.kubectl("get", kinds, "--output=json")
    assert secret not in stored.in_notebook(USER, "env")
    (pod, _) = json.loads(stored.kubectl("get", "pods", f"--selector={selector()}", "--output=json"))["items"]
    with_keys = {c["name"] for c in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]] if "envFrom" in c}
    assert with_keys == {"fetch"}, "the model's own code does not see them"


def selector() -> str:
    return f"modelyard.dev/owner={USER},modelyard.dev/endpoint=steady"


def test_while_the_store_is_away_endpoints_answer_and_it_is_said(
    stored: Release, s3: S3, kernel: Kernel, steady: Call
) -> None:
    with calling(steady), stored.api(USER) as api:
        s3.stop()
        try:
            cell = kernel.start("asyncio.run(impatient())").wait()
            assert cell.error.startswith("Unavailable: MLflow cannot reach its artifact store. Try again in a minute")
            pod, _ = stored.kubectl("get", "pods", f"--selector={selector()}", "--output=name").split()
            stored.kubectl("delete", pod, "--wait=false")

            def said() -> str:
                revision = api.get(f"/endpoints/{USER}/steady").json()["status"]["revisions"][0]
                return str(revision["conditions"][0]["message"]) if revision["cause"] == "FetchFailed" else ""

            message = eventually(said, timeout=120, interval=0.5, what="the status says it")
            assert "The package could not be fetched (exit code 11): s3://models/yard/" in message
            assert f"{s3.url} does not answer" in message
            late = kernel.start('late = yard.publish(model, "late", example=X[:5], memory=384)')
            late.says("upload: waiting: MLflow cannot reach its artifact store")
        finally:
            s3.start()
        late.wait()
        assert not late.error
        two = "len([r for r in steady.status.revisions if r.ready_replicas == 2])"
        eventually(lambda: kernel.run(f"print({two})") == "1", timeout=180, interval=1, what="both replicas are back")
