"""kubelet and kube-proxy: their configuration and commands."""

from __future__ import annotations

import json
from pathlib import Path

from harness.kubernetes.control_plane import NODE, Identity
from harness.kubernetes.network import DNS_SERVICE_IP, NODE_IP, POD_NETWORK


def kubelet(programs: Path, identity: Identity, folder: Path, socket: Path) -> list[str]:
    """Its command; writes its configuration. What is unusual is for machines without systemd and CAP_SYS_RESOURCE."""
    root = folder / "kubelet"
    root.mkdir(parents=True, exist_ok=True)
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "authentication": {"x509": {"clientCAFile": str(identity.file("ca.crt"))}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},
        "localStorageCapacityIsolation": False,
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": f"unix://{socket}",
        "tlsCertFile": str(identity.file("kubelet.crt")),
        "tlsPrivateKeyFile": str(identity.file("kubelet.key")),
        "clusterDNS": [DNS_SERVICE_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": str(folder / "resolv.conf"),
        "podLogsDir": str(folder / "pods"),
        "volumePluginDir": str(root / "volumeplugins"),
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "4s",
        "maxPods": 110,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "200Mi"},
    }
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (folder / "kubelet.json").write_text(json.dumps(configuration))
    return [
        str(programs / "kubelet"),
        f"--kubeconfig={identity.kubeconfig(f'system:node:{NODE}')}",
        f"--config={folder / 'kubelet.json'}",
        f"--root-dir={root}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
    ]


def proxy(programs: Path, identity: Identity, folder: Path) -> list[str]:
    """Its command; writes its configuration."""
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": NODE,
        "bindAddress": NODE_IP,
        "healthzBindAddress": f"{NODE_IP}:10256",
        "metricsBindAddress": f"{NODE_IP}:10249",
        "nodePortAddresses": ["primary"],
        "clientConnection": {"kubeconfig": str(identity.kubeconfig("system:kube-proxy"))},
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            "udpTimeout": "0s", "udpStreamTimeout": "0s",
        },
    }  # fmt: skip
    path = folder / "kube-proxy.json"
    path.write_text(json.dumps(configuration))
    return [str(programs / "kube-proxy"), f"--config={path}"]
