"""What a cluster needs beside Kubernetes itself, as processes: DNS, metrics, NetworkPolicies."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.kubernetes.control_plane import NODE, Identity
from harness.kubernetes.network import DNS_SERVICE_IP, NODE_IP, SERVICE_NETWORK
from harness.kubernetes.processes import Processes

_METRICS_PORT = 10443


def start(programs: Path, identity: Identity, folder: Path, processes: Processes) -> None:
    """Start them; they wait for the API server by themselves."""
    corefile = folder / "Corefile"
    corefile.write_text(_COREFILE.format(address=NODE_IP, kubeconfig=identity.kubeconfig("admin")))
    processes.start("coredns", [programs / "dns", "-conf", corefile])
    admin = identity.kubeconfig("admin")
    processes.start(
        "metrics-server",
        [
            programs / "metrics-server",
            f"--kubeconfig={admin}",
            f"--authentication-kubeconfig={admin}",
            f"--authorization-kubeconfig={admin}",
            f"--bind-address={NODE_IP}",
            f"--secure-port={_METRICS_PORT}",
            f"--tls-cert-file={identity.file('metrics.crt')}",
            f"--tls-private-key-file={identity.file('metrics.key')}",
            f"--kubelet-certificate-authority={identity.file('ca.crt')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ],
    )
    services = ["-node", NODE, "-services", SERVICE_NETWORK]
    processes.start("network-policies", [programs / "policies", "-kubeconfig", admin, *services])


def manifests(identity: Identity) -> str:
    """What the API server has to know of them, as a List in JSON."""
    authority = base64.b64encode(identity.file("ca.crt").read_bytes()).decode()
    dns = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")]
    items: list[Mapping[str, Any]] = [
        *_service("kube-dns", dns, DNS_SERVICE_IP),
        *_service("metrics-server", [("https", _METRICS_PORT, "TCP")]),
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": authority,
                "service": {"namespace": "kube-system", "name": "metrics-server", "port": _METRICS_PORT},
            },
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _service(name: str, ports: list[tuple[str, int, str]], address: str | None = None) -> list[Mapping[str, Any]]:
    """A Service in front of a process of this machine."""
    metadata = {"name": name, "namespace": "kube-system"}
    described = [{"name": port, "port": number, "protocol": protocol} for port, number, protocol in ports]
    spec: dict[str, Any] = {"ports": described, **({"clusterIP": address} if address else {})}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {**metadata, "labels": {"k8s-app": name}}, "spec": spec},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
            "ports": described,
        },
    ]


_COREFILE = """.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
}}
"""
