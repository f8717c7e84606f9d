"""What goes wrong with an installed release, and what people are told of it.

While a healthy endpoint answers its callers, something is killed, taken away or used up; it is said what is wrong, and
what to do; then all is well again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from harness.calling import Call, calling
from harness.kernel import Kernel
from harness.release import Release, try_to_sign_in
from harness.wait import eventually

pytestmark = pytest.mark.timeout(600)
USER = "lin"
PREPARE = """
import ctypes, os, time
import numpy as np
import modelyard as yard
from modelyard.loop import run
from sklearn.linear_model import LogisticRegression

X = np.array([[0.0, 1.0], [1.0, 0.0]] * 20)
model = LogisticRegression().fit(X, X[:, 0] > 0.5)

class Faulty:
    '''Loads here, and not where FAULT says so. Some rows kill it, some take all memory, some take long.'''

    def __setstate__(self, state):
        if os.environ.get("FAULT") == "load":
            raise RuntimeError("the licence of this model has ended")

    def __getstate__(self):
        return {"": ""}

    def predict(self, rows):
        first = float(np.asarray(rows)[0][0])
        if first == 666:
            ctypes.string_at(0)
        if first == 777:
            taken = []
            while True:
                taken.append(b"x" * 2**24)
        began = time.thread_time()
        while first == 888 and time.thread_time() - began < 0.05:
            pass
        return np.zeros(len(rows))
"""
FAULTY = 'yard.publish(Faulty(), "faulty", example=X[:5], cpu=0.5, memory=768, wait=300, environment={})'


@pytest.fixture(scope="module")
def kernel(installed: Release) -> Iterator[Kernel]:
    """Python in a notebook server of the user's."""
    with installed.browser(USER) as browser:
        installed.spawn(browser, USER)
    with Kernel(installed, USER) as made:
        made.run(PREPARE)
        yield made


@pytest.fixture(scope="module")
def steady(installed: Release, kernel: Kernel) -> Call:
    """A call of a healthy endpoint with two replicas."""
    kernel.run('steady = yard.publish(model, "steady", example=X[:5], replicas=2, memory=384)')
    return caller(installed, kernel, "steady", [0.0, 1.0])


@pytest.fixture(scope="module")
def faulty(installed: Release, kernel: Kernel) -> Call:
    """A call of an endpoint whose model misbehaves when asked to."""
    kernel.run(f"faulty = {FAULTY}")
    return caller(installed, kernel, "faulty", [0.0, 0.0])


def caller(installed: Release, kernel: Kernel, name: str, row: list[float]) -> Call:
    key = kernel.run(f'print(yard.endpoint("{name}").create_key("caller").secret)').splitlines()[-1]
    return Call(f"{installed.url}/serve/{USER}/{name}/invocations", key, {"instances": [row]}).known()


def status(kernel: Kernel, name: str) -> dict[str, Any]:
    """What the library says of an endpoint."""
    found: dict[str, Any] = json.loads(
        kernel.run(f'print(yard.endpoint("{name}").status.model_dump_json())').splitlines()[-1]
    )
    return found


def of_revision(kernel: Kernel, name: str) -> tuple[dict[str, Any], str]:
    """What is said of the newest revision, and its condition's message."""
    revision = status(kernel, name)["revisions"][-1]
    return revision, revision["conditions"][0]["message"]


def objects(installed: Release, name: str, kinds: str = "deployments,services,secrets,pods") -> list[str]:
    chosen = f"modelyard.dev/owner={USER},modelyard.dev/endpoint={name}"
    return installed.kubectl("get", kinds, "--selector", chosen, "--output=name").split()


def test_a_publish_lives_through_the_death_of_both_hubs(installed: Release, kernel: Kernel, steady: Call) -> None:
    publish = 'made = yard.publish(model, "interrupted", example=X[:5], memory=384)'
    with calling(steady):
        cell = kernel.start(publish)
        cell.says("upload: to MLflow")
        installed.kill("hub", "service")
        cell.wait()
    assert "waiting: " in cell.text, "it is said what is waited for"
    if cell.error:  # away for longer than it waits
        assert cell.error.startswith("Unavailable: ")
        assert "Try again" in cell.error
    kernel.run(publish)
    revisions = status(kernel, "interrupted")["revisions"]
    assert all(r["ready_replicas"] == r["desired_replicas"] == 1 for r in revisions), revisions
    assert len(objects(installed, "interrupted", "deployments")) == len(revisions)
    kernel.run("made.delete()")
    eventually(lambda: not objects(installed, "interrupted"), timeout=60, interval=0.5, what="nothing is left of it")


