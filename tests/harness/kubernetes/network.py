"""The machine's side of the cluster's network: a bridge device that carries the node's address.

Pods are connected point to point and routed by the kernel, so that what pods of this one node send each other passes
its packet filter too: on a bridge the answers would bypass the translation of Service addresses. Nothing leaves these
networks: pods have no route to others, and what is sent to a pod that is gone ends on this machine.
"""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from pathlib import Path

DEVICE = "modelyard-test"
NODE_IP = "10.212.0.1"
NODE_NETWORK = "10.212.0.0/24"
POD_NETWORK = "10.213.0.0/24"
SERVICE_NETWORK = "10.214.0.0/20"
API_SERVICE_IP = "10.214.0.1"
DNS_SERVICE_IP = "10.214.0.10"

_OF_POLICIES = re.compile("KUBE-(ROUTER|POD-FW|NWPLCY|DST|SRC)-")
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
    """Remove the device and what the packet filter was told, where they are; forwarding is as it was."""
    for thing in (["link", "delete", DEVICE], ["route", "delete", "unreachable", POD_NETWORK]):
        subprocess.run(["ip", *thing], capture_output=True, check=False)
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], capture_output=True, check=False)
    _remove_policies()
    _remove_pods()
    before = folder / "ip_forward"
    if before.exists():
        _FORWARDING.write_text(before.read_text())
        before.unlink()


def _remove_pods() -> None:
    """The devices of pods that were killed. The kernel removes them when it likes, with the routes to their addresses:
    a new pod with one of these would lose its own."""
    shown = ["ip", "-json", "route", "show", "root", POD_NETWORK]
    routes = subprocess.run(shown, capture_output=True, text=True, check=False).stdout
    for route in json.loads(routes or "[]"):
        if "dev" in route:
            subprocess.run(["ip", "link", "delete", route["dev"]], capture_output=True, check=False)


def _remove_policies() -> None:
    """What the enforcer of NetworkPolicies leaves in the packet filter."""
    saved = subprocess.run(["iptables-save", "--table", "filter"], capture_output=True, text=True, check=False).stdout
    kept = [line for line in saved.splitlines() if not _OF_POLICIES.search(line)]
    if len(kept) < len(saved.splitlines()):
        subprocess.run(["iptables-restore"], input="\n".join([*kept, ""]), text=True, check=True)
    with suppress(FileNotFoundError):
        sets = subprocess.run(["ipset", "list", "-name"], capture_output=True, text=True, check=False).stdout.split()
        for name in sets:
            if _OF_POLICIES.search(name):
                subprocess.run(["ipset", "destroy", name], check=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
