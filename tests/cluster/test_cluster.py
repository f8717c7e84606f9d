"""The cluster does what tests of Modelyard on it rely on."""

from __future__ import annotations

import json

from harness import pods
from harness.cluster import Cluster
from harness.wait import eventually


def _wait(cluster: Cluster, what: str, condition: str, namespace: str) -> None:
    cluster.kubectl("wait", what, f"--for={condition}", "--timeout=60s", "--namespace", namespace)


def _python(cluster: Cluster, pod: str, code: str, namespace: str) -> str:
    return cluster.kubectl("exec", pod, "--namespace", namespace, "--", "python3", "-c", code).strip()


def _get(url: str) -> str:
    return f"import urllib.request as u; print(u.urlopen('{url}', timeout=5).read().decode())"


def _size(cluster: Cluster, pod: str, folder: str, namespace: str) -> int:
    code = f"import os; s = os.statvfs('{folder}'); print(s.f_blocks * s.f_frsize)"
    return int(_python(cluster, pod, code, namespace))


def _restarts(cluster: Cluster, pod: str, namespace: str) -> int:
    return int(cluster.get("pod", pod, namespace)["status"]["containerStatuses"][0]["restartCount"])


def test_every_node_is_ready(cluster: Cluster) -> None:
    nodes = cluster.get("nodes")["items"]
    assert nodes
    for node in nodes:
        assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"


def test_a_service_is_found_by_name_and_spreads_calls_over_its_pods(cluster: Cluster, namespace: str) -> None:
    web = pods.deployment("web", pods.pod_spec(pods.serve()), replicas=2)
    cluster.apply(web, pods.service("web"), pods.pod("caller", pods.pod_spec(pods.SLEEP)), namespace=namespace)
    _wait(cluster, "deployment/web", "condition=Available", namespace)
    _wait(cluster, "pod/caller", "condition=Ready", namespace)
    replicas = {item["metadata"]["name"] for item in cluster.get("pods", namespace=namespace)["items"]} - {"caller"}
    assert len(replicas) == 2

    answers: set[str] = set()

    def both() -> bool:
        answers.add(_python(cluster, "caller", _get("http://web:8080/"), namespace))
        return answers == replicas

    eventually(both, what=f"answers of both pods {replicas}")
    assert _python(cluster, "caller", _get(f"http://web.{namespace}.svc.cluster.local:8080/"), namespace) in replicas


def test_a_network_policy_keeps_strangers_out(cluster: Cluster, namespace: str) -> None:
    names = ("web", "friend", "stranger")
    made = [pods.pod(name, pods.pod_spec(pods.serve() if name == "web" else pods.SLEEP)) for name in names]
    cluster.apply(*made, pods.service("web"), namespace=namespace)
    for name in names:
        _wait(cluster, f"pod/{name}", "condition=Ready", namespace)

    def answered(caller: str) -> bool:
        code = f"try:\n {_get('http://web:8080/')}\nexcept OSError as e: print(e)"
        return _python(cluster, caller, code, namespace) == "web"

    eventually(lambda: answered("friend") and answered("stranger"), what="the pod answers everybody")
    friends = [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": friends},
    }
    cluster.apply(policy, namespace=namespace)
    eventually(lambda: not answered("stranger"), what="the stranger is kept out")
    assert answered("friend")


def test_shared_memory_has_the_size_that_its_volume_says(cluster: Cluster, namespace: str) -> None:
    memory = {"/dev/shm": {"emptyDir": {"medium": "Memory", "sizeLimit": "96Mi"}}}
    cluster.apply(pods.pod("shm", pods.pod_spec(pods.SLEEP, volumes=memory)), namespace=namespace)
    _wait(cluster, "pod/shm", "condition=Ready", namespace)
    assert _size(cluster, "shm", "/dev/shm", namespace) == 96 * 2**20


def test_a_volume_is_made_kept_and_expanded(cluster: Cluster, namespace: str) -> None:
    claim = pods.claim("home", "512Mi", cluster.storage_class)
    at_home = {"/home/user": {"persistentVolumeClaim": {"claimName": "home"}}}
    one = pods.pod("one", pods.pod_spec(pods.SLEEP, volumes=at_home))
    cluster.apply(claim, one, namespace=namespace)
    _wait(cluster, "pod/one", "condition=Ready", namespace)
    _python(cluster, "one", "open('/home/user/note', 'w').write('kept')", namespace)
    assert _size(cluster, "one", "/home/user", namespace) < 512 * 2**20
    cluster.kubectl("delete", "pod", "one", "--namespace", namespace)

    cluster.apply(
        pods.claim("home", "1Gi", cluster.storage_class),
        pods.pod("two", pods.pod_spec(pods.SLEEP, volumes=at_home)),
        namespace=namespace,
    )
    _wait(cluster, "pod/two", "condition=Ready", namespace)
    assert _python(cluster, "two", "print(open('/home/user/note').read())", namespace) == "kept"
    _wait(cluster, "pvc/home", "jsonpath={.status.capacity.storage}=1Gi", namespace)

    eventually(lambda: _size(cluster, "two", "/home/user", namespace) > 768 * 2**20, what="a larger file system")

    # Once more, while it is mounted.
    cluster.apply(pods.claim("home", "2Gi", cluster.storage_class), namespace=namespace)
    _wait(cluster, "pvc/home", "jsonpath={.status.capacity.storage}=2Gi", namespace)
    assert _size(cluster, "two", "/home/user", namespace) > 1536 * 2**20

    volume = cluster.get("pvc", "home", namespace)["spec"]["volumeName"]
    cluster.kubectl("delete", "pod/two", "pvc/home", "--namespace", namespace)
    cluster.kubectl("wait", f"pv/{volume}", "--for=delete", "--timeout=60s")


