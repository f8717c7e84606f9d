"""A release whose artifacts are in S3, on a real S3 server; and what people are told while that is away."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
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


SCORE = """
import json
for name, value in {secrets!r}.items():
    yard.set_secret(name, value)
watching = yard.score(
    "steady",
    "{{file}}",
    "s3://lake/out/{{stem}}",
    keys=["id"],
    columns=["a", "b"],
    part_rows=100,
    shards=2,
    on_files={{"location": "s3://lake/in", "settle": 0}},
    secrets=[
        {{"secret": "lake-key", "env": "AWS_ACCESS_KEY_ID"}},
        {{"secret": "lake-word", "env": "AWS_SECRET_ACCESS_KEY"}},
    ],
    environment={{"AWS_ENDPOINT_URL": {url!r}}},
    name="incoming",
    cpu=0.2,
    memory="512Mi",
)
print(watching)
"""
SCORED = """
(run,) = watching.runs()
run.wait(240, quiet=True)
print(json.dumps({"id": run.id, "results": run.results, "log": run.logs()}))
watching.delete()
"""


def test_a_new_file_in_a_bucket_is_scored_by_an_indexed_job(
    stored: Release, s3: S3, kernel: Kernel, steady: Call
) -> None:
    given, lake = s3.environment, s3.bucket("lake")
    secrets = {"lake-key": given["AWS_ACCESS_KEY_ID"], "lake-word": given["AWS_SECRET_ACCESS_KEY"]}
    assert "on files in s3://lake/in" in kernel.run(SCORE.format(secrets=secrets, url=s3.url))
    rows = pa.table({"id": range(1000), "a": [i % 2 * 1.0 for i in range(1000)], "b": [0.0] * 1000})
    sink = io.BytesIO()
    pq.write_table(rows, sink, row_group_size=100)
    obstore.put(lake, "in/monday.parquet", sink.getvalue())
    eventually(lambda: kernel.run("print(len(watching.runs()))") == "1", timeout=60, interval=1, what="a run for it")
    jobs = eventually(lambda: objects(stored, "jobs", "modelyard.dev/run"), timeout=60, what="its Job")
    assert [(job["spec"]["completionMode"], job["spec"]["completions"]) for job in jobs] == [("Indexed", 2)]
    told = json.loads(kernel.run(SCORED).splitlines()[-1])
    assert [told["results"][name] for name in ("rows", "scored", "rejected", "shards")] == [1000, 1000, 0, 2]
    assert {line.split(": ")[0] for line in told["log"]} == {"shard 0", "shard 1"}
    found = [str(entry["path"]) for page in obstore.list(lake, "out/monday") for entry in page]
    manifest = json.loads(bytes(obstore.get(lake, "out/monday/_manifest.json").bytes()))
    assert sorted(path for path in found if path.endswith(".parquet")) == [f"out/monday/{f}" for f in manifest["files"]]
    answers = [pq.read_table(io.BytesIO(obstore.get(lake, f"out/monday/{f}").bytes())) for f in manifest["files"]]
    whole = pa.concat_tables(answers)
    assert whole.column("id").to_pylist() == list(range(1000))
    assert whole.column(1).to_pylist() == [i % 2 == 1 for i in range(1000)]
    assert secrets["lake-word"] not in stored.kubectl("get", "jobs,pods,events,configmaps", "--output=json")


TOLD = """
import json, pathlib, modelyard as yard
yard.set_secret("word", {value!r})
source = 'import os; print(os.environ["WORD"]); print(open(os.environ["WORD_FILE"]).read())'
cell = {{"cell_type": "code", "id": "a", "metadata": {{}}, "execution_count": None, "outputs": [], "source": source}}
kernel = {{"kernelspec": {{"name": "python3", "display_name": "Python", "language": "python"}}}}
text = json.dumps({{"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [cell]}})
pathlib.Path("/tmp/tells.ipynb").write_text(text)
uses = [{{"secret": "word", "env": "WORD"}}, {{"secret": "word", "env": "WORD_FILE", "file": "word.txt"}}]
told = yard.submit("/tmp/tells.ipynb", secrets=uses, cpu=0.2, memory="512Mi")
print(told.id)
"""
LEFT = """
told.wait(240, quiet=True)
print(json.dumps([told.logs(), json.dumps(told.notebook()), told.notebook(html=True)]))
"""


def test_a_secret_of_a_run_is_in_one_secret_of_the_cluster_that_goes_with_it(
    stored: Release, s3: S3, kernel: Kernel
) -> None:
    value = f"of-mae-alone-{uuid.uuid4().hex}"
    run = kernel.run(TOLD.format(value=value)).splitlines()[-1]
    chosen = f"modelyard.dev/run={run}"
    eventually(lambda: objects(stored, "pods", chosen), timeout=60, what="its pod")
    forms = (value, base64.b64encode(value.encode()).decode())
    seen = json.dumps([objects(stored, kind, chosen) for kind in ("jobs", "pods")])
    assert not [form for form in forms if form in seen]
    (secret,) = objects(stored, "secrets", chosen)
    (job,) = objects(stored, "jobs", chosen)
    assert job["metadata"]["ownerReferences"][0]["uid"] == secret["metadata"]["uid"], "one goes with the other"
    left = kernel.run(LEFT).splitlines()[-1]
    assert value not in left
    assert "[secret]" in left, "it was said, and hidden"
    kept = s3.bucket("models")
    made = [str(e["path"]) for page in obstore.list(kept) for e in page if run in str(e["path"])]
    assert any(path.endswith("notebook.ipynb") for path in made), made
    for path in made:
        assert value.encode() not in bytes(obstore.get(kept, path).bytes()), path
    eventually(lambda: not objects(stored, "secrets,jobs,pods", chosen), timeout=60, what="all of it is gone")
    with stored.api(USER) as api:
        answers = [api.get(f"/runs/{run}").text, api.get(f"/secrets/{USER}/word").text]
    assert value not in "".join(answers)
    logs = stored.kubectl("logs", "--selector", "app.kubernetes.io/part-of=modelyard", "--tail=-1", "--all-containers")
    assert value not in logs


def objects(stored: Release, kinds: str, chosen: str) -> list[dict[str, Any]]:
    """Objects with these labels."""
    found: list[dict[str, Any]] = json.loads(stored.kubectl("get", kinds, "--selector", chosen, "--output=json"))[
        "items"
    ]
    return found


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
