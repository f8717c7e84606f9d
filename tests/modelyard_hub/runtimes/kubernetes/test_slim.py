from __future__ import annotations

import json
from typing import Any

from harness.observed_pods import ready_pod, small_server
from harness.observed_tasks import small_task
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_hub.runtimes.kubernetes import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.drift import drift
from modelyard_hub.runtimes.kubernetes.kinds import DEPLOYMENT, POD, SECRET
from modelyard_hub.runtimes.kubernetes.manifests import objects, replicas
from modelyard_hub.runtimes.kubernetes.replicas import replica
from modelyard_hub.runtimes.kubernetes.slim import slim
from modelyard_hub.runtimes.kubernetes.task_record import Progress, read_progress, task_record

RECORD = {"metadata": {"name": "ada-churn-r1", "namespace": "yard", "uid": "u"}}
OPTIONS = KubernetesOptions(image="server:1")


def managed(*managers: str, **fields: Any) -> list[dict[str, Any]]:
    said = {"f:spec": {"f:template": {"f:spec": {str(n): {} for n in range(50)}}, **fields}}
    return [{"manager": m, "operation": "Apply", "time": "now", "fieldsV1": said} for m in managers]


def test_a_pod_says_the_same_in_a_third() -> None:
    pod = ready_pod(0)
    template = objects(small_server(), RECORD, None, OPTIONS)[-1][1]["spec"]["template"]
    pod["spec"] = {**template["spec"], "nodeName": "one"}
    pod["metadata"]["managedFields"] = managed("kubelet")
    kept = slim(POD, pod)
    assert replica(0, kept, OPTIONS) == replica(0, pod, OPTIONS)
    assert len(json.dumps(kept)) < len(json.dumps(pod)) / 3


def test_a_task_is_known_to_be_as_far_as_before() -> None:
    end = TaskStatus(state=TaskState.succeeded, exit_code=0)
    record = task_record(small_task(), "yard", Progress("uid-of-its-job", end))
    kept = slim(SECRET, {**record, "metadata": {**record["metadata"], "managedFields": managed("modelyard")}})
    assert read_progress(kept) == Progress("uid-of-its-job", end)
    assert "managedFields" not in kept["metadata"]


def test_a_deployment_is_compared_as_before() -> None:
    scaling = small_server(max_replicas=4)
    manifest = objects(scaling, RECORD, None, OPTIONS)[-1][1]
    live = json.loads(json.dumps(manifest))
    live["metadata"]["managedFields"] = managed("modelyard", **{"f:replicas": {}}) + managed("kubectl")
    kept = slim(DEPLOYMENT, live)
    assert drift(manifest, kept) == ()
    assert replicas(scaling, kept) == replicas(scaling, live) == 1
    assert "kubectl" not in json.dumps(kept)
    live["metadata"]["managedFields"] = managed("modelyard")
    assert replicas(scaling, slim(DEPLOYMENT, live)) is None, "they are the autoscaler's"