def test_a_volume_is_attached_grown_and_copied(cluster: Cluster, namespace: str) -> None:
    """As network storage does it: attached to one node, a snapshot of it while it is written, a new volume of that."""
    kind, user = cluster.attached_class, {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}

    def pod(name: str, claim: str) -> pods.Manifest:
        spec = pods.pod_spec(pods.SLEEP, volumes={"/home/user": {"persistentVolumeClaim": {"claimName": claim}}})
        return pods.pod(name, {**spec, "securityContext": user})

    cluster.apply(pods.claim("home", "512Mi", kind), pod("one", "home"), namespace=namespace)
    _wait(cluster, "pod/one", "condition=Ready", namespace)
    _python(cluster, "one", "open('/home/user/note', 'w').write('before')", namespace)
    volume = cluster.get("pvc", "home", namespace)["spec"]["volumeName"]

    def attachments() -> list[tuple[str, bool]]:
        found = cluster.get("volumeattachments")["items"]
        mine = [a for a in found if a["spec"]["source"].get("persistentVolumeName") == volume]
        return [(a["spec"]["nodeName"], a["status"]["attached"]) for a in mine]

    assert attachments() == [(cluster.get("pod", "one", namespace)["spec"]["nodeName"], True)]

    cluster.apply(pods.claim("home", "1Gi", kind), namespace=namespace)
    _wait(cluster, "pvc/home", "jsonpath={.status.capacity.storage}=1Gi", namespace)
    assert _size(cluster, "one", "/home/user", namespace) > 768 * 2**20

    group, source = "snapshot.storage.k8s.io", {"persistentVolumeClaimName": "home"}
    spec = {"volumeSnapshotClassName": cluster.snapshot_class, "source": source}
    snapshot = {"apiVersion": f"{group}/v1", "kind": "VolumeSnapshot", "metadata": {"name": "then"}, "spec": spec}
    cluster.apply(snapshot, namespace=namespace)
    _wait(cluster, "volumesnapshot/then", "jsonpath={.status.readyToUse}=true", namespace)
    _python(cluster, "one", "open('/home/user/note', 'w').write('after')", namespace)
    copy = pods.claim("copy", "2Gi", kind)
    copy["spec"]["dataSource"] = {"apiGroup": group, "kind": "VolumeSnapshot", "name": "then"}
    cluster.apply(copy, pod("two", "copy"), namespace=namespace)
    _wait(cluster, "pod/two", "condition=Ready", namespace)
    assert _python(cluster, "two", "print(open('/home/user/note').read())", namespace) == "before"
    assert _python(cluster, "one", "print(open('/home/user/note').read())", namespace) == "after"
    assert _size(cluster, "two", "/home/user", namespace) > 1536 * 2**20

    cluster.kubectl("delete", "pod/one", "pod/two", "--namespace", namespace)
    eventually(lambda: not attachments(), timeout=60, what="the volume is detached")
    cluster.kubectl("delete", "volumesnapshot/then", "pvc/home", "pvc/copy", "--namespace", namespace)
    cluster.kubectl("wait", f"pv/{volume}", "--for=delete", "--timeout=60s")


def test_metrics_of_pods_are_served(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pods.pod("busy", pods.pod_spec(["python3", "-c", "while True: pass"])), namespace=namespace)
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"

    def usage() -> list[str]:
        items = json.loads(cluster.kubectl("get", "--raw", path))["items"]
        return [container["usage"]["cpu"] for item in items for container in item["containers"]]

    eventually(usage, timeout=90, interval=1, what="the metrics of a pod")


def test_pods_run_on_while_the_api_server_restarts(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pods.pod("web", pods.pod_spec(pods.serve())), namespace=namespace)
    _wait(cluster, "pod/web", "condition=Ready", namespace)
    cluster.restart_api_server()
    _wait(cluster, "pod/web", "condition=Ready", namespace)
    assert _python(cluster, "web", _get("http://127.0.0.1:8080/"), namespace) == "web"
    assert _restarts(cluster, "web", namespace) == 0


def test_pods_run_on_while_the_kubelet_is_stopped(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pods.pod("web", pods.pod_spec(pods.serve())), namespace=namespace)
    _wait(cluster, "pod/web", "condition=Ready", namespace)
    cluster.stop_kubelet()
    try:
        cluster.kubectl("wait", f"node/{cluster.node}", "--for=condition=Ready=Unknown", "--timeout=60s")
    finally:
        cluster.start_kubelet()
    _wait(cluster, "pod/web", "condition=Ready", namespace)
    assert _restarts(cluster, "web", namespace) == 0
