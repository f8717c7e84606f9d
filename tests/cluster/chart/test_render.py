"""What the chart renders to: valid for a real API server, restricted, and with the rights that the code uses."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.chart import CHART, EXAMPLES, Manifest, render
from harness.cluster import Cluster
from harness.observed_tasks import small_task
from modelyard_api.volumes import SharedVolume, SnapshotPlan
from modelyard_hub.embedded.home import Ports, Secrets
from modelyard_hub.embedded.siblings import traefik_static
from modelyard_hub.profiles import read
from modelyard_hub.runtimes.kubernetes.labels import task_labels
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.rbac import CLUSTER_RULES, RULES

FOREIGN = ("Certificate", "ServiceMonitor")
"""Kinds of operators that the test cluster does not have."""
SHARED = ("StorageClass",)


@pytest.fixture(params=EXAMPLES, ids=lambda file: file.stem)
def rendered(request: pytest.FixtureRequest, cluster: Cluster) -> list[Manifest]:
    return render(cluster.helm, request.param)


def workloads(manifests: list[Manifest]) -> Iterator[tuple[str, Any]]:
    """Name and pod spec of all that runs pods."""
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]
        elif manifest["kind"] == "Pod":
            yield manifest["metadata"]["name"], manifest["spec"]


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def test_the_api_server_takes_it_and_finds_it_restricted(
    cluster: Cluster, namespace: str, rendered: list[Manifest]
) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    known = [m for m in rendered if m["kind"] not in (*FOREIGN, *SHARED)]
    text = yaml.safe_dump_all(known)
    said = cluster.kubectl(
        "apply", "--namespace", namespace, "--dry-run=server", "--validate=strict", "--filename", "-", input=text
    )
    assert len(said.splitlines()) == len(known)
    assert "Warning" not in said


def test_every_container_is_bounded_and_cannot_rise(rendered: list[Manifest]) -> None:
    for name, pod in workloads(rendered):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["enableServiceLinks"] is False, name
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            where = f"{name}/{container['name']}"
            assert container["securityContext"]["readOnlyRootFilesystem"], where
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, where
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
            assert "memory" in container["resources"]["limits"], where


def test_only_what_talks_to_the_cluster_has_a_token(rendered: list[Manifest]) -> None:
    with_token = {name for name, pod in workloads(rendered) if pod.get("automountServiceAccountToken", True)}
    assert with_token == {"modelyard-hub", "modelyard-service"}


def granted(manifests: list[Manifest], name: str, kind: str = "Role") -> set[tuple[str, str, tuple[str, ...]]]:
    rules = one(manifests, kind, name)["rules"]
    return {
        (group, resource, tuple(sorted(rule["verbs"])))
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_jupyterhub_may_do_what_its_code_does(rendered: list[Manifest]) -> None:
    used = {(group, resource, tuple(sorted(verbs))) for group, resource, verbs in RULES}
    assert granted(rendered, "modelyard-hub") == used
    wide = {(group, resource, tuple(sorted(verbs))) for group, resource, verbs in CLUSTER_RULES}
    assert granted(rendered, "yard-modelyard-hub", "ClusterRole") == wide


def test_the_view_of_the_cluster_can_be_left_out(cluster: Cluster) -> None:
    kinds = {m["kind"] for m in render(cluster.helm, hub__clusterView="false")}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


def test_the_hub_service_may_do_what_its_code_does(rendered: list[Manifest]) -> None:
    from modelyard_hub.runtimes.kubernetes import rbac

    used = {(rule.group, rule.resource, tuple(sorted(rule.verbs))) for rule in rbac.RULES}
    assert granted(rendered, "modelyard-service") == used


def test_nothing_of_models_or_notebooks_is_in_the_release(rendered: list[Manifest]) -> None:
    components = {m["metadata"]["labels"]["app.kubernetes.io/component"] for m in rendered}
    assert not components & {"notebook", "model-server", "task"}


def test_nobody_connects_to_a_task(rendered: list[Manifest]) -> None:
    spec = one(rendered, "NetworkPolicy", "modelyard-task")["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= task_labels(small_task()).items()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec


def test_the_router_is_started_as_on_one_machine(tmp_path: Path, rendered: list[Manifest]) -> None:
    settings, ports = Settings(home=tmp_path), Ports(1, 2, 3, 4)
    secrets = Secrets(*("x" for _ in range(6)))
    alone = traefik_static(settings, ports, secrets)
    (container,) = one(rendered, "Deployment", "modelyard-traefik")["spec"]["template"]["spec"]["containers"]
    arguments = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    for name in alone["entryPoints"]["web"]["http"]["encodedCharacters"]:
        assert arguments[f"entryPoints.web.http.encodedCharacters.{name}"] == "true"
    timeouts = alone["entryPoints"]["web"]["transport"]["respondingTimeouts"]
    assert arguments["entryPoints.web.transport.respondingTimeouts.readTimeout"] == timeouts["readTimeout"]
    for name in ("pollInterval", "pollTimeout"):
        assert arguments[f"providers.http.{name}"] == alone["providers"]["http"][name]
    assert arguments["providers.providersThrottleDuration"] == alone["providers"]["providersThrottleDuration"]


def test_secrets_are_made_anew_by_each_first_install_only(cluster: Cluster) -> None:
    """Without a cluster to look them up in, two renderings differ; with names given, there is no Secret at all."""
    made, again = (one(render(cluster.helm), "Secret", "modelyard-secrets")["data"] for _ in range(2))
    assert all(made[key] != again[key] for key in made)
    given = render(cluster.helm, secrets__existing="mine", database__existingSecret="mine-too")
    assert not [m for m in given if m["kind"] == "Secret"]


def test_the_ceph_class_is_whole() -> None:
    example = yaml.safe_load((CHART / "examples" / "kubeadm-ceph.yaml").read_text())["storageClass"]
    secrets = {"provisioner", "controller-expand", "node-stage"}
    for name in secrets:
        for part in ("name", "namespace"):
            assert f"csi.storage.k8s.io/{name}-secret-{part}" in example["parameters"]
    assert {"clusterID", "pool", "imageFeatures"} <= set(example["parameters"])
    assert example["allowVolumeExpansion"] is True
    assert example["reclaimPolicy"] == "Retain"


def test_volumes_are_the_hubs(cluster: Cluster, tmp_path: Path) -> None:
    shared = [{"name": "imagenet", "claim": "pictures", "groups": ["vision"]}]
    wanted = {"max": "500Gi", "trashDays": 7, "snapshots": {"every_hours": 6, "keep": 3}, "shared": shared}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"volumes": wanted}))
    data = one(render(cluster.helm, tmp_path / "values.yaml"), "ConfigMap", "modelyard-settings")["data"]
    settings = Settings(**tomllib.loads(data["modelyard.toml"]))
    assert (settings.volume_max, settings.volume_trash_days) == (500 << 30, 7)
    assert settings.volume_snapshots == SnapshotPlan(every_hours=6, keep=3)
    assert settings.shared_volumes == (SharedVolume(name="imagenet", claim="pictures", groups=("vision",)),)
    usual = Settings(
        **tomllib.loads(one(render(cluster.helm), "ConfigMap", "modelyard-settings")["data"]["modelyard.toml"])
    )
    assert (usual.volume_snapshots, usual.shared_volumes) == (None, ())


def test_profiles_are_the_hubs(cluster: Cluster, tmp_path: Path) -> None:
    declared = [
        {"name": "small", "cpu": 1, "memory": "1Gi"},
        {"name": "gpu", "cpu": {"min": 1, "default": 2, "max": 4, "step": 1}, "memory": "8Gi", "gpus": 1,
         "description": 'For "networks" {{ .Values }}: $(none)'},
    ]  # fmt: skip
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"profiles": declared}))
    data = one(render(cluster.helm, tmp_path / "values.yaml"), "ConfigMap", "modelyard-settings")["data"]
    assert tomllib.loads(data["modelyard.toml"])["profiles"] == "/etc/modelyard/settings/profiles.json"
    (tmp_path / "profiles.json").write_text(data["profiles.json"])
    found = read(tmp_path / "profiles.json").profiles
    assert [(p.name, p.cpu.max, p.gpus.max) for p in found] == [("small", 1, 0), ("gpu", 4, 1)]
    assert found[1].description == declared[1]["description"]
    assert "profiles" not in one(render(cluster.helm), "ConfigMap", "modelyard-settings")["data"]["modelyard.toml"]


def collectors(helm: Path, folder: Path, **values: Any) -> list[Manifest]:
    """What model servers may reach for their spans: the rules that are there only where traces are on."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    whole, without = (
        one(render(helm, *files), "NetworkPolicy", "modelyard-model-server")["spec"]["egress"]
        for files in ((folder / "values.yaml",), ())
    )
    assert [rule for rule in whole if rule in without] == without
    return [rule for rule in whole if rule not in without]