def test_postgresql_away_is_a_503_and_endpoints_answer(installed: Release, kernel: Kernel, steady: Call) -> None:
    database = ("scale", "statefulset", "modelyard-postgresql")
    with calling(steady), installed.api(USER) as api, installed.browser(USER) as browser:
        assert browser.get("/services/modelyard/").status_code == 200
        installed.kubectl(*database, "--replicas=0")
        installed.kubectl("delete", "pod", "modelyard-postgresql-0", "--grace-period=0", "--force")
        try:
            answer = eventually(lambda: refused(api.get("/endpoints")), timeout=60, what="the API says it")
            problem = answer.json()
            assert problem["detail"].startswith("the store cannot be reached: ")
            assert problem["remedy"] == "Try again in a few seconds."
            assert answer.headers["retry-after"]
            said = kernel.start("yard.endpoints()").wait()
            assert said.error.startswith("Unavailable: the store cannot be reached")
            page = browser.get("/services/modelyard/")
            assert page.status_code == 503
            assert "the store cannot be reached" in page.text
        finally:
            installed.kubectl(*database, "--replicas=1")
        eventually(lambda: api.get("/endpoints").status_code == 200, timeout=120, interval=0.5, what="the API is back")
        assert "steady" in kernel.run("print(yard.endpoints())")
        eventually(lambda: signs_in(installed), timeout=60, interval=0.5, what="JupyterHub is back")
        assert kernel.run("print(run(steady.remote.example()))"), "MLflow is back"


