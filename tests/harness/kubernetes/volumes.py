"""Volumes, by a CSI driver of the tests and Kubernetes' own programs beside it, as processes.

Two classes of the same driver, whose volumes grow while they are mounted and hold no more than their size:
- `disk`, the default: the kubelet mounts its volumes at once.
- `csi`, as network storage: each volume is attached first (a VolumeAttachment), to one node at a time, which takes some
  seconds; and snapshots can be made of it, of the class `csi` too, and new volumes of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.kubernetes.control_plane import NODE, Identity
from harness.kubernetes.processes import Processes

STORAGE_CLASS = "disk"
ATTACHED_CLASS = "csi"
SNAPSHOT_CLASS = "csi"


def start(programs: Path, identity: Identity, folder: Path, processes: Processes) -> None:
    """Start them; they wait for the API server by themselves, and for their kinds of objects."""
    kubelet, admin = folder / "kubelet", identity.kubeconfig("admin")
    beside = {
        STORAGE_CLASS: ("csi-provisioner", "csi-resizer"),
        ATTACHED_CLASS: ("csi-provisioner", "csi-resizer", "csi-attacher", "csi-snapshotter"),
    }
    for name, helpers in beside.items():
        driver = driver_of(name)
        command = [programs / "storage", "-name", driver, "-node", NODE, "-images", folder / "volumes" / name]
        attach = ["-attach"] if name == ATTACHED_CLASS else []
        processes.start(f"storage-{name}", [*command, "-kubelet", kubelet, *attach])
        socket = kubelet / "plugins" / driver / "csi.sock"
        for helper in helpers:
            line = [programs / helper, f"--kubeconfig={admin}", f"--csi-address={socket}"]
            processes.start(f"{helper}-{name}", line)
    processes.start("snapshot-controller", [programs / "snapshot-controller", f"--kubeconfig={admin}"])


def driver_of(storage_class: str) -> str:
    """The name of a class's driver."""
    return f"{storage_class}.modelyard.test"


def manifests() -> str:
    """What the API server has to know of them beside the kinds of snapshots, as a List in JSON."""
    default = {"snapshot.storage.kubernetes.io/is-default-class": "true"}
    snapshots = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotClass",
        "metadata": {"name": SNAPSHOT_CLASS, "annotations": default},
        "driver": driver_of(ATTACHED_CLASS),
        "deletionPolicy": "Delete",
    }
    items = [*_class(STORAGE_CLASS), *_class(ATTACHED_CLASS), snapshots]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _class(name: str) -> list[Mapping[str, Any]]:
    marks = {"storageclass.kubernetes.io/is-default-class": "true"} if name == STORAGE_CLASS else {}
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": driver_of(name)},
            "spec": {"attachRequired": name == ATTACHED_CLASS, "fsGroupPolicy": "File"},
        },
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": marks},
            "provisioner": driver_of(name),
            "allowVolumeExpansion": True,
            "reclaimPolicy": "Delete",
            # With Immediate the scheduler can miss that the claim of a pod it looked at just then was bound, and looks
            # at the pod again five minutes later.
            "volumeBindingMode": "WaitForFirstConsumer",
        },
    ]