def test_model_servers_reach_the_collector_of_traces_and_nothing_further(helm: Path, tmp_path: Path) -> None:
    url = "http://otel.observability.svc:4318"
    pods = {"namespace": "observability", "podLabels": {"app.kubernetes.io/name": "otel"}}
    inside = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "otel"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}},
    }
    traces = {"url": url, "share": 0.25, "collector": pods}
    assert collectors(helm, tmp_path, traces=traces) == [{"ports": [{"port": 4318}], "to": [inside]}]
    data = one(render(helm, tmp_path / "values.yaml"), "ConfigMap", "modelyard-settings")["data"]
    settings = Settings(**tomllib.loads(data["modelyard.toml"]))
    assert (settings.serve_otlp_url, settings.serve_trace_share) == (url, 0.25)

    traces["collector"] = pods | {"port": 14318, "cidrs": ["10.9.0.0/24"]}
    assert collectors(helm, tmp_path, traces=traces) == [
        {"ports": [{"port": 14318}], "to": [inside, {"ipBlock": {"cidr": "10.9.0.0/24"}}]}
    ]
    own = {"url": "http://otel:4318/v1/traces", "collector": {"podLabels": {"app": "otel"}}}
    assert collectors(helm, tmp_path, traces=own) == [
        {"ports": [{"port": 4318}], "to": [{"podSelector": {"matchLabels": {"app": "otel"}}}]}
    ]
    by_address = [{"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}]
    assert collectors(helm, tmp_path, traces={"url": "https://10.1.2.3"}) == by_address
    assert collectors(helm, tmp_path, settings={"serve_otlp_url": "https://10.1.2.3"}) == by_address
    assert collectors(helm, tmp_path, traces={"url": "https://otlp.example.com"}) == [], "it is outside, as is allowed"


@pytest.mark.parametrize(
    ("url", "internet"),
    [
        ("http://otel:4318", True),
        ("http://otel.observability:4318", True),
        ("http://otel.observability.svc.cluster.local:4318", True),
        ("https://otlp.example.com", False),
    ],
)
def test_a_collector_that_would_not_be_reached_is_refused(helm: Path, tmp_path: Path, url: str, internet: bool) -> None:
    with pytest.raises(AssertionError, match=r"say what it is in traces\.collector"):
        collectors(helm, tmp_path, traces={"url": url}, networkPolicy={"internet": internet})
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"traces": {"url": url}, "networkPolicy": {"enabled": False}}))
    assert render(helm, tmp_path / "values.yaml")


def test_only_model_servers_reach_the_collector(helm: Path, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"traces": {"url": "http://10.1.2.3:4318"}}))
    found = {
        m["metadata"]["name"]
        for m in render(helm, tmp_path / "values.yaml")
        if m["kind"] == "NetworkPolicy" and "10.1.2.3/32" in str(m)
    }
    assert found == {"modelyard-model-server"}