def signs_in(installed: Release) -> bool:
    """A new user of JupyterHub: its session may be of before the outage for a second."""
    with httpx.Client(base_url=installed.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        answer = try_to_sign_in(client, USER, installed.secret("user_password"))
        return answer.is_success and client.get("/hub/home").is_success


def refused(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 503 else None


def test_a_drained_node_keeps_the_last_replica_and_says_why_the_other_waits(
    installed: Release, kernel: Kernel, steady: Call
) -> None:
    cluster, node = installed.cluster, installed.cluster.node
    chosen = f"--pod-selector=modelyard.dev/owner={USER},modelyard.dev/endpoint=steady"
    with calling(steady) as seen:
        try:
            with pytest.raises(AssertionError, match="violate the pod's disruption budget"):
                cluster.kubectl("drain", node, chosen, "--delete-emptydir-data", "--timeout=8s")
            seen.goes_on()
            revision, message = of_revision(kernel, "steady")
            assert revision["ready_replicas"] == 1
            assert revision["cause"] == "Unschedulable"
            assert "closed for maintenance (cordoned)" in message
        finally:
            cluster.kubectl("uncordon", node)
        ready = "steady.status.revisions[-1].ready_replicas == 2"
        eventually(lambda: kernel.run(f"print({ready})") == "True", timeout=90, interval=0.5, what="two are ready")


def test_a_used_up_quota_is_named_with_what_is_asked_and_left(installed: Release, kernel: Kernel, steady: Call) -> None:
    publish = 'yard.publish(model, "spare", example=X[:5], memory=384)'
    pods = len(installed.cluster.get("pods", namespace=installed.namespace)["items"])
    with calling(steady):
        installed.kubectl("create", "quota", "lab", f"--hard=pods={pods}")
        try:
            eventually(lambda: used(installed, "lab") == str(pods), what="the quota counts")
            cell = kernel.start(publish).wait()
        finally:
            installed.kubectl("delete", "quota", "lab")
    assert cell.error.startswith("PublishFailed: revision 1 of lin/spare does not start: Backoff: QuotaExceeded: ")
    assert f"The quota is used up: lab, requested: pods=1, used: pods={pods}, limited: pods={pods}" in cell.error
    assert "ask for a larger quota" in cell.error
    assert "the new endpoint is removed again" in cell.error
    kernel.run(f"{publish}.delete(wait=0)")


def used(installed: Release, quota: str) -> str:
    found = installed.cluster.get("quota", quota, installed.namespace)
    return str(found["status"]["used"]["pods"])


def test_an_upgrade_keeps_endpoints_answering_and_an_image_that_is_not_there_is_named(
    installed: Release, kernel: Kernel, steady: Call
) -> None:
    image = "localhost/modelyard/server-onnx:not-there"
    with calling(steady, callers=2):
        installed.install(images={**installed.values()["images"], "serverOnnx": image})
        try:
            cell = kernel.start('yard.publish(model, "lost", example=X[:5], memory=384)').wait()
            assert cell.error.startswith("PublishFailed: revision 1 of lin/lost does not start: ")
            assert image in cell.error
            assert "Only an administrator can put that right" in cell.error
            further = f'A further one is not: ErrImageNeverPull: Its image cannot be had: Container image "{image}"'
            eventually(lambda: further in of_revision(kernel, "steady")[1], timeout=60, what="the status says it")
        finally:
            installed.install()
        eventually(
            lambda: of_revision(kernel, "steady")[1] == "2 of 2 replicas are ready.",
            timeout=60,
            interval=0.5,
            what="all is well",
        )


def test_a_model_that_does_not_load_says_why_in_its_own_words(installed: Release, kernel: Kernel, steady: Call) -> None:
    with calling(steady, pause=0.5):
        cell = kernel.start(FAULTY.replace("environment={}", 'environment={"FAULT": "load"}')).wait(400)
    said = r"PublishFailed: revision 1 of lin/faulty does not start: (Backoff|CrashLoop): Exited: "
    assert re.match(said, cell.error), cell.error
    assert "It ended with exit code 3." in cell.error
    assert "RuntimeError: the licence of this model has ended" in cell.error
    assert "the new endpoint is removed again" in cell.error


@pytest.mark.parametrize(
    ("row", "words"), [(666, "it ended by SIGSEGV"), (777, "the model ran out of memory on this request")]
)
def test_a_model_that_dies_of_a_call_says_of_what_and_comes_back(
    kernel: Kernel, steady: Call, faulty: Call, row: int, words: str
) -> None:
    """Its process dies, and the server says so; where memory ends, the cluster may end both, and says so then."""
    with calling(steady, pause=0.5):
        cell = kernel.start(f"faulty.predict([[{row}.0, 0.0]])").wait()
        eventually(lambda: faulty().status_code == 200, timeout=120, interval=0.5, what="it answers again")
    if cell.error.startswith("ModelCrashed"):
        assert words in cell.error
        return
    assert row == 777, cell.error
    assert re.match(
        r"Unavailable: POST /serve/lin/faulty/\S+: (its model server ended|it has no replica that is ready)", cell.error
    ), cell.error
    assert "endpoint.status" in cell.error
    revision, message = of_revision(kernel, "faulty")
    assert revision["restarts"] >= 1
    # A node that is short of disk removes what ended.
    if "its node does not tell any more" not in message:
        assert "One was started again: OutOfMemory at " in message
        assert "It used more memory than its limit of 768 MiB." in message


def test_under_load_a_replica_is_added_and_no_call_is_lost(installed: Release, kernel: Kernel, faulty: Call) -> None:
    eventually(lambda: usage(installed) < 0.1, timeout=120, interval=1, what="its start is no load any more")
    kernel.run("faulty.scale(min=1, max=2, wait=0)")
    eventually(lambda: measured(installed), timeout=120, interval=1, what="the autoscaler knows its load")
    assert replicas(kernel) == (1, 1)
    heavy = Call(faulty.url, faulty.key, {"instances": [[888.0, 0.0]]})
    with calling(heavy, callers=3, pause=0):
        eventually(lambda: replicas(kernel) == (2, 2), timeout=240, interval=1, what="a second replica is ready")
    (said,) = (c for c in status(kernel, "faulty")["conditions"] if c["type"] == "Autoscaling")
    assert (said["status"], said["message"]) == ("True", "From 1 to 2 replicas, by CPU.")


def usage(installed: Release) -> float:
    """CPUs that the model uses, as the cluster measured it last."""
    chosen = f"labelSelector=modelyard.dev/owner%3D{USER},modelyard.dev/endpoint%3Dfaulty"
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{installed.namespace}/pods?{chosen}"
    (pod,) = json.loads(installed.kubectl("get", "--raw", path))["items"]
    (text,) = (c["usage"]["cpu"] for c in pod["containers"])
    return float(text.rstrip("num")) * {"n": 1e-9, "u": 1e-6, "m": 1e-3}.get(text[-1], 1)


def measured(installed: Release) -> bool:
    chosen = f"--selector=modelyard.dev/owner={USER},modelyard.dev/endpoint=faulty"
    (scaler,) = json.loads(installed.kubectl("get", "hpa", chosen, "--output=json"))["items"]
    return bool(scaler.get("status", {}).get("currentMetrics"))


def replicas(kernel: Kernel) -> tuple[int, int]:
    revision, _ = of_revision(kernel, "faulty")
    return revision["desired_replicas"], revision["ready_replicas"]
