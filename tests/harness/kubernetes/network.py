"""The machine's side of the cluster's network: a bridge device that carries the node's address.

Pods are connected point to point and routed by the kernel, so that what pods of this one node send each other passes
its packet filter too: on a bridge the answers would bypass the translation of Service addresses. Nothing leaves these
networks: pods have no route to others, and what is sent to a pod that is gone ends on this machine.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

DEVICE = "modelyard-test"
NODE_IP = "10.212.0.1"
NODE_NETWORK = "10.212.0.0/24"
POD_NETWORK = "10.213.0.0/24"
SERVICE_NETWORK = "10.214.0.0/24"
API_SERVICE_IP = "10.214.0.1"
DNS_SERVICE_IP = "10.214.0.10"

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def up(folder: Path) -> Path:
    """Make the device and the configuration of the pods' network; the latter's folder."""
    down(folder)
    before = folder / "ip_forward"
    before.write_text(_FORWARDING.read_text())
    _FORWARDING.write_text("1")
    _ip("link", "add", DEVICE, "type", "bridge")
    _ip("address", "add", f"{NODE_IP}/24", "dev", DEVICE)
    _ip("link", "set", DEVICE, "up")
    _ip("route", "add", "unreachable", POD_NETWORK)  # each pod there is has a route of its own
    configuration = folder / "cni"
    configuration.mkdir(parents=True, exist_ok=True)
    plugin = {
        "type": "ptp",
        "ipam": {
            "type": "host-local",
            "dataDir": str(folder / "addresses"),
            "ranges": [[{"subnet": POD_NETWORK}]],
            # The plugin itself adds the one to the pods.
            "routes": [{"dst": network} for network in (NODE_NETWORK, SERVICE_NETWORK)],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    document = {"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin, ports]}
    (configuration / "10-pods.conflist").write_text(json.dumps(document))
    return configuration


def down(folder: Path) -> None:
    """Remove the device and what kube-proxy told the packet filter, where they are; forwarding is as it was."""
    for thing in (["link", "delete", DEVICE], ["route", "delete", "unreachable", POD_NETWORK]):
        subprocess.run(["ip", *thing], capture_output=True, check=False)
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], capture_output=True, check=False)
    before = folder / "ip_forward"
    if before.exists():
        _FORWARDING.write_text(before.read_text())
        before.unlink()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
